"""The state of a capture, from the messages of its server; segments come out in order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from client.reading import FinalSummary, Status, Summary, read_message
from contract import RATE
from contract.socket import SocketAck, SocketPartial, SocketWelcome
from contract.view import SegmentView


def is_visible(segment: SegmentView) -> bool:
    """Whether a segment has anything to show."""
    return bool(segment.text.strip() or segment.error)


class Transcript:
    """Fed with messages; `feed` returns the segments that can be shown now, in order of index."""

    def __init__(self) -> None:
        self.job: str | None = None
        self.state = "connecting"
        self.lag = 0.0
        """Seconds of audio that have no text yet."""
        self.trouble: str | None = None
        """Why the server cannot store audio at present."""
        self.saved = 0.0
        """Seconds of audio that the server has stored."""
        self.kept: float | None = None
        """Seconds of audio in the client's backlog while there is no connection; else None."""
        self.partial: SocketPartial | None = None
        """Interim text of the open segment, until its final comes."""
        self.summary: Summary | None = None
        self.segments = 0
        """Segments that were returned so far."""
        self._next = 0
        self._held: dict[int, SegmentView] = {}

    @property
    def held(self) -> list[SegmentView]:
        """Segments that wait for an earlier one, in order."""
        return [self._held[index] for index in sorted(self._held)]

    def feed(self, raw: Mapping[str, Any]) -> list[SegmentView]:
        """Take a message of the server; raises ServerError for one that breaks the contract."""
        match read_message(raw):
            case SocketWelcome(job_id=job, next_sample=sample):
                self.job, self.state, self.kept = job, "streaming", None
                self.partial = None  # its final may have come while there was no connection
                self.saved = max(self.saved, sample / RATE)
            case SocketAck(samples=samples):
                self.saved = samples / RATE
            case Status(state=state, lag=lag, trouble=trouble):
                self.state, self.lag, self.trouble = state, lag, trouble
            case SocketPartial() as partial:
                self.partial = partial
            case SegmentView() as segment:
                return self._take(segment)
            case FinalSummary(summary=summary):
                self.summary = summary
                self.partial = None
                return self.rest()
        return []

    def disconnected(self, kept: float) -> None:
        """Note that there is no connection; kept: seconds of audio in the backlog."""
        self.kept = kept

    def rest(self) -> list[SegmentView]:
        """Return what is still held at the end, whatever is missing before it."""
        rest = [segment for segment in self.held if is_visible(segment)]
        self._held.clear()
        self.segments += len(rest)
        return rest

    def _take(self, segment: SegmentView) -> list[SegmentView]:
        if self.partial is not None and self.partial.start < segment.end:
            self.partial = None
        if segment.index >= self._next:
            self._held[segment.index] = segment
        ready = []
        while (following := self._held.pop(self._next, None)) is not None:
            self._next += 1
            if is_visible(following):
                ready.append(following)
        self.segments += len(ready)
        return ready
