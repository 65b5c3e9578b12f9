"""Takes each closed job, waits for its transcripts, and leaves the finished job in the store.

The order makes a crash at any point harmless: the summary is created on the bus, once; then the store is written from
what the bus has; then `completed` is created; only then is `closed` acked.

A live job whose transcripts are corrected is finished with the corrected ones, generation 2, if they come in time. The
summary on the bus says which generation it was, so that every later attempt uses the same.

When a failed transcript is replaced later, the finished job is written to the store again. Its summary stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any

import structlog

from bus import Bus, run, serve
from bus.backoff import delays
from bus.requests import announce
from bus.run import load
from bus.speech import decode_utterance
from bus.supervisor import Supervisor
from contract import (
    CORRECTED,
    Closed,
    Completed,
    ContractError,
    Message,
    Redriven,
    Segmented,
    State,
    Summary,
    Transcript,
    Utterance,
    read_event,
)
from processors.summary.core import Meeting
from processors.summary.writer import Settings, Writer, open_writer
from store.jobs import JobNotFound, JobStore, StoreError, StoreSettings, connect

log = structlog.get_logger()

LOOK_FOR_LOST = 30.0
"""Seconds between two looks for utterances that are gone."""

_NOWHERE: dict[str, Any] = {
    "start": 0,  # its place in the audio is unknown
    "end": 0,
    "text": "",
    "error": "its sound was not transcribed within the time for which it is kept (BUS_AUDIO_HOURS)",
}

JOBS_AT_ONCE = 256
"""Most jobs only wait for transcripts. `Settings.at_once` limits the requests to the language model."""


def main(bus: Bus, settings: Settings) -> Coroutine[None, None, None]:
    """Finish jobs until the bus is stopping.

    Not a coroutine itself, so that a bad setting of the store stops the start even while the bus is away.
    """
    return work(bus, settings, load(StoreSettings))


async def work(bus: Bus, settings: Settings, store_settings: StoreSettings) -> None:
    """Finish jobs until the bus is stopping."""
    async with connect(store_settings.url, store_settings.retention) as store, open_writer(settings) as writer:

        async def on_closed(closed: Closed) -> Sequence[Message]:
            return await finish(bus, store, writer, closed, settings.correction_wait)

        async def on_redriven(redriven: Redriven) -> Sequence[Message]:
            if redriven.stream == Utterance.STREAM:
                await correct(bus, store, redriven.job)
            return []

        await announce(bus, "summary")
        async with asyncio.TaskGroup() as consumers:
            consumers.create_task(serve(bus, Closed, on_closed, durable="summary", at_once=JOBS_AT_ONCE))
            consumers.create_task(serve(bus, Redriven, on_redriven, durable="corrections", at_once=JOBS_AT_ONCE))


async def finish(
    bus: Bus, store: JobStore, writer: Writer, closed: Closed, correction_wait: float
) -> Sequence[Message]:
    """Summarise and store a closed job; `correction_wait`: seconds that it waits for its corrected transcripts."""
    meeting = await read_meeting(bus, closed.job)
    await _show_progress(store, closed.job)
    summary = await _summarize(bus, writer, closed.job, meeting, correction_wait)
    generation = summary.generation
    if not meeting.complete(generation):  # the worker that wrote the summary has seen more
        meeting = await read_meeting(bus, closed.job, generation)

    if await _write(store, closed.job, meeting, closed.samples, summary) == "deleted":
        return []
    segments = len(meeting.transcripts(generation))
    log.info("job finished", job=closed.job, segments=segments, generation=generation, engine=summary.engine)
    return [Completed(job=closed.job, segments=segments, samples=closed.samples, generation=generation)]


async def correct(bus: Bus, store: JobStore, job: str) -> None:
    """Store a finished job again, from what is on the bus; waits for the end of a job that is not finished yet."""
    completed = await _completed(bus, job)
    summary = await bus.last(Summary, Summary.pattern(job))
    if summary is None:
        return  # erased
    generation = summary.value.generation
    meeting, written = await read_meeting(bus, job, generation), None
    while meeting != written:
        # Another transcript may have been replaced while this one was written, and another worker may have stored an
        # older state over this one: go on until nothing has changed.
        await _write(store, job, meeting, completed.samples, summary.value)
        meeting, written = await read_meeting(bus, job, generation), meeting
    log.info("job corrected", job=job)


async def _completed(bus: Bus, job: str) -> Completed:
    async with aclosing(bus.read("EVENTS", Completed.pattern(job))) as stored:
        async for raw in stored:
            return Completed.read(raw.subject, raw.data)
    raise AssertionError("a live read does not end")


async def read_meeting(bus: Bus, job: str, generation: int = 1) -> Meeting:
    """Read the events of a job until each of its utterances has its transcript, however long that takes.

    generation: the other generation that has to be complete, too.
    """

    def on_error(subject: str, error: ContractError) -> Message | None:
        if subject == Segmented.pattern(job):
            raise error  # without the number of utterances nobody can tell when the job is complete
        return _unreadable(subject, error)

    meeting = Meeting()
    async with Supervisor() as tasks, aclosing(bus.read("EVENTS", f"events.{job}.>")) as events:
        tasks.start(_give_up_lost(bus, job, meeting, generation))
        async for raw in events:
            meeting.add(read_event(raw.subject, raw.data, on_error))
            if meeting.complete() and meeting.complete(generation):
                break
    return meeting


async def _give_up_lost(bus: Bus, job: str, meeting: Meeting, generation: int) -> None:
    """Store a failed transcript in place of each utterance that nobody can transcribe any more; runs until cancelled.

    The stream drops utterances by their age. After a long suspension, or a jump of the clock, some may go that were
    never transcribed.
    """
    lost: dict[int, list[int]] = {}
    while True:
        await asyncio.sleep(LOOK_FOR_LOST)
        first = await bus.first_raw(Utterance.STREAM, Utterance.pattern(job, generation="1"))
        kept = decode_utterance(first) if first is not None else None
        for number in {1, generation}:  # the second pass reads the utterances of the first generation again
            missing = meeting.missing(number)
            if first is None or kept is not None:  # they go in their order
                gone = [index for index in missing if kept is None or index < kept.index]
                for index in set(gone).intersection(lost.get(number, [])):  # a worker may have had it in its hands
                    log.warning("utterance is gone", job=job, generation=number, index=index)
                    await bus.create(Transcript(job=job, generation=number, index=index, **_NOWHERE))
                lost[number] = gone


def _unreadable(subject: str, error: ContractError) -> Message | None:
    log.warning("event cannot be read", subject=subject, reason=str(error))
    return Transcript.unreadable(subject, str(error))


async def _add_corrections(bus: Bus, job: str, meeting: Meeting, wait: float) -> None:
    """Add the corrected transcripts of a job, for at most `wait` seconds."""
    corrected = Transcript.pattern(job, generation=str(CORRECTED))
    with suppress(TimeoutError):
        async with asyncio.timeout(wait), aclosing(bus.read("EVENTS", corrected)) as stored:
            while meeting.correctable:
                raw = await anext(stored)
                meeting.add(read_event(raw.subject, raw.data, _unreadable))


async def _summarize(bus: Bus, writer: Writer, job: str, meeting: Meeting, correction_wait: float) -> Summary:
    """The one summary of a job: the one on the bus, else a new one, unless another worker publishes its own first."""
    subject = Summary.pattern(job)
    stored = await bus.last(Summary, subject)
    if stored is None:
        await _add_corrections(bus, job, meeting, correction_wait)
        generation = meeting.best
        written = await writer.write(job, meeting.options, meeting.transcripts(generation))
        summary = written.model_copy(update={"generation": generation})
        if await bus.create(summary):
            return summary
        stored = await bus.last(Summary, subject)
    if stored is None:
        raise RuntimeError(f"{subject} was written and is gone")  # erased meanwhile: start again
    return stored.value


async def _show_progress(store: JobStore, job: str) -> None:
    """Show clients the state `summarizing`. Nothing depends on it: the finished record replaces it."""
    try:
        await store.advance(job, "summarizing")
    except (JobNotFound, StoreError) as exc:
        log.warning("state of the job not updated", job=job, reason=str(exc) or "no such job in the store")


async def _write(store: JobStore, job: str, meeting: Meeting, samples: int, summary: Summary) -> State:
    """Write the finished job, as soon as the store is there; returns the state that it is in."""
    retry_in = delays(0.2, 5.0)
    while True:
        try:
            return await store.finish(
                job,
                options=meeting.options,
                samples=samples,
                transcripts=meeting.transcripts(summary.generation),
                summary=summary,
            )
        except StoreError as exc:
            log.warning("waiting for the store", reason=str(exc))
        await asyncio.sleep(next(retry_in))


if __name__ == "__main__":
    run("summary", main, Settings)
