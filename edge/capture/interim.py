"""What a client is told of a segment before it is final: the newest that is known, and nothing that is over. Pure."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from contract import Partial, Speaking, seconds


class Interim:
    """Keeps what a connection is to be told next, so that a slow one is told less and never late.

    `finals`: indexes of the segments that have been told in their final form.
    """

    def __init__(self, finals: Container[int]) -> None:
        self._finals = finals
        self._newest = -1  # the latest segment that anything was heard of
        self._started = -1  # the latest one of which it was told that it began
        self._end = -1  # of the hypothesis of the newest segment that was taken last
        self._speaking: Speaking | None = None
        self._partial: Partial | None = None

    def take(self, news: Speaking | Partial) -> None:
        """Something was heard of an open segment; what is late, known or over is passed over."""
        if news.index < self._newest or news.index in self._finals:
            return
        if news.index > self._newest:
            self._newest, self._end, self._partial = news.index, -1, None
        if isinstance(news, Partial):
            if news.end > self._end:
                self._end, self._partial = news.end, news
        elif news.index > self._started:
            self._started, self._speaking = news.index, news

    def next(self) -> dict[str, Any] | None:
        """What is to be told now, if there is anything; not told again."""
        speaking, self._speaking = self._speaking, None
        if speaking is not None and speaking.index not in self._finals:
            return {"type": "speech_started", "start": seconds(speaking.start)}
        partial, self._partial = self._partial, None
        if partial is None or partial.index in self._finals:
            return None
        stable = min(partial.stable, len(partial.text))
        return {"type": "partial", "start": seconds(partial.start), "text": partial.text, "stable": stable}
