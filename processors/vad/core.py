"""Where speech starts and stops: samples in, segments out.

Rules, each of which has a test:

1. Time is a sample index, and a decision is made per frame: how the sound was cut into chunks cannot change the result.
2. After each segment everything starts anew at the segment's end, with a detector that has heard only the `WARM_UP`
   frames before it. What follows is therefore a function of (`end` and `continues` of the last segment, the sound from
   `WARM_UP` frames before that end on), and whoever continues from there decides the same.
3. A run of voiced frames long enough to open a segment is inside segments, whole, wherever a long one is cut.
4. A segment is never longer than `max_ms`. It is cut where it is quietest, and its successor starts open; a successor
   in which nobody goes on speaking is dropped, and the detector then simply carries on.
5. A mark among the sound ends what is open there, unless somebody has spoken since it was asked for; who goes on to
   speak begins another segment. It keeps its place: sound that is heard again meets it again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from bus.messages import RATE, WIDTH

FRAME_MS = 30
FRAME = RATE * FRAME_MS // 1000
"""Samples in a frame, the unit of decision."""

_FRAME_BYTES = FRAME * WIDTH

WARM_UP = 50
"""Frames that a new detector hears before its decisions count; webrtcvad's noise estimate needs about that many."""

COLD_START = 20
"""Frames that a new detector hears twice where there is nothing before them, because webrtcvad takes the first faint
noise of its life for speech. No segment ends later for that wait: it is as long as the usual hangover."""

SEARCH_MS = 5_000
"""How much of the end of a segment that became too long is searched for the quietest place."""

SMOOTHING = 2
"""Frames over which loudness is taken there. Of 1,000 cuts in noisy speech with 60 to 350 ms between sentences, 28 miss
the gap with two frames, 188 with one (a plosive is as quiet as a gap) and 65 with three (short gaps are passed over).
"""


class Detector(Protocol):
    """Hears one stream of sound."""

    def __call__(self, frame: bytes, /) -> bool:
        """Whether the next frame, `FRAME` samples, is voiced; what was heard before may influence that."""


DetectorFactory = Callable[[], Detector]


@dataclass(frozen=True, slots=True)
class Segment:
    """Speech from sample `start` to before sample `end`; `continues`: cut because it was long."""

    start: int
    end: int
    pcm: bytes
    continues: bool = False


class Speech(NamedTuple):
    """An open segment in which somebody has spoken; sample indexes."""

    start: int
    spoken: int
    """Start of the first voiced frame."""
    voiced_end: int
    """End of the last voiced frame."""
    end: int
    """All sound before this was heard."""


