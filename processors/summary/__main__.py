"""Takes each closed job, waits for its transcripts, and leaves a finished job in the store.

The order makes a crash at any point harmless: the summary is created on the bus, once; then the store is written from
what the bus holds; then `completed` is created; and only then is `closed` acked.

Where a failed transcript is replaced later, the finished job in the store is written anew; its summary stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import TypeVar

import structlog

from bus import Bus, run, serve
from bus.backoff import delays
from bus.run import load
from contract import (
    Closed,
    Completed,
    ContractError,
    Message,
    Redriven,
    Segmented,
    State,
    Summary,
    Utterance,
    parse_event,
)
from processors.summary.meeting import Meeting, unreadable
from processors.summary.writer import Settings, Writer, open_writer
from store.jobs import JobNotFound, JobStore, StoreError, StoreSettings, connect

log = structlog.get_logger()
T = TypeVar("T")

JOBS_AT_ONCE = 256
"""Most of them only wait for transcripts; how many ask the language model at once is another setting."""


def main(bus: Bus, settings: Settings) -> Coroutine[None, None, None]:
    """Finish jobs until the bus is stopping.

    Not itself a coroutine, so that a bad setting of the store stops the start also while the bus is away.
    """
    return work(bus, settings, load(StoreSettings))


async def work(bus: Bus, settings: Settings, kept: StoreSettings) -> None:
    """Finish jobs until the bus is stopping."""
    async with connect(kept.url, kept.retention) as store, open_writer(settings) as writer:

        async def handle(closed: Closed) -> Sequence[Message]:
            return await finish(bus, store, writer, closed)

        async def mend(redriven: Redriven) -> Sequence[Message]:
            if redriven.stream == Utterance.STREAM:
                await correct(bus, store, redriven.job)
            return []

        await bus.announce("summary")
        async with asyncio.TaskGroup() as serving:
            serving.create_task(serve(bus, Closed, handle, durable="summary", at_once=JOBS_AT_ONCE))
            serving.create_task(serve(bus, Redriven, mend, durable="corrections", at_once=JOBS_AT_ONCE))


async def finish(bus: Bus, store: JobStore, writer: Writer, closed: Closed) -> Sequence[Message]:
    """From a closed job to a finished one."""
    meeting = await gather(bus, closed.job)
    await _show_progress(store, closed.job)
    summary = await _summarize(bus, writer, closed.job, meeting)

    if await _write(store, closed.job, meeting, closed.samples, summary) == "deleted":
        return []
    log.info("job finished", job=closed.job, segments=len(meeting.transcripts), engine=summary.engine)
    return [Completed(job=closed.job, segments=len(meeting.transcripts), samples=closed.samples)]


async def correct(bus: Bus, store: JobStore, job: str) -> None:
    """Write a finished job anew from what the bus holds; of one that is not finished yet, wait for the end."""
    completed = await _completed(bus, job)
    summary = await bus.last(Summary, Summary.pattern(job))
    if summary is None:
        return  # erased
    meeting, written = await gather(bus, job), None
    while meeting != written:
        # Another transcript of the job may be replaced meanwhile, and another worker have stored it: look once more.
        await _write(store, job, meeting, completed.samples, summary.value)
        meeting, written = await gather(bus, job), meeting
    log.info("job corrected", job=job)


async def _completed(bus: Bus, job: str) -> Completed:
    async with aclosing(bus.read("EVENTS", Completed.pattern(job))) as stored:
        async for raw in stored:
            return Completed.read(raw.subject, raw.data)
    raise AssertionError("a read of what is still to come does not end")


async def gather(bus: Bus, job: str) -> Meeting:
    """Read the events of a job until all its utterances have their transcripts; however long that takes."""
    meeting = Meeting()
    async with aclosing(bus.read("EVENTS", f"events.{job}.>")) as events:
        async for raw in events:
            try:
                meeting.take(parse_event(raw.subject, raw.data))
            except ContractError as exc:
                if raw.subject == Segmented.pattern(job):
                    raise  # without the count nobody can tell when the job is complete
                log.warning("event cannot be read", subject=raw.subject, seq=raw.seq, reason=str(exc))
                meeting.take(unreadable(raw.subject, str(exc)))
            if meeting.complete:
                break
    return meeting


async def _summarize(bus: Bus, writer: Writer, job: str, meeting: Meeting) -> Summary:
    """The one summary of a job: what is on the bus already, or else a new one, unless another worker was quicker."""
    subject = Summary.pattern(job)
    stored = await bus.last(Summary, subject)
    if stored is None:
        summary = await writer.write(job, meeting.options, meeting.transcripts)
        if await bus.create(summary):
            return summary
        stored = await bus.last(Summary, subject)
    if stored is None:
        raise RuntimeError(f"{subject} was taken and is empty")  # erased in between: try again from the start
    return stored.value


async def _show_progress(store: JobStore, job: str) -> None:
    """Tell watchers what is going on. Nothing depends on it: `finish` writes the whole record anyway."""
    try:
        await store.advance(job, "summarizing")
    except (JobNotFound, StoreError) as exc:
        log.warning("state of the job not updated", job=job, reason=str(exc) or "no such job in the store")


async def _write(store: JobStore, job: str, meeting: Meeting, samples: int, summary: Summary) -> State:
    async def write() -> State:
        return await store.finish(
            job, options=meeting.options, samples=samples, transcripts=meeting.transcripts, summary=summary
        )

    return await _until_stored(write)


async def _until_stored(action: Callable[[], Awaitable[T]]) -> T:
    retry_in = delays(0.2, 5.0)
    while True:
        try:
            return await action()
        except StoreError as exc:
            log.warning("waiting for the store", reason=str(exc))
        await asyncio.sleep(next(retry_in))


if __name__ == "__main__":
    run("summary", main, Settings)
