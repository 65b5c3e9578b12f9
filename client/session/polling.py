"""Following a job by its REST record, where no capture socket tells of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from client.api import get_job, try_each
from client.errors import ServerError, UnavailableError, UnreachableError
from client.reading import Job, Json, read
from client.session.retry import GIVE_UP_AFTER, Outage, backoff

Retryable = UnreachableError | UnavailableError


async def poll(
    get: Callable[[], Awaitable[Json]], wait: Callable[[Retryable], Awaitable[None]]
) -> AsyncGenerator[Json]:
    """Yield a record again and again, less often while it does not change.

    `wait` is called when no server answers; it returns to try again, or raises to give up.
    """
    last: Json = {}
    unchanged = 0
    while True:
        try:
            record = await get()
        except (UnreachableError, UnavailableError) as exc:
            await wait(exc)
            continue
        unchanged = unchanged + 1 if record == last else 1
        last = record
        yield record
        await asyncio.sleep(backoff(unchanged + 1, 1.0))


async def follow_generation(
    servers: Sequence[str], job_id: str, generation: int, *, give_up_after: float = GIVE_UP_AFTER
) -> AsyncGenerator[Json]:
    """Yield the segments of a generation as they come, each once, then `replayed`.

    Raises ServerError where a server refuses, and the last failure after `give_up_after` seconds without an answer.
    """
    outage, seen = Outage(give_up_after), set[int]()
    clock = asyncio.get_running_loop().time

    async def get() -> Json:
        return (await try_each(servers, lambda server: get_job(server, job_id, generation)))[1]

    async def wait(exc: Retryable) -> None:
        delay = outage.next_delay(clock(), random.random(), exc.retry_after)  # noqa: S311 - it is no secret
        if delay is None:
            raise exc
        await asyncio.sleep(delay)

    async with aclosing(poll(get, wait)) as records:
        async for record in records:
            outage.connected(clock())
            outage.progress()
            job = read(Job, record, "job")
            known = next((each for each in job.generations or () if each.generation == generation), None)
            if known is None:
                raise ServerError(f"job {job_id} no longer has a generation {generation}")
            for segment in record["segments"]:
                if segment["index"] not in seen:
                    seen.add(segment["index"])
                    yield {"type": "transcript_segment", **segment}
            if known.done:
                yield {
                    "type": "replayed",
                    "job_id": job_id,
                    "generation": generation,
                    "segments": known.segments,
                    "model": known.model,
                }
                return
