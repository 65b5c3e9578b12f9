"""Reads the transcripts of each job, and publishes figures of the conversation: regularly, and when all are there.

One worker has the lease of a job. All its state is in stream EVENTS, so a worker that takes a job over reads that again
and goes on. Figures are appended behind the last ones that the worker knows (a fence), so a worker that lost its lease
without noticing is refused, and there are final figures only once. Alerts have the index of their transcript as their
identity, and are there once, too.
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
from bus.supervisor import Supervisor
from contract import RATE, ContractError, Message, Opened, Redriven, Utterance
from processors.insights import keywords
from processors.insights.core import Meeting, Rules, alert
from processors.insights.messages import Insights

log = structlog.get_logger()

JOBS_AT_ONCE = 2_000
"""As many as an edge takes."""

CORRECTIONS_AT_ONCE = 16


def _valid_keywords(value: str) -> str:
    keywords.parse(value)
    return value


class Settings(BaseSettings):
    """Which figures are published, and how often."""

    model_config = SettingsConfigDict(env_prefix="INSIGHTS_")

    keywords: Annotated[str, AfterValidator(_valid_keywords)] = Field(
        "", description="Words to watch for in every job, separated by commas; a job may name more in its metadata."
    )
    every: float = Field(10.0, gt=0, description="Seconds between figures while a job is live.")
    pause_ms: int = Field(2_000, ge=100, le=60_000, description="Least silence that counts as a pause.")


async def main(bus: Bus, settings: Settings) -> None:
    """Follow jobs until the bus is stopping."""

    async def on_opened(opened: Opened, _epoch: int) -> Sequence[Message]:
        await follow(bus, settings, opened)
        return []

    async def on_redriven(redriven: Redriven) -> Sequence[Message]:
        if redriven.stream == Utterance.STREAM:
            await correct(bus, settings, redriven.job)
        return []

    await announce(bus, "insights")
    async with asyncio.TaskGroup() as consumers:
        consumers.create_task(lease(bus, Opened, on_opened, durable="insights", at_once=JOBS_AT_ONCE))
        consumers.create_task(
            serve(bus, Redriven, on_redriven, durable="insights-corrections", at_once=CORRECTIONS_AT_ONCE)
        )


class _Published(NamedTuple):
    """The last figures of a job, None if there are none that can be read, and their sequence."""

    insights: Insights | None
    seq: int


async def follow(bus: Bus, settings: Settings, opened: Opened) -> None:
    """Publish figures of a job up to its final ones. Raises Fenced if another worker does."""
    published = await _last(bus, opened.job)
    if published.insights and published.insights.final:
        return
    meeting = Meeting(opened.job, rules(settings, opened))
    async with Supervisor() as tasks:
        reading = tasks.start(_read(bus, meeting))
        done = False
        while not done:
            await asyncio.wait([reading], timeout=settings.every)
            done = reading.done()  # looked at first, so that the figures after it are final
            published = await _publish(bus, meeting, published)
    log.info("insights complete", job=opened.job)


async def correct(bus: Bus, settings: Settings, job: str) -> None:
    """Publish final figures again after a transcript was replaced. Raises Retry while there are none yet."""
    opened = await bus.last(Opened, Opened.pattern(job))
    if opened is None:
        return  # erased, or aged out
    published = await _last(bus, job)
    if not (published.insights and published.insights.final):
        raise Retry(5)  # the worker that follows the job may have read the old transcript or the new one
    meeting = Meeting(job, rules(settings, opened.value))
    for raw in await bus.history("EVENTS", f"events.{job}.>"):
        await _add(bus, meeting, raw)
    try:
        if meeting.complete:
            await _publish(bus, meeting, published)
    except Fenced:
        raise Retry(0.5) from None  # another transcript of the job was replaced


async def _read(bus: Bus, meeting: Meeting) -> None:
    """Read the events of a job until it is complete."""
    async with aclosing(bus.read("EVENTS", f"events.{meeting.job}.>")) as events:
        async for raw in events:
            await _add(bus, meeting, raw)
            if meeting.complete:
                return


async def _add(bus: Bus, meeting: Meeting, raw: Raw) -> None:
    """Take an event, and publish an alert if it is a transcript with a keyword."""
    transcript = meeting.add(raw.subject, raw.data)
    if transcript and (found := alert(transcript, meeting.rules)):
        await bus.create(found)


async def _last(bus: Bus, job: str) -> _Published:
    raw = await bus.last_raw(Insights.pattern(job))
    if raw is None:
        return _Published(None, 0)
    try:
        return _Published(Insights.read(raw.subject, raw.data), raw.seq)
    except ContractError as exc:
        log.warning("figures cannot be read", subject=raw.subject, seq=raw.seq, reason=str(exc))
        return _Published(None, raw.seq)


async def _publish(bus: Bus, meeting: Meeting, last: _Published) -> _Published:
    """Append the figures if they are new; those of another worker that has read more transcripts are left alone."""
    insights = meeting.insights()
    least = last.insights.segments if last.insights else 1
    if meeting.empty or insights == last.insights or (insights.segments < least and not insights.final):
        return last
    try:
        return _Published(insights, await bus.append(insights, last.seq))
    except Conflict as exc:
        raise Fenced(str(exc)) from exc


def rules(settings: Settings, opened: Opened) -> Rules:
    """What to look for in one job."""
    wanted = keywords.parse(settings.keywords)
    try:
        wanted += keywords.from_metadata(opened.options.metadata)
    except ValueError as exc:
        log.warning("keywords of the job are not used", job=opened.job, reason=f"metadata.keywords: {exc}")
    found = [keywords.Keyword.of(keyword) for keyword in keywords.unique(wanted)]
    return Rules(found, settings.pause_ms * RATE // 1_000)


if __name__ == "__main__":
    run("insights", main, Settings)
