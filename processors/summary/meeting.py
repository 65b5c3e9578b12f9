"""What the events of one job say. Pure: no I/O in this file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from contract import JobOptions, Message, Opened, Segmented, Summary, Transcript


@dataclass
class Meeting:
    """What the events of one job have told so far, in whatever order they came."""

    options: JobOptions = field(default_factory=JobOptions)
    segmented: Segmented | None = None
    _transcripts: dict[int, Transcript] = field(default_factory=dict)

    def take(self, message: Message | None) -> None:
        """Note an event; kinds that do not matter here and transcripts of later generations are passed over."""
        match message:
            case Opened():
                self.options = message.options
            case Segmented():
                self.segmented = message
            case Transcript(generation=1):
                self._transcripts[message.index] = message

    @property
    def transcripts(self) -> list[Transcript]:
        """In order of index."""
        return [self._transcripts[index] for index in sorted(self._transcripts)]

    @property
    def complete(self) -> bool:
        """Whether all utterances are counted and each has its transcript."""
        if self.segmented is None:
            return False
        return all(index in self._transcripts for index in range(self.segmented.segments))


def unreadable(subject: str, reason: str) -> Transcript | None:
    """What stands in for a transcript whose message cannot be read: its index is taken, so nothing better will come.

    Its place in the sound is unknown: 0 to 0. None where `subject` is not that of a first transcript.
    """
    found = re.fullmatch(r"events\.([^.]+)\.transcript\.1\.(\d+)", subject)
    if found is None:
        return None
    return Transcript(job=found[1], index=int(found[2]), start=0, end=0, text="", error=reason)


def empty(job: str, transcripts: Sequence[Transcript], title: str | None) -> Summary:
    """The summary of a job without any text; says why there is none."""
    failed = sum(transcript.error is not None for transcript in transcripts)
    said = "Nothing was said that could be transcribed."
    if failed:
        said = f"None of what was said could be transcribed: {failed} of {len(transcripts)} segments failed."
    title = title or "Empty meeting"
    return Summary(job=job, title=title, summary=said, engine="none", reason="there is no transcript")


def unasked(job: str, language: str | None, title: str | None) -> Summary:
    """The summary of a job whose client wanted none."""
    reason = "summary was not asked for"
    return Summary(job=job, title=title or "", summary="", language=language, engine="none", reason=reason)
