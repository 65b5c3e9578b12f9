"""Which 30 ms frames are voiced: the same answers for every worker, wherever it starts reading the audio.

A voice detector adapts to its input, so its answers depend on where it started. Therefore frames lie at multiples of
`FRAME` samples, each detector classifies one fixed span of `SPAN` frames, and it is warmed up with exactly the
`WARM_UP` frames before that span. At the start of a stretch of audio there is nothing to warm up with: the first
detector is fed its first frames twice, and classifies until the first warmed-up detector takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import webrtcvad

from contract import RATE, WIDTH

FRAME_MS = 30
FRAME = RATE * FRAME_MS // 1000
"""Samples in a frame, the unit of decision."""

SPAN = 640
"""Frames that one detector classifies, 19 s: a worker that takes a job over rereads at most this much audio."""

WARM_UP = 50
"""Frames that a detector is fed before its span; webrtcvad's noise estimate needs about that many."""

COLD_START = 20
"""Frames that a detector is fed twice where no audio precedes them, because a new webrtcvad takes the first faint
noise for speech. No segment ends later because of this wait: it is as long as the default hangover."""

_BYTES = FRAME * WIDTH


class Detector(Protocol):
    """A voice activity detector for one stream of audio."""

    def __call__(self, frame: bytes, /) -> bool:
        """Whether the next frame, `FRAME` samples, is voiced; earlier frames may influence the answer."""


DetectorFactory = Callable[[], Detector]


def webrtc_detector(aggressiveness: int) -> Detector:
    """A new WebRTC detector; the higher its aggressiveness, 0 to 3, the fewer frames are voiced. Raises ValueError."""
    if aggressiveness not in range(4):
        raise ValueError(f"aggressiveness is {aggressiveness}: 0, 1, 2 and 3 are accepted")
    return partial(webrtcvad.Vad(aggressiveness).is_speech, sample_rate=RATE)


def first_frame(sample: int) -> int:
    """Number of the first frame that starts at a sample or after it."""
    return -(-sample // FRAME)


def warm_up_start(sample: int) -> int:
    """The latest sample to start a classifier at, so that it classifies frames from `sample` on as all others do."""
    return max(0, (sample // FRAME // SPAN * SPAN - WARM_UP) * FRAME)


class FrameClassifier:
    """Classifies one stretch of mono s16le audio at 16 kHz that has no gap and starts at sample `origin`."""

    def __init__(self, new_detector: DetectorFactory, origin: int) -> None:
        self._new_detector = new_detector
        self._detector = new_detector()
        self._warming: Detector | None = None  # the detector of the next span, while it is warmed up
        self._next = first_frame(origin)
        self._pcm = b""  # of frames that are not classified yet
        self._lead = (self._next * FRAME - origin) * WIDTH  # bytes before the first of them
        self._cold = True

    @property
    def cold(self) -> bool:
        """Whether there was too little audio so far to classify any frame."""
        return self._cold

    def feed(self, pcm: bytes) -> list[bool]:
        """Take the next samples; returns for each frame that can now be classified whether it is voiced."""
        self._pcm += pcm
        if self._cold and len(self._pcm) < self._lead + COLD_START * _BYTES:
            return []
        return self.finish()

    def finish(self) -> list[bool]:
        """Classify what there is, even if it is too little for a cold start."""
        if self._cold:
            self._cold = False
            self._pcm = self._pcm[self._lead :]
            for frame in _frames(self._pcm)[:COLD_START]:
                self._detector(frame)
        frames = _frames(self._pcm)
        self._pcm = self._pcm[len(frames) * _BYTES :]
        place = self._next % SPAN
        self._next += len(frames)
        if self._warming is None and place + len(frames) <= SPAN - WARM_UP:
            detector = self._detector
            return [detector(frame) for frame in frames]
        return [self._classify(frame, at % SPAN) for at, frame in enumerate(frames, place)]

    def guess(self) -> list[bool]:
        """Preliminary answers for the frames of a cold start; the final ones are still to come."""
        other = FrameClassifier(self._new_detector, self._next * FRAME)
        return other.feed(self._pcm[self._lead :]) or other.finish()

    def _classify(self, frame: bytes, place: int) -> bool:
        """Classify the frame at a place in its span, and warm the next detector up at the end of the span."""
        if place == SPAN - WARM_UP:
            self._warming = self._new_detector()
        if self._warming is not None:
            if place == 0:
                self._detector, self._warming = self._warming, None
            else:
                self._warming(frame)
        return self._detector(frame)


def _frames(pcm: bytes) -> list[bytes]:
    return [pcm[end - _BYTES : end] for end in range(_BYTES, len(pcm) + 1, _BYTES)]
