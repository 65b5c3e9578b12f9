"""Which frames of a stretch of sound are voiced: the same for everyone, wherever they begin to listen.

A detector adapts to what it hears, so that its answers depend on where it began. Hence frames lie at multiples of
`FRAME` samples, and each detector answers for one span of them, which lie at multiples of `SPAN` frames, and has heard
just the `WARM_UP` frames before. Where a stretch begins there is nothing before: the first detector then hears its
first frames twice, and answers until there is one that was warmed up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from contract import RATE, WIDTH

FRAME_MS = 30
FRAME = RATE * FRAME_MS // 1000
"""Samples in a frame, the unit of decision."""

SPAN = 640
"""Frames for which a detector answers, 19 s: whoever takes over hears so much again, at most."""

WARM_UP = 50
"""Frames that a detector hears before those; webrtcvad's noise estimate needs about that many."""

COLD_START = 20
"""Frames that a detector hears twice where there is nothing before them, because webrtcvad takes the first faint
noise of its life for speech. No segment ends later for that wait: it is as long as the usual hangover."""

_BYTES = FRAME * WIDTH


class Detector(Protocol):
    """Hears one stream of sound."""

    def __call__(self, frame: bytes, /) -> bool:
        """Whether the next frame, `FRAME` samples, is voiced; what was heard before may influence that."""


DetectorFactory = Callable[[], Detector]


def first_frame(sample: int) -> int:
    """Number of the first frame that begins at a sample or after it."""
    return -(-sample // FRAME)


def listen_from(sample: int) -> int:
    """Where to begin to listen, if not later, so as to know which frames from `sample` on are voiced."""
    return max(0, (sample // FRAME // SPAN * SPAN - WARM_UP) * FRAME)


class Hearing:
    """Listens to one stretch of mono s16le sound at 16 kHz that has no gap and begins at sample `origin`."""

    def __init__(self, new_detector: DetectorFactory, origin: int) -> None:
        self._new_detector = new_detector
        self._detector = new_detector()
        self._warming: Detector | None = None  # the one that answers for the next span
        self._next = first_frame(origin)
        self._sound = b""  # of frames that are not decided
        self._lead = (self._next * FRAME - origin) * WIDTH  # bytes before the first of them
        self._cold = True

    @property
    def cold(self) -> bool:
        """Whether too little was heard to judge by."""
        return self._cold

    def feed(self, pcm: bytes) -> list[bool]:
        """Take the next samples; whether each frame that can now be judged is voiced, in turn."""
        self._sound += pcm
        if self._cold and len(self._sound) < self._lead + COLD_START * _BYTES:
            return []
        return self.finish()

    def finish(self) -> list[bool]:
        """Judge by what there is."""
        if self._cold:
            self._cold = False
            self._sound = self._sound[self._lead :]
            for frame in _frames(self._sound)[:COLD_START]:
                self._detector(frame)
        frames = _frames(self._sound)
        self._sound = self._sound[len(frames) * _BYTES :]
        place = self._next % SPAN
        self._next += len(frames)
        if self._warming is None and place + len(frames) <= SPAN - WARM_UP:
            detector = self._detector
            return [detector(frame) for frame in frames]
        return [self._judge(frame, at % SPAN) for at, frame in enumerate(frames, place)]

    def guess(self) -> list[bool]:
        """What could be said of the frames that came while too little was heard; nothing is decided by that."""
        other = Hearing(self._new_detector, self._next * FRAME)
        return other.feed(self._sound[self._lead :]) or other.finish()

    def _judge(self, frame: bytes, place: int) -> bool:
        if place == SPAN - WARM_UP:
            self._warming = self._new_detector()
        if self._warming is not None:
            if place == 0:
                self._detector, self._warming = self._warming, None
            else:
                self._warming(frame)
        return self._detector(frame)


def _frames(sound: bytes) -> list[bytes]:
    return [sound[end - _BYTES : end] for end in range(_BYTES, len(sound) + 1, _BYTES)]
