"""What the events of one job have told so far. Pure: no I/O in this file."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from contract import ContractError, Message, Segmented, read_event
from processors.insights.core import Rules, figures
from processors.insights.messages import Insights, Spoken

log = structlog.get_logger()

_KINDS: dict[str, type[Message]] = {"transcript": Spoken, "segmented": Segmented}


@dataclass
class Meeting:
    """The transcripts of a job's live audio, in whatever order they come; the later one of an index counts."""

    job: str
    rules: Rules
    _segmented: Segmented | None = None
    _transcripts: dict[int, Spoken] = field(default_factory=dict)
    _count: int = 0  # transcripts before the first that is missing

    def take(self, subject: str, data: bytes) -> Spoken | None:
        """Note an event; returns it if it is a transcript. Raises ContractError where the count cannot be read."""
        event = read_event(subject, data, self._on_error, _KINDS)
        match event:
            case Segmented():
                self._segmented = event
            case Spoken(generation=1):
                self._transcripts[event.index] = event
                while self._count in self._transcripts:
                    self._count += 1
                return event
        return None

    def _on_error(self, subject: str, error: ContractError) -> Message | None:
        if subject == Segmented.pattern(self.job):
            raise error  # without the number of utterances nobody can tell when the job is complete
        log.warning("event cannot be read", subject=subject, reason=str(error))
        return Spoken.unreadable(subject, str(error))

    @property
    def complete(self) -> bool:
        """Whether all utterances are counted and each has its transcript."""
        return self._segmented is not None and self._count >= self._segmented.segments

    @property
    def void(self) -> bool:
        """Whether there is nothing to tell: the job has no sound, or it was erased, and what was heard is not in it."""
        if self._segmented is None:
            return False
        return self._segmented.samples == 0 or self._segmented.segments < len(self._transcripts)

    def insights(self) -> Insights:
        """Figures of the transcripts before the first that is missing: final ones once there is none."""
        samples = self._segmented.samples if self._segmented and self.complete else None
        transcripts = [self._transcripts[index] for index in range(self._count)]
        return figures(self.job, transcripts, self.rules, samples)
