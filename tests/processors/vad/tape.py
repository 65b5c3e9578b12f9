"""Recorded sound, with gaps if need be, and how a segmenter hears it from any point on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bus.messages import WIDTH
from processors.vad.core import FRAME, WARM_UP, DetectorFactory, Parameters, Segment, Segmenter


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


def play(segmenter: Segmenter, tape: Tape, chunks: tuple[int, ...] = (1 << 30,)) -> list[Segment]:
    """All segments of what comes after the point where the segmenter is; `chunks`: samples per message, in turn."""
    segments: list[Segment] = []
    for stretch in tape:
        if stretch.end <= segmenter.heard:
            continue
        if stretch.start > segmenter.heard:
            segments += segmenter.skip(stretch.start)
        for start, end in _cuts(segmenter.heard, stretch.end, chunks):
            segments += segmenter.feed(stretch.sound(start, end))
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
    before = stretch.sound(max(stretch.start, last.end - WARM_UP * FRAME), last.end)
    return Segmenter(new_detector, parameters, start=last.end, continues=last.continues, before=before)


def assert_anyone_can_take_over(new_detector: DetectorFactory, parameters: Parameters, tape: Tape) -> list[Segment]:
    """Whoever goes on after any segment finds exactly the segments that were still to come; returns all of them."""
    whole = play(Segmenter(new_detector, parameters), tape)
    for index, last in enumerate(whole):
        rest = play(resume(new_detector, parameters, tape, last), tape, (FRAME * 7 + 3,))
        assert rest == whole[index + 1 :], f"after segment {index}, which ends at {last.end}"
    return whole
