"""Generated audio with gaps, detectors for it, and feeding it to a segmenter from any point on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from contract import WIDTH
from processors.vad.core import FRAME, Detector, DetectorFactory, Parameters, Segment, Segmenter


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


SMALL = Parameters(onset_ms=90, padding_ms=60, hangover_ms=150, max_ms=600)  # 3, 2, 5 and 20 frames


# ---- detectors


def loudness(frame: bytes) -> int:
    return int(np.frombuffer(frame, "<i2").max()) // 100


def simple() -> Detector:
    """Every frame that is not faint is voiced."""
    return lambda frame: loudness(frame) >= 5


class Stateful:
    """Certain of loud and of faint frames; its other answers depend on every sample so far."""

    def __init__(self) -> None:
        self.state = 0

    def __call__(self, frame: bytes) -> bool:
        self.state = zlib.crc32(frame, self.state)
        return loudness(frame) + self.state % 7 >= 9


def fooled_by_novelty() -> Detector:
    """Takes any new sound for speech, as webrtcvad does."""
    known: set[bytes] = set()

    def detect(frame: bytes) -> bool:
        new = frame not in known
        known.add(frame)
        return new or loudness(frame) >= 9

    return detect


# ---- generated audio

Runs = list[tuple[int, int]]

loud = st.sampled_from([0, 4, 7, 9, 9])
run, run_of_frames = st.tuples(loud, st.integers(1, 12 * FRAME)), st.tuples(loud, st.integers(1, 12))
runs = st.lists(run, max_size=10) | st.lists(run, min_size=20, max_size=50)
runs_of_frames = st.lists(run_of_frames, max_size=10) | st.lists(run_of_frames, min_size=20, max_size=50)
recordings = st.lists(st.tuples(st.integers(1, 5_000), runs.filter(bool)), min_size=1, max_size=3)


def stretches_of(recordings: list[tuple[int, Runs]]) -> Stretches:
    """Stretches of different lengths, with gaps of a given length between them."""
    stretches: Stretches = []
    for gap, runs in recordings:
        stretches.append(Stretch(stretches[-1].end + gap if stretches else 0, levels(*runs)))
    return stretches


all_stretches = recordings.map(stretches_of)

steps_and_delays = st.tuples(st.integers(0, 6_000), st.just(0) | st.integers(0, 6_000))


def requests_of(steps: list[tuple[int, int]]) -> CutRequests:
    """Requests that lie so many samples after the one before, and were made so many samples earlier."""
    return [
        (place, max(0, place - delay))
        for (_, delay), place in zip(steps, accumulate(step for step, _ in steps), strict=True)
    ]


cut_requests = st.lists(steps_and_delays, max_size=8).map(requests_of) | st.lists(
    steps_and_delays, min_size=30, max_size=60
).map(requests_of)


@st.composite
def parameters(draw: st.DrawFn) -> Parameters:
    onset, padding = draw(st.integers(30, 150)), draw(st.integers(0, 300))
    longest = 2 * (onset + padding) + draw(st.integers(200, 1_500))
    return Parameters(onset, padding, draw(st.integers(30, 400)), longest)


thorough = settings(deadline=None, max_examples=60)
