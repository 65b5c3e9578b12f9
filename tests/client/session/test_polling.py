"""Following a job by its record, against a real edge and a scripted server."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from bus import Bus
from client.errors import ServerError, UnreachableError
from client.reading import Json
from client.session.polling import Retryable, follow_generation, poll
from contract import RATE, JobOptions, Opened, Replay, Replayed
from tests.edge.conftest import Edge
from tests.edge.meeting import close, said, send


async def test_a_generation_is_followed_while_it_grows(edge: Edge, bus: Bus) -> None:
    job = await edge.create()
    await bus.create(Opened(job=job))
    await send(bus, job, 0, RATE)
    await close(bus, job, RATE)
    await bus.create(Replay(job=job, generation=2, options=JobOptions()))
    async with aclosing(follow_generation([edge.url], job, 2)) as messages:
        for index in (1, 0):
            await bus.create(said(job, index, f"Number {index}.").model_copy(update={"generation": 2, "model": "m"}))
            message = await anext(messages)
            assert (message["type"], message["index"], message["text"]) == (
                "transcript_segment",
                index,
                f"Number {index}.",
            )
        await bus.create(Replayed(job=job, generation=2, segments=2, samples=2 * RATE))
        expected = {"type": "replayed", "job_id": job, "generation": 2, "segments": 2, "model": "m"}
        assert [message async for message in messages] == [expected]


async def test_a_generation_that_does_not_exist(edge: Edge, bus: Bus) -> None:
    job = await edge.create()
    await bus.create(Opened(job=job))
    with pytest.raises(ServerError, match="no generation 2"):
        assert [message async for message in follow_generation([edge.url], job, 2)]


async def test_polling_goes_on_after_a_failure_until_it_is_given_up() -> None:
    answers: list[Json | None] = [{"n": 1}, None, {"n": 2}, None]
    waits: list[str] = []

    async def get() -> Json:
        if answers and (answer := answers.pop(0)) is not None:
            return answer
        raise UnreachableError("away")

    async def wait(exc: Retryable) -> None:
        waits.append(str(exc))
        if not answers:
            raise exc

    records = poll(get, wait)
    assert [await anext(records), await anext(records)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(UnreachableError, match="away"):
        await anext(records)
    assert waits == ["away"] * 2
