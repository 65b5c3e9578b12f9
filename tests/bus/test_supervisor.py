from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from bus.supervisor import Supervisor


async def fail(error: Exception) -> None:
    raise error


async def forever() -> None:
    await asyncio.Event().wait()


async def supervised(body: Callable[[Supervisor], Awaitable[None]]) -> None:
    async with Supervisor() as tasks:
        await body(tasks)


async def test_the_failure_of_a_task_ends_the_block_and_all_other_tasks() -> None:
    others: list[asyncio.Task[None]] = []

    async def body(tasks: Supervisor) -> None:
        others.append(tasks.start(forever()))
        tasks.start(fail(ZeroDivisionError()))
        await forever()

    with pytest.raises(ZeroDivisionError):
        await supervised(body)
    assert others[0].cancelled()
    await asyncio.sleep(0)  # whoever ran the block is not cancelled any longer


async def test_tasks_end_with_the_block_and_may_return_before() -> None:
    async with Supervisor() as tasks:
        early, late = tasks.start(asyncio.sleep(0, "done")), tasks.start(forever())
        assert await early == "done"
    assert late.cancelled()


async def test_the_exception_of_the_block_is_raised_as_it_is() -> None:
    async def body(tasks: Supervisor) -> None:
        tasks.start(forever())
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await supervised(body)


async def test_a_block_that_swallows_the_cancellation_fails_at_its_end() -> None:
    async def body(tasks: Supervisor) -> None:
        tasks.start(fail(ZeroDivisionError()))
        with suppress(asyncio.CancelledError):
            await forever()

    with pytest.raises(ZeroDivisionError):
        await supervised(body)


async def test_a_task_that_fails_while_it_is_cancelled_fails_the_block() -> None:
    async def fail_at_the_end() -> None:
        try:
            await forever()
        finally:
            raise ZeroDivisionError

    async def body(tasks: Supervisor) -> None:
        tasks.start(fail_at_the_end())
        await asyncio.sleep(0)

    with pytest.raises(ZeroDivisionError):
        await supervised(body)


async def test_a_failure_that_cannot_be_raised_is_logged() -> None:
    async def body(tasks: Supervisor) -> None:
        tasks.start(fail(ZeroDivisionError()))
        tasks.start(fail(IndexError()))
        try:
            await forever()
        finally:
            raise KeyError

    with capture_logs() as logs, pytest.raises(KeyError):
        await supervised(body)
    assert [type(entry["exc_info"]) for entry in logs] == [IndexError, ZeroDivisionError]


async def test_a_cancellation_from_outside_goes_on_even_when_a_task_fails_too() -> None:
    inside = asyncio.Event()

    async def body(tasks: Supervisor) -> None:
        failing = tasks.start(fail(ZeroDivisionError()))
        inside.set()
        try:
            await forever()
        finally:
            assert failing.done()

    owner = asyncio.create_task(supervised(body))
    await inside.wait()
    await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.supervisor._CANCEL_AGAIN", 0.01)

    async def stubborn() -> None:
        with suppress(asyncio.CancelledError):
            await forever()
        await forever()

    async with Supervisor() as tasks:
        task = tasks.start(stubborn())
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_the_failure_of_an_outer_task_ends_an_inner_block_first() -> None:
    ended: list[str] = []

    async def body(outer: Supervisor) -> None:
        async def inner_body(inner: Supervisor) -> None:
            inner.start(forever())
            outer.start(fail(ZeroDivisionError()))
            await forever()

        try:
            await supervised(inner_body)
        except asyncio.CancelledError:
            ended.append("inner")
            raise

    with pytest.raises(ZeroDivisionError):
        await supervised(body)
    assert ended == ["inner"]


async def test_no_task_can_be_started_outside_the_block() -> None:
    async with Supervisor() as tasks:
        pass
    with pytest.raises(RuntimeError, match="not running"):
        tasks.start(forever())
