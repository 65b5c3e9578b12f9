"""When others are told of an open segment, so that they can show that somebody speaks, and what is said. Pure."""

from __future__ import annotations

from contract import RATE
from processors.vad.core import OpenSegment

FIRST = RATE * 400 // 1000
"""Sound from the first voiced frame on with which a first hypothesis is worth its while."""

LEAST = RATE * 500 // 1000
"""Least sound between one hypothesis and the next."""

SHARE = 5
"""A fifth of the open segment, if that is more: each hypothesis costs as much as the segment is long."""

PAUSE = RATE * 180 // 1000
"""Silence after which all that was said may be understood, before it has to be known whether that is the end."""


class Telling:
    """Follows one job; `again`: also while a segment grows; `pauses`: also where the speaker pauses."""

    def __init__(self, *, again: bool, pauses: bool) -> None:
        self._again = again
        self._pauses = pauses
        self._index = -1
        self._next = 0  # the sample with which it is time again
        self._pause = -1  # start of the pause that was told last

    def due(self, index: int, speech: OpenSegment | None) -> list[bool]:
        """What is to be told now of what is open, utterance `index`: for each message whether it is the first.

        What is not the first asks for a hypothesis.
        """
        if speech is None:
            return []
        told = []
        if index > self._index:
            self._index, self._next, self._pause = index, speech.voiced_start + FIRST, -1
            told.append(True)
        pausing = self._pauses and speech.end - speech.voiced_end >= PAUSE and speech.voiced_end != self._pause
        if self._again and (pausing or speech.end >= self._next):
            self._next = speech.end + max(LEAST, (speech.end - speech.start) // SHARE)
            self._pause = speech.voiced_end if pausing else self._pause
            told.append(False)
        return told
