"""What is known of a capture so far, from the messages of its server; segments come out in order. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audio import RATE
from client.errors import broken


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Word(_Value):
    """A word and when it was said, in seconds."""

    word: str
    start: float
    end: float


class Segment(_Value):
    """A final piece of the transcript; times in seconds."""

    index: int
    start: float
    end: float
    text: str = ""
    speaker: str | None = None
    error: str | None = None
    """Why there is no text where something was said."""
    words: list[Word] = Field(default_factory=list)

    @property
    def visible(self) -> bool:
        """Whether there is anything to show of it."""
        return bool(self.text.strip() or self.error)


class Partial(_Value):
    """What was understood of a segment that is still open; `start` in seconds, `stable`: characters that will stay."""

    start: float
    text: str = ""
    stable: int = 0


class ActionItem(_Value):
    """Something that somebody is to do."""

    who: str | None = None
    what: str = ""
    due: str | None = None


class Summary(_Value):
    """What the meeting was about; `reason` says why no language model wrote it."""

    title: str = ""
    summary: str = ""
    key_points: list[str] = Field(default_factory=list)
    decisions: list[str] = Field(default_factory=list)
    action_items: list[ActionItem] = Field(default_factory=list)
    engine: str = ""
    model: str | None = None
    reason: str | None = None


class Transcript:
    """Fed with messages; `feed` gives the segments that may be shown now, in order of index."""

    def __init__(self) -> None:
        self.job: str | None = None
        self.state = "connecting"
        self.lag = 0.0
        """Seconds of sound not yet transcribed."""
        self.saved = 0.0
        """Seconds of sound that the server has stored."""
        self.kept: float | None = None
        """Seconds of sound that wait for a connection, while there is none."""
        self.partial: Partial | None = None
        """Interim hypothesis of the open segment, until its final comes."""
        self.summary: Summary | None = None
        self.segments = 0
        """Segments that have been given out."""
        self._next = 0
        self._held: dict[int, Segment] = {}

    @property
    def held(self) -> list[Segment]:
        """Segments that wait for an earlier one, in order."""
        return [self._held[index] for index in sorted(self._held)]

    def feed(self, message: Mapping[str, Any]) -> list[Segment]:
        """Take a message of the server; raises ServerError for one that breaks the contract."""
        try:
            return self._feed(message)
        except ValidationError as exc:
            raise broken(message["type"], exc) from exc

    def disconnected(self, kept: float) -> None:
        """Note that there is no connection at present; kept: seconds of sound that wait for one."""
        self.kept = kept

    def rest(self) -> list[Segment]:
        """Give what is still held at the end, whatever is missing before it."""
        rest = [segment for segment in self.held if segment.visible]
        self._held.clear()
        self.segments += len(rest)
        return rest

    def _feed(self, message: Mapping[str, Any]) -> list[Segment]:
        match message["type"]:
            case "connection_success":
                hello = _Hello.model_validate(message)
                self.job, self.state, self.kept = hello.job_id, "streaming", None
                self.partial = None  # its final may have been told while there was no connection
                self.saved = max(self.saved, hello.next_sample / RATE)
            case "ack":
                self.saved = _Ack.model_validate(message).samples / RATE
            case "status":
                status = _Status.model_validate(message)
                self.state, self.lag = status.state, status.lag
            case "partial":
                self.partial = Partial.model_validate(message)
            case "transcript_segment":
                return self._take(Segment.model_validate(message))
            case "final_summary":
                self.summary = _Final.model_validate(message).summary
                self.partial = None
                return self.rest()
        return []

    def _take(self, segment: Segment) -> list[Segment]:
        if self.partial is not None and self.partial.start < segment.end:
            self.partial = None
        if segment.index >= self._next:
            self._held[segment.index] = segment
        ready = []
        while (following := self._held.pop(self._next, None)) is not None:
            self._next += 1
            if following.visible:
                ready.append(following)
        self.segments += len(ready)
        return ready


class _Hello(_Value):
    job_id: str
    next_sample: int = 0


class _Ack(_Value):
    samples: int


class _Status(_Value):
    state: str
    lag: float = 0.0


class _Final(_Value):
    summary: Summary | None = None