class _Mark(NamedTuple):
    place: int
    """The sample before which it was met."""
    at: int
    """It is void where a voiced frame ended after this sample."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """How speech is cut, in milliseconds: taken to the nearest frame, `max_ms` to the frame below.

    Raises ValueError for values with which no segment could be built.
    """

    onset_ms: int = 90
    """Voiced time that opens a segment."""
    padding_ms: int = 300
    """Sound kept before the first and after the last voiced frame."""
    hangover_ms: int = 600
    """Unvoiced time that closes a segment."""
    max_ms: int = 28_000
    """Longest segment."""

    def __post_init__(self) -> None:
        for name, least in (("onset_ms", FRAME_MS), ("padding_ms", 0), ("hangover_ms", FRAME_MS)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: at least {least} is accepted")
        # A cut leaves at least half of `max_ms`, and the speech that opened the segment has to be in that half.
        least = 2 * max(_frames(self.onset_ms) + _frames(self.padding_ms), SMOOTHING) * FRAME_MS
        if self.max_ms < least:
            raise ValueError(f"max_ms is {self.max_ms}: at least {least} is accepted, twice onset_ms + padding_ms")


def _frames(ms: int) -> int:
    return (ms + FRAME_MS // 2) // FRAME_MS


class Segmenter:
    """Cuts one stream of mono s16le sound at 16 kHz into segments of speech.

    To continue where another one stopped: `start` and `continues` are the `end` and `continues` of the last segment,
    and `before` is the sound before `start` (at least `WARM_UP` frames, or all there is without a gap).
    Frames are counted from `start`.
    """

    def __init__(
        self,
        new_detector: DetectorFactory,
        parameters: Parameters,
        *,
        start: int = 0,
        continues: bool = False,
        before: bytes = b"",
    ) -> None:
        self._new_detector = new_detector
        self._onset = _frames(parameters.onset_ms)
        self._padding = _frames(parameters.padding_ms) * FRAME
        self._hangover = _frames(parameters.hangover_ms) * FRAME
        self._max = parameters.max_ms // FRAME_MS * FRAME
        self._sound = deque([_whole(before)])  # as it came, because to collect it in one place is to move it often
        self._origin = start - len(before) // WIDTH  # sample that `_sound` begins with
        self._heard = start
        self._marks: deque[_Mark] = deque()  # from `floor` on
        self._passed = 0  # marks that have been met since the last beginning, or lie before it
        self._begin(start, continues)

    @property
    def heard(self) -> int:
        """The sample that is expected next."""
        return self._heard

    @property
    def floor(self) -> int:
        """First sample that the next segment may contain."""
        if self._open:
            return self._start
        return max(self._start, self._at - self._run * FRAME - self._padding)

    @property
    def speaking(self) -> bool:
        """Whether a segment is open."""
        return self._open

    @property
    def speech(self) -> Speech | None:
        """The open segment, once somebody has spoken in it."""
        if not self._open or self._spoken is None:
            return None
        return Speech(self._start, self._spoken, self._voiced_end, self._heard)

    def sound(self, speech: Speech) -> bytes:
        """The samples of what is open, a copy."""
        return self._pcm(speech.start, speech.end)

    def feed(self, pcm: bytes) -> list[Segment]:
        """Take the next samples, any number; returns the segments that ended. Raises ValueError for half a sample."""
        self._sound.append(_whole(pcm))
        self._heard += len(pcm) // WIDTH
        self._undecided += pcm
        if self._cold and self._heard - self._at < COLD_START * FRAME:
            return []
        segments = self._decide()
        self._forget()
        return segments

    def cut(self, at: int) -> list[Segment]:
        """End what is open here, unless a voiced frame ended after sample `at`; returns the segments that ended.

        `at`: how far had been heard when the cut was asked for. Raises ValueError for a sample that is still to come.
        """
        if at > self._heard:
            raise ValueError(f"cannot cut at sample {at}: sound up to {self._heard} has been heard")
        if self._marks and self._marks[-1].place == self._heard:  # of several in one place the latest says all
            at = max(at, self._marks.pop().at)
            self._passed = min(self._passed, len(self._marks))
        self._marks.append(_Mark(self._heard, at))
        begun = self._at if self._cold else None
        segments = self._decide()
        if begun is not None and not segments:
            # Too little was heard to judge by. What comes begins anew, and meets the mark once there is enough.
            self._begin(begun, self._continues)
        self._forget()
        return segments

    def finish(self) -> list[Segment]:
        """End of the stream: returns what is still open, and what is left of a frame with the frame before it."""
        segments = self._decide()
        while self._open:
            segments += self._close(self._heard)
            segments += self._decide()  # what comes after the end of a segment is heard again, now as ever
        return segments

    def skip(self, to: int) -> list[Segment]:
        """The sound up to sample `to` will never come: return what is open and go on from there, knowing nothing.

        Raises ValueError when sound from `to` on has been heard already.
        """
        if to < self._heard:
            raise ValueError(f"cannot skip to sample {to}: sound up to {self._heard} has been heard")
        if to == self._heard:
            return []
        segments = self.finish()
        self._sound.clear()
        self._origin = self._heard = to
        self._begin(to, continues=False)
        return segments

    def _begin(self, at: int, continues: bool) -> None:
        """Start anew at sample `at`."""
        self._detector = self._new_detector()
        self._at = at  # the frame to decide next
        self._start = at  # of the open segment; otherwise the least that the next one may have
        self._open = self._continues = continues
        self._passed = sum(mark.place < at for mark in self._marks)
        self._spoken: int | None = None  # where the first voiced frames in a row that suffice for an onset begin
        self._voiced_end = at  # end of the last voiced frame
        keep = max(self._origin, at - WARM_UP * FRAME)
        sound, begin = self._pcm(keep, self._heard), (at - keep) * WIDTH
        self._sound, self._origin = deque([sound]), keep
        self._undecided = sound[begin:]  # from `_at` on
        before = (at - keep) // FRAME
        self._cold = before == 0
        run = self._warm_up(sound[begin - before * _FRAME_BYTES :], before)
        self._run = run if continues else 0  # voiced frames in a row; they may reach across a cut

    def _warm_up(self, sound: bytes, frames: int) -> int:
        """Let the detector hear the first frames; returns how many voiced ones in a row were the last of them."""
        run = 0
        for at in range(0, frames * _FRAME_BYTES, _FRAME_BYTES):
            run = run + 1 if self._detector(sound[at : at + _FRAME_BYTES]) else 0
        return run

    def _decide(self) -> list[Segment]:
        """Decide every whole frame there is."""
        segments: list[Segment] = []
        if self._cold:
            self._warm_up(self._undecided, min(COLD_START, (self._heard - self._at) // FRAME))
            self._cold = False
        undecided, begin = self._undecided, 0
        while True:
            if self._marks and (mark := self._next_mark()) is not None:
                if not self._open or self._voiced_end > mark.at:
                    self._passed += 1
                    continue
                ended = self._close(mark.place)
            elif (end := begin + _FRAME_BYTES) <= len(undecided):
                ended = self._decide_frame(undecided[begin:end])
                begin = end
            else:
                self._undecided = undecided[begin:]
                return segments
            if ended:  # and everything has begun anew
                segments += ended
                undecided, begin = self._undecided, 0

    def _decide_frame(self, frame: bytes) -> list[Segment]:
        self._at = end = self._at + FRAME
        if self._detector(frame):
            self._hear_voice()
        else:
            self._run = 0
        if self._open:
            if end - self._voiced_end >= self._hangover:
                return self._close(end)
            if end - self._start >= self._max:
                return self._end(self._quietest(), continues=True)
        return []

    def _next_mark(self) -> _Mark | None:
        """The next mark, if it was met before all of the next frame was there."""
        if self._passed == len(self._marks) or self._marks[self._passed].place >= self._at + FRAME:
            return None
        return self._marks[self._passed]

    def _hear_voice(self) -> None:
        self._voiced_end = self._at
        self._run += 1
        if self._run >= self._onset and self._spoken is None:
            self._start, self._open, self._spoken = self.floor, True, self._at - self._run * FRAME

    def _close(self, limit: int) -> list[Segment]:
        silent = self._voiced_end < self._at
        return self._end(min(self._voiced_end + self._padding, limit) if silent else limit, continues=False)

    def _end(self, end: int, continues: bool) -> list[Segment]:
        """The open segment ends at `end`; what was heard after that will be heard again."""
        if self._spoken is None:
            self._open = False
            return []
        if self._spoken >= end:  # nothing but the silence that a cut left before the words
            self._start = end
            return []
        segment = Segment(self._start, end, self._pcm(self._start, end), continues)
        self._begin(end, continues)
        return [segment]

    def _quietest(self) -> int:
        """End of the quietest frame, the latest of equals, in the last part of the open segment."""
        frames = min(SEARCH_MS // FRAME_MS, self._max // FRAME // 2)
        sound = np.frombuffer(self._pcm(self._at - frames * FRAME, self._at), "<i2").astype(np.int64)
        energy = np.square(sound).reshape(frames, FRAME).sum(axis=1)
        smooth = np.convolve(energy, np.ones(SMOOTHING, np.int64), "valid")
        after = int(np.argmin(smooth[::-1])) + SMOOTHING // 2  # frames that follow the quietest
        return self._at - after * FRAME

    def _pcm(self, start: int, end: int) -> bytes:
        sound = b"".join(self._sound)
        if len(self._sound) > 1:
            self._sound = deque([sound])
        return sound[(start - self._origin) * WIDTH : (end - self._origin) * WIDTH]

    def _forget(self) -> None:
        """Drop what can be neither in a segment nor in a warm-up any more."""
        floor = self.floor
        while (after := self._origin + len(self._sound[0]) // WIDTH) <= floor - WARM_UP * FRAME:
            self._sound.popleft()
            self._origin = after
        while self._passed and self._marks[0].place < floor:
            self._marks.popleft()
            self._passed -= 1


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % WIDTH:
        raise ValueError(f"{len(pcm)} bytes of sound: whole samples of {WIDTH} bytes are accepted")
    return pcm
