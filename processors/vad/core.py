"""Where speech starts and stops: samples in, segments out.

Rules, each of which has a test:

1. Time is a sample index, and a decision is made per frame: how the sound was cut into chunks cannot change the result.
2. After each segment everything but the detector starts anew at the segment's end, and which frames are voiced is the
   same for everyone (`hearing.py`). What follows is therefore a function of (`end` and `continues` of the last segment,
   the sound from `listen_from` that end on), and whoever continues from there decides the same.
3. A run of voiced frames long enough to open a segment is inside segments, whole, wherever a long one is cut.
4. A segment is never longer than `max_ms`. It is cut where it is quietest, and its successor starts open; a successor
   in which nobody goes on speaking is dropped.
5. A mark among the sound ends what is open there, unless somebody has spoken since it was asked for; who goes on to
   speak begins another segment. Met again, after a take-over, it changes nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from contract import WIDTH
from processors.vad.hearing import FRAME, FRAME_MS, DetectorFactory, Hearing, first_frame, listen_from

SEARCH_MS = 5_000
"""How much of the end of a segment that became too long is searched for the quietest place."""

_MANY = 100  # frames whose judgement is forgotten at a time

SMOOTHING = 2
"""Frames over which loudness is taken there. Of 1,000 cuts in noisy speech with 60 to 350 ms between sentences, 28 miss
the gap with two frames, 188 with one (a plosive is as quiet as a gap) and 65 with three (short gaps are passed over).
"""


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

    def listen_from(self, end: int) -> int:
        """First sample that is needed to go on after a segment that ended before sample `end`."""
        return listen_from(max(0, end - _frames(self.onset_ms) * FRAME))  # voiced frames may reach across a cut


def _frames(ms: int) -> int:
    return (ms + FRAME_MS // 2) // FRAME_MS


class Segmenter:
    """Cuts one stream of mono s16le sound at 16 kHz into segments of speech.

    To continue where another one stopped: `start` and `continues` are the `end` and `continues` of the last segment,
    and `before` is the sound before `start`: from `parameters.listen_from(start)` on or earlier, or all that there is
    without a gap.
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
        self._marks: deque[_Mark] = deque()  # those that are still to be met, while too little was heard
        self._listen(start - len(_whole(before)) // WIDTH, start)
        self._voiced += self._hearing.feed(before)
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
        return max(self._start, min(self._at, self._heard) - self._run * FRAME - self._padding)

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
        self._voiced += self._hearing.feed(pcm)
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
        self._marks.append(_Mark(self._heard, at))
        segments = self._cut_early() if self._hearing.cold else self._decide()
        self._forget()
        return segments

    def finish(self) -> list[Segment]:
        """End of the stream: returns what is still open, and what is left of a frame with the frame before it."""
        self._voiced += self._hearing.finish()
        segments = self._decide()
        while self._open:
            segments += self._close(self._heard)
            segments += self._decide()  # what comes after the end of a segment is decided again, now as ever
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
        self._listen(to, to)
        self._begin(to, continues=False)
        return segments

    def _listen(self, origin: int, start: int) -> None:
        """A stretch of sound begins at sample `origin`; what may be in segments, at `start`."""
        self._hearing = Hearing(self._new_detector, origin)
        self._voiced: list[bool] = []  # whether they are, frames from `_first` on
        self._first = first_frame(origin)
        self._sound: deque[bytes] = deque()  # as it came, because to collect it in one place is to move it often
        self._origin = self._heard = start  # where that begins and ends

    def _begin(self, at: int, continues: bool) -> None:
        """Start anew at sample `at`."""
        keep = max(at, self._origin)
        self._sound, self._origin = deque([self._pcm(keep, self._heard)]), keep
        self._at = first_frame(at) * FRAME  # the frame to decide next
        self._start = at  # of the open segment; otherwise the least that the next one may have
        self._open = self._continues = continues
        self._spoken: int | None = None  # where the first voiced frames in a row that suffice for an onset begin
        self._voiced_end = at  # end of the last voiced frame
        self._run = 0  # voiced frames in a row, from here on

    def _decide(self) -> list[Segment]:
        """Decide every frame that can be judged."""
        segments: list[Segment] = []
        while True:
            if self._marks and self._marks[0].place < self._at + FRAME:  # met before all of the next frame was there
                mark = self._marks.popleft()
                if self._open and self._voiced_end <= mark.at:
                    segments += self._close(mark.place)
            elif (at := self._at // FRAME - self._first) < len(self._voiced):
                if ended := self._decide_frame(self._voiced[at]):
                    segments += ended
            else:
                return segments

    def _decide_frame(self, voiced: bool) -> list[Segment] | None:
        self._at = end = self._at + FRAME
        if not voiced:
            self._run = 0
        else:
            self._run += 1
            self._voiced_end = end
            if self._spoken is None:
                self._hear_voice()
        if self._open:
            if end - self._voiced_end >= self._hangover:
                return self._close(end)
            if end + FRAME - self._start > self._max:
                return self._end(self._quietest(), continues=True)
        return None

    def _cut_early(self) -> list[Segment]:
        """A mark before enough was heard to judge by: what it cuts is guessed, and what follows begins anew.

        There the mark is met again once there is enough.
        """
        at, continues, marks = self._start, self._continues, list(self._marks)
        self._voiced = self._hearing.guess()
        segments = self._decide()
        self._voiced = []
        if segments:
            at, continues = segments[-1].end, segments[-1].continues
        self._begin(at, continues)
        self._marks = deque(mark for mark in marks if mark.place >= at)
        return segments

    def _hear_voice(self) -> None:
        """The last frame may have been the one that suffices for an onset."""
        run, at = self._run, self._at // FRAME - self._first
        if self._continues and self._at - run * FRAME == self._start:  # the run may reach across the cut
            while run < min(self._onset, at) and self._voiced[at - run - 1]:
                run += 1
        if run >= self._onset:
            self._start, self._open, self._spoken = self.floor, True, self._at - run * FRAME

    def _close(self, limit: int) -> list[Segment]:
        silent = self._voiced_end < self._at
        return self._end(min(self._voiced_end + self._padding, limit) if silent else limit, continues=False)

    def _end(self, end: int, continues: bool) -> list[Segment]:
        """The open segment ends at `end`; what comes after that is decided again."""
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
        """Drop what can be in no segment any more."""
        floor = self.floor
        while self._sound and (after := self._origin + len(self._sound[0]) // WIDTH) <= floor:
            self._sound.popleft()
            self._origin = after
        spare = floor // FRAME - self._onset - self._first
        if spare > _MANY:
            del self._voiced[:spare]
            self._first += spare


def _whole(pcm: bytes) -> bytes:
    if len(pcm) % WIDTH:
        raise ValueError(f"{len(pcm)} bytes of sound: whole samples of {WIDTH} bytes are accepted")
    return pcm
