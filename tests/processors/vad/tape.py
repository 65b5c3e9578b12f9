"""Recorded sound, with gaps if need be, and how a segmenter hears it from any point on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from contract import WIDTH
from processors.vad.core import Parameters, Segment, Segmenter
from processors.vad.hearing import FRAME, DetectorFactory


@dataclass(frozen=True)
class Stretch:
    """Sound without a gap, from sample `start` on."""

    start: int
    pcm: bytes

    def __repr__(self) -> str:
        return f"Stretch({self.start}, ...{len(self.pcm)} bytes)"

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // WIDTH

    def sound(self, start: int, end: int) -> bytes:
        return self.pcm[(start - self.start) * WIDTH : (end - self.start) * WIDTH]


Tape = list[Stretch]


def levels(*runs: tuple[int, int]) -> bytes:
    """Square waves: runs of (loudness in steps of 100, samples)."""
    sound = np.repeat([loud * 100 for loud, _ in runs], [samples for _, samples in runs])
    sound[1::2] *= -1
    return sound.astype("<i2").tobytes()


def frames(*runs: tuple[int, int]) -> bytes:
    """Like `levels`, in whole frames."""
    return levels(*((loud, count * FRAME) for loud, count in runs))


Marks = Sequence[tuple[int, int]]
"""Requests to cut, in order of place: the sample before which each is met, and the sample that it names."""


def play(segmenter: Segmenter, tape: Tape, chunks: tuple[int, ...] = (1 << 30,), marks: Marks = ()) -> list[Segment]:
    """All segments of what comes after the point where the segmenter is; `chunks`: samples per message, in turn."""
    segments: list[Segment] = []
    begin = segmenter.heard
    for stretch in tape:
        if stretch.end < segmenter.heard:
            continue
        if stretch.start > segmenter.heard:
            segments += segmenter.skip(stretch.start)
        here = [mark for mark in marks if max(begin, stretch.start) <= mark[0] <= stretch.end]
        for place, at in [*here, (stretch.end, None)]:
            for start, end in _cuts(segmenter.heard, place, chunks):
                segments += segmenter.feed(stretch.sound(start, end))
            segments += [] if at is None else segmenter.cut(at)
    return segments + segmenter.finish()


def _cuts(start: int, end: int, chunks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    turn = 0
    while start < end:
        size = chunks[turn % len(chunks)]
        yield start, min(start + size, end)
        start, turn = start + size, turn + 1


def resume(new_detector: DetectorFactory, parameters: Parameters, tape: Tape, last: Segment) -> Segmenter:
    """A segmenter that goes on after `last`, and knows no more than the tape around its end."""
    stretch = next(stretch for stretch in tape if stretch.start < last.end <= stretch.end)
    before = stretch.sound(max(stretch.start, parameters.listen_from(last.end)), last.end)
    return Segmenter(new_detector, parameters, start=last.end, continues=last.continues, before=before)


def assert_anyone_can_take_over(
    new_detector: DetectorFactory, parameters: Parameters, tape: Tape, marks: Marks = ()
) -> list[Segment]:
    """Whoever goes on after any segment finds exactly the segments that were still to come; returns all of them."""
    whole = play(Segmenter(new_detector, parameters), tape, marks=marks)
    for index, last in enumerate(whole):
        rest = play(resume(new_detector, parameters, tape, last), tape, (FRAME * 7 + 3,), marks)
        assert rest == whole[index + 1 :], f"after segment {index}, which ends at {last.end}"
    return whole
