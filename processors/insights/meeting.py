"""What the events of one job have told so far. Pure: no I/O in this file."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import structlog

from contract import ContractError, Message, Segmented, parse_event
from processors.insights.core import Rules, figures
from processors.insights.messages import Insights, Spoken

log = structlog.get_logger()


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
        found = re.fullmatch(r"events\.[^.]+\.transcript\.1\.(\d{1,9})", subject)
        if found:
            return self._hear(int(found[1]), subject, data)
        event: Message | None = None
        if subject == Segmented.pattern(self.job):
            event = parse_event(subject, data)
        if isinstance(event, Segmented):
            self._segmented = event
        return None

    def _hear(self, index: int, subject: str, data: bytes) -> Spoken:
        try:
            spoken = Spoken.read(subject, data)
        except ContractError as exc:
            # Its index is taken: nothing better will come, and its place in the sound is unknown.
            log.warning("transcript cannot be read", subject=subject, reason=str(exc))
            spoken = Spoken(job=self.job, index=index, start=0, end=0, text="", error=str(exc))
        self._transcripts[index] = spoken
        while self._count in self._transcripts:
            self._count += 1
        return spoken

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
