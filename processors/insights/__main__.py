"""Listens to each job's transcripts, and tells how it is spoken: every few seconds, and when all of it is there.

One worker has a job, by the lease of its `opened`. All that it knows is what stream EVENTS holds, so whoever takes a
job over reads that again and goes on. What is told is appended behind what was told last: who has lost a job without
knowing it is refused, and the final figures are there once. An alert has its transcript's subject, and is there once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Annotated, NamedTuple

import structlog
from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, Conflict, Fenced, Raw, Retry, lease, run, serve
from bus.requests import announce
from contract import RATE, ContractError, Message, Opened, Redriven, Utterance
from processors.insights import core, text
from processors.insights.meeting import Meeting
from processors.insights.messages import Insights

log = structlog.get_logger()

AT_ONCE = 2_000
"""Jobs in hand: as many as an edge takes."""

MENDED_AT_ONCE = 16


def _keywords(value: str) -> str:
    text.split(value)
    return value


class Settings(BaseSettings):
    """What to tell of meetings."""

    model_config = SettingsConfigDict(env_prefix="INSIGHTS_")

    keywords: Annotated[str, AfterValidator(_keywords)] = Field(
        "", description="Words to watch for in every job, separated by commas; a job may name more in its metadata."
    )
    every: float = Field(10.0, gt=0, description="Seconds between figures while a job goes on.")
    pause_ms: int = Field(2_000, ge=100, le=60_000, description="From this much silence on it is a pause.")


async def main(bus: Bus, settings: Settings) -> None:
    """Tell of jobs until the bus is stopping."""

    async def own(opened: Opened, _epoch: int) -> Sequence[Message]:
        await follow(bus, settings, opened)
        return []

    async def mend(redriven: Redriven) -> Sequence[Message]:
        if redriven.stream == Utterance.STREAM:
            await correct(bus, settings, redriven.job)
        return []

    await announce(bus, "insights")
    async with asyncio.TaskGroup() as working:
        working.create_task(lease(bus, Opened, own, durable="insights", at_once=AT_ONCE))
        working.create_task(serve(bus, Redriven, mend, durable="insights-corrections", at_once=MENDED_AT_ONCE))


class _Told(NamedTuple):
    """What was told last, None if nothing or garbage, and its sequence."""

    value: Insights | None
    seq: int


async def follow(bus: Bus, settings: Settings, opened: Opened) -> None:
    """From what is stored of a job to its final figures. Raises Fenced where another worker has it."""
    told = await _last(bus, opened.job)
    if told.value and told.value.final:
        return
    meeting = Meeting(opened.job, rules(settings, opened))
    reading = asyncio.create_task(_read(bus, meeting))
    try:
        done = False
        while not done:
            await asyncio.wait([reading], timeout=settings.every)
            done = reading.done()  # asked before, so that what is told after it is final
            told = await _tell(bus, meeting, told)
        reading.result()
        log.info("insights told", job=opened.job)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def correct(bus: Bus, settings: Settings, job: str) -> None:
    """Tell final figures anew, from what the bus holds. Raises Retry while there are none yet."""
    opened = await bus.last(Opened, Opened.pattern(job))
    if opened is None:
        return  # erased, or aged out
    told = await _last(bus, job)
    if not (told.value and told.value.final):
        raise Retry(5)  # who has the job may have read the transcript before it was mended, or afterwards
    meeting = Meeting(job, rules(settings, opened.value))
    for raw in await bus.history("EVENTS", f"events.{job}.>"):
        await _take(bus, meeting, raw)
    try:
        if meeting.complete:
            await _tell(bus, meeting, told)
    except Fenced:
        raise Retry(0.5) from None  # another transcript of the job was mended


async def _read(bus: Bus, meeting: Meeting) -> None:
    """Listen until all is said."""
    async with aclosing(bus.read("EVENTS", f"events.{meeting.job}.>")) as events:
        async for raw in events:
            await _take(bus, meeting, raw)
            if meeting.complete:
                return


async def _take(bus: Bus, meeting: Meeting, raw: Raw) -> None:
    """Note an event, and alert if it is a transcript in which a keyword was said."""
    spoken = meeting.take(raw.subject, raw.data)
    if spoken and (alert := core.alert(spoken, meeting.rules)):
        await bus.create(alert)


async def _last(bus: Bus, job: str) -> _Told:
    raw = await bus.last_raw(Insights.pattern(job))
    if raw is None:
        return _Told(None, 0)
    try:
        return _Told(Insights.read(raw.subject, raw.data), raw.seq)
    except ContractError as exc:
        log.warning("figures cannot be read", subject=raw.subject, seq=raw.seq, reason=str(exc))
        return _Told(None, raw.seq)


async def _tell(bus: Bus, meeting: Meeting, told: _Told) -> _Told:
    """Append the figures where they are news; those that another worker told of more transcripts are not taken back."""
    insights, before = meeting.insights(), told.value
    least = before.segments if before else 1
    if meeting.void or insights == before or (insights.segments < least and not insights.final):
        return told
    try:
        return _Told(insights, await bus.append(insights, told.seq))
    except Conflict as exc:
        raise Fenced(str(exc)) from exc


def rules(settings: Settings, opened: Opened) -> core.Rules:
    """What to look for in one job."""
    keywords = text.split(settings.keywords)
    try:
        keywords += text.asked(opened.options.metadata)
    except ValueError as exc:
        log.warning("keywords of the job are not used", job=opened.job, reason=f"metadata.keywords: {exc}")
    found = [text.Keyword.of(keyword) for keyword in text.unique(keywords)]
    return core.Rules(found, settings.pause_ms * RATE // 1_000)


if __name__ == "__main__":
    run("insights", main, Settings)
