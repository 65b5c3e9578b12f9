"""`stenobus diff`: what two generations of a job say differently."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.text import Text

from client.api import get_job, in_turn
from client.completion import JobId
from client.errors import ClientError, ServerError, broken
from client.shell import LOCAL, AsJson, Servers, print_json, told
from client.transcript import Segment
from client.view import clean, clock

if TYPE_CHECKING:
    from client.compare import Change, Comparison

_STYLES = {"replaced": "yellow", "inserted": "green", "deleted": "red"}


class Made(BaseModel):
    """A generation as a job's record lists it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    generation: int
    segments: int = 0
    done: bool = False
    model: str | None = None


class Record(BaseModel):
    """The part of a job's record that generations are read from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    segments: list[Segment] = Field(default_factory=list)
    generations: list[Made] | None = None
    """None where the server cannot tell."""


def read_record(record: dict[str, Any]) -> Record:
    """Read a record; raises ServerError for one that is none."""
    try:
        return Record.model_validate(record)
    except ValidationError as exc:
        raise broken("job", exc) from exc


def pair_of(text: str | None) -> tuple[int, int] | None:
    """Read two generations; raises BadParameter."""
    if text is None:
        return None
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) == 2 and all(part.isascii() and part.isdigit() and int(part) for part in numbers):
        return int(numbers[0]), int(numbers[1])
    raise typer.BadParameter(f"{text!r} is not two generations, as 1,2")


def diff(
    job_id: JobId,
    generations: Annotated[
        str | None, typer.Option(metavar="A,B", help="Which two. Default: 1 and the newest.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    servers: Servers = LOCAL,
) -> None:
    """Compare two generations of a job, word by word, and give the word error rate between them."""
    # Not above: it takes a while to load, and a shell that completes a word has no time.
    from client.compare import compare, spoken

    try:
        wanted = pair_of(generations)
    except typer.BadParameter as exc:
        raise typer.BadParameter(str(exc), param_hint="--generations") from exc
    with told():
        first, second, records = asyncio.run(_get(servers, job_id, wanted))
        found = compare(*(spoken(record.segments) for record in records))
        models = [_model(record, number) for record, number in zip(records, (first, second), strict=True)]
        if as_json:
            print_json(
                {
                    "job_id": job_id,
                    "generations": [first, second],
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
            pairs = zip((first, second), models, strict=True)
            names = [f"{number} ({model})" if model else str(number) for number, model in pairs]
            _show(found, names)


async def _get(
    servers: Sequence[str], job_id: str, wanted: tuple[int, int] | None
) -> tuple[int, int, tuple[Record, Record]]:
    async def get(generation: int) -> Record:
        return read_record((await in_turn(servers, lambda server: get_job(server, job_id, generation)))[1])

    if wanted is None:
        made = (await get(1)).generations
        if made is None:
            raise ServerError("the server cannot tell now which generations there are: its bus is away")
        newest = max((each.generation for each in made), default=1)
        if newest == 1:
            raise ClientError(f"job {job_id} has one generation; another is made with: stenobus replay {job_id}")
        wanted = 1, newest
    first, second = wanted
    return first, second, (await get(first), await get(second))


def _model(record: Record, generation: int) -> str | None:
    return next((made.model for made in record.generations or () if made.generation == generation), None)


def _show(found: Comparison, names: Sequence[str]) -> None:
    console = Console(highlight=False)
    plain = not console.is_terminal
    for change in found.changes:
        line = Text(clock(change.start), style="" if plain else "cyan")
        line.append(f"  {_said(change)}", style="" if plain else f"not cyan {_STYLES[change.kind]}")
        console.print(line, soft_wrap=True)
    rate = "no word error rate without words" if found.wer is None else f"word error rate {100 * found.wer:.1f} %"
    counts = f"{found.replaced} replaced, {found.inserted} inserted, {found.deleted} deleted"
    of = f"of {found.words[0]} {'word' if found.words[0] == 1 else 'words'}"
    console.print(Text(clean(f"generation {names[0]} to {names[1]}: {rate}, {counts} {of}")), soft_wrap=True)


def _said(change: Change) -> str:
    match change.kind:
        case "inserted":
            return clean(f"+ {change.after}")
        case "deleted":
            return clean(f"- {change.before}")
    return clean(f"{change.before} → {change.after}")
