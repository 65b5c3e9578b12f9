"""`stenobus diff`: how two generations of a job differ, word by word.

Case and punctuation are no differences. Source of the alignment and of the word error rate: jiwer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, NamedTuple

import typer
from rich.console import Console
from rich.text import Text

from client.api import get_job, try_each
from client.errors import ClientError, ServerError
from client.reading import Job, read
from client.shell import LOCAL, AsJson, JobId, Servers, exit_on_failure, print_json
from client.view import clean, clock, count
from contract.view import SegmentView

Kind = Literal["replaced", "inserted", "deleted"]

_KINDS: dict[str, Kind] = {"substitute": "replaced", "insert": "inserted", "delete": "deleted"}
_STYLES = {"replaced": "yellow", "inserted": "green", "deleted": "red"}


class Spoken(NamedTuple):
    """A word as it is written, and when it was said, in seconds."""

    word: str
    start: float
    end: float


@dataclass(frozen=True)
class Change:
    """Neighbouring words that differ; `before` is empty where they were inserted, `after` where deleted."""

    kind: Kind
    start: float
    end: float
    before: str
    after: str


@dataclass(frozen=True)
class Comparison:
    """All changes in order of time. `words`: how many each transcript has."""

    words: tuple[int, int]
    replaced: int
    inserted: int
    deleted: int
    changes: tuple[Change, ...]

    @property
    def wer(self) -> float | None:
        """Word error rate of the second transcript against the first; None where only the first has no words."""
        errors = self.replaced + self.inserted + self.deleted
        return errors / self.words[0] if self.words[0] else None if errors else 0.0


def diff(
    job_id: JobId,
    generations: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which two. Default: 1 and the newest.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Compare two generations of a job word by word, with the word error rate between them."""
    wanted = read_pair(generations)
    with exit_on_failure():
        pair, records = asyncio.run(_get(servers, job_id, wanted))
        found = compare(*(spoken(record.segments) for record in records))
        models = [_model(record, number) for record, number in zip(records, pair, strict=True)]
        if as_json:
            print_json(
                {
                    "job_id": job_id,
                    "generations": list(pair),
                    "models": models,
                    "words": list(found.words),
                    "wer": None if found.wer is None else round(found.wer, 4),
                    "replaced": found.replaced,
                    "inserted": found.inserted,
                    "deleted": found.deleted,
                    "changes": [asdict(change) for change in found.changes],
                }
            )
        else:
            _show(
                found,
                [f"{number} ({model})" if model else str(number) for number, model in zip(pair, models, strict=True)],
            )


def read_pair(text: str | None) -> tuple[int, int] | None:
    """Read two generations; raises BadParameter."""
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) == 2 and all(part.isascii() and part.isdigit() and int(part) for part in numbers):
        return int(numbers[0]), int(numbers[1])
    raise typer.BadParameter(f"{text!r} is not two generations, as 1,2", param_hint="--generations")


async def _get(
    servers: Sequence[str], job_id: str, wanted: tuple[int, int] | None
) -> tuple[tuple[int, int], tuple[Job, Job]]:
    async def get(generation: int | None = None) -> Job:
        return read(Job, (await try_each(servers, lambda server: get_job(server, job_id, generation)))[1], "job")

    if wanted is None:
        known = (await get()).generations
        if known is None:
            raise ServerError("the server does not know the generations at present: its bus is away")
        newest = max((each.generation for each in known), default=1)
        if newest == 1:
            raise ClientError(f"job {job_id} has one generation; make another with: stenobus replay {job_id}")
        wanted = 1, newest
    return wanted, (await get(wanted[0]), await get(wanted[1]))


def _model(record: Job, generation: int) -> str | None:
    return next((each.model for each in record.generations or () if each.generation == generation), None)


def spoken(segments: Sequence[SegmentView]) -> list[Spoken]:
    """The words of a transcript in order; of a segment without words those of its text, at the segment's time."""
    found: list[Spoken] = []
    for segment in sorted(segments, key=lambda segment: segment.index):
        timed = [Spoken(word.word, word.start, word.end) for word in segment.words]
        found += timed or [Spoken(word, segment.start, segment.end) for word in segment.text.split()]
    return [Spoken(part, word.start, word.end) for word in found for part in word.word.split() if _letters(part)]


def compare(first: Sequence[Spoken], second: Sequence[Spoken]) -> Comparison:
    """Align two transcripts and find where they differ."""
    counts = {"replaced": 0, "inserted": 0, "deleted": 0}
    changes = []
    for kind, before, after in _aligned(first, second):
        counts[kind] += max(len(before), len(after))
        present = before or after
        texts = (" ".join(word.word for word in words) for words in (before, after))
        changes.append(Change(kind, present[0].start, present[-1].end, *texts))
    return Comparison((len(first), len(second)), counts["replaced"], counts["inserted"], counts["deleted"], (*changes,))


def _aligned(
    first: Sequence[Spoken], second: Sequence[Spoken]
) -> list[tuple[Kind, Sequence[Spoken], Sequence[Spoken]]]:
    import jiwer  # not above: it loads slowly, and completion has no time

    if not first:  # jiwer cannot align with an empty reference
        return [("inserted", (), second)] if second else []
    reference, hypothesis = (" ".join(_letters(word.word) for word in words) for words in (first, second))
    chunks = jiwer.process_words(reference, hypothesis).alignments[0]
    return [
        (
            _KINDS[chunk.type],
            first[chunk.ref_start_idx : chunk.ref_end_idx],
            second[chunk.hyp_start_idx : chunk.hyp_end_idx],
        )
        for chunk in chunks
        if chunk.type != "equal"
    ]


def _letters(word: str) -> str:
    """What is compared of a word."""
    return re.sub(r"[\W_]+", "", word.casefold())


def _show(found: Comparison, names: Sequence[str]) -> None:
    console = Console(highlight=False)
    plain = not console.is_terminal
    for change in found.changes:
        line = Text(clock(change.start), style="" if plain else "cyan")
        line.append(f"  {_described(change)}", style="" if plain else f"not cyan {_STYLES[change.kind]}")
        console.print(line, soft_wrap=True)
    rate = "no word error rate without words" if found.wer is None else f"word error rate {100 * found.wer:.1f} %"
    counts = f"{found.replaced} replaced, {found.inserted} inserted, {found.deleted} deleted"
    total = f"of {count(found.words[0], 'word')}"
    console.print(Text(clean(f"generation {names[0]} to {names[1]}: {rate}, {counts} {total}")), soft_wrap=True)


def _described(change: Change) -> str:
    match change.kind:
        case "inserted":
            return clean(f"+ {change.after}")
        case "deleted":
            return clean(f"- {change.before}")
    return clean(f"{change.before} → {change.after}")
