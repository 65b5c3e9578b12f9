"""Audio with gaps, and feeding it to a segmenter from any point on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from contract import WIDTH
from processors.vad.classifier import FRAME, DetectorFactory
from processors.vad.core import Parameters, Segment, Segmenter


@dataclass(frozen=True)
class Stretch:
    """Audio without a gap, from sample `start` on."""

    start: int
    pcm: bytes

    def __repr__(self) -> str:
        return f"Stretch({self.start}, ...{len(self.pcm)} bytes)"

    @property
    def end(self) -> int:
        return self.start + len(self.pcm) // WIDTH

    def pcm_of(self, start: int, end: int) -> bytes:
        return self.pcm[(start - self.start) * WIDTH : (end - self.start) * WIDTH]


Stretches = list[Stretch]


def levels(*runs: tuple[int, int]) -> bytes:
    """Square waves: runs of (loudness in steps of 100, samples)."""
    samples = np.repeat([loud * 100 for loud, _ in runs], [samples for _, samples in runs])
    samples[1::2] *= -1
    return samples.astype("<i2").tobytes()


def frames(*runs: tuple[int, int]) -> bytes:
    """Like `levels`, in whole frames."""
    return levels(*((loud, count * FRAME) for loud, count in runs))


CutRequests = Sequence[tuple[int, int]]
"""Cut requests in order of place: the sample before which each lies, and the sample that it names."""


def feed_all(
    segmenter: Segmenter, stretches: Stretches, chunks: tuple[int, ...] = (1 << 30,), requests: CutRequests = ()
) -> list[Segment]:
    """All segments from the segmenter's position on; `chunks`: samples per message, in turn."""
    segments: list[Segment] = []
    begin = segmenter.position
    for stretch in stretches:
        if stretch.end < segmenter.position:
            continue
        if stretch.start > segmenter.position:
            segments += segmenter.skip(stretch.start)
        here = [request for request in requests if max(begin, stretch.start) <= request[0] <= stretch.end]
        for place, at in [*here, (stretch.end, None)]:
            for start, end in _cuts(segmenter.position, place, chunks):
                segments += segmenter.feed(stretch.pcm_of(start, end))
            segments += [] if at is None else segmenter.cut(at)
    return segments + segmenter.finish()


def _cuts(start: int, end: int, chunks: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    turn = 0
    while start < end:
        size = chunks[turn % len(chunks)]
        yield start, min(start + size, end)
        start, turn = start + size, turn + 1


def resume(new_detector: DetectorFactory, parameters: Parameters, stretches: Stretches, last: Segment) -> Segmenter:
    """A segmenter that goes on after `last`, and knows no more than the audio around its end."""
    stretch = next(stretch for stretch in stretches if stretch.start < last.end <= stretch.end)
    before = stretch.pcm_of(max(stretch.start, parameters.resume_from(last.end)), last.end)
    return Segmenter(new_detector, parameters, start=last.end, continues=last.continues, before=before)


def assert_anyone_can_take_over(
    new_detector: DetectorFactory, parameters: Parameters, stretches: Stretches, requests: CutRequests = ()
) -> list[Segment]:
    """A segmenter that takes over after any segment finds exactly the segments that follow; returns all segments."""
    whole = feed_all(Segmenter(new_detector, parameters), stretches, requests=requests)
    for index, last in enumerate(whole):
        rest = feed_all(resume(new_detector, parameters, stretches, last), stretches, (FRAME * 7 + 3,), requests)
        assert rest == whole[index + 1 :], f"after segment {index}, which ends at {last.end}"
    return whole
