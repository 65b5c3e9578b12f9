"""Background tasks whose failure ends the block that they belong to.

A task from `asyncio.create_task` alone can die unnoticed, and whoever depends on it waits forever. Under a supervisor
its exception ends the owner instead: a job's lease, which another worker then takes, or the whole process, which is
started again.

    async with Supervisor() as tasks:
        tasks.start(keep_connected())
        await work()

This is `asyncio.TaskGroup` with two differences. Tasks that still run at the end of the block are cancelled instead of
awaited, and an exception is raised as it is, not inside an ExceptionGroup.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

import structlog

log = structlog.get_logger()
T = TypeVar("T")

_CANCEL_AGAIN = 1.0


class Supervisor:
    """Owns background tasks for as long as its `async with` block runs.

    The first task that raises cancels the block, and its exception leaves the block in place of the CancelledError.
    Later ones, and those of tasks that fail while the block is ending with another exception, are logged.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._owner: asyncio.Task[Any] | None = None
        self._failure: BaseException | None = None
        self._interrupted = False

    async def __aenter__(self) -> Self:
        self._owner = asyncio.current_task()
        return self

    async def __aexit__(self, _type: object, exc: BaseException | None, _traceback: object) -> None:
        owner, self._owner = self._owner, None
        outer = await self._end_tasks()
        if (
            self._interrupted
            and owner is not None
            and owner.uncancel() == 0
            and isinstance(exc, asyncio.CancelledError)
        ):
            exc = None  # the cancellation was only ours
        if exc is None and outer is None and self._failure is not None:
            raise self._failure
        if self._failure is not None:
            log.error("background task failed while its owner was ending", exc_info=self._failure)
        if exc is None and outer is not None:
            raise outer

    def start(self, work: Coroutine[Any, Any, T], *, name: str | None = None) -> asyncio.Task[T]:
        """Run a coroutine until it returns or the block ends; may be called by any task while the block runs."""
        if self._owner is None:
            work.close()
            raise RuntimeError("this supervisor is not running")
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (failure := task.exception()) is None:
            return
        if self._failure is not None:
            log.error("another background task failed", exc_info=failure)
            return
        self._failure = failure
        if self._owner is not None:
            self._interrupted = True
            self._owner.cancel()

    async def _end_tasks(self) -> asyncio.CancelledError | None:
        """Cancel all tasks and wait for them; returns the cancellation that came meanwhile, if any.

        Cancels more than once if need be: before Python 3.12 `asyncio.wait_for`, which nats-py uses, can swallow a
        cancellation that arrives together with the result (python/cpython#86296).
        """
        outer = None
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            try:
                await asyncio.wait(self._tasks, timeout=_CANCEL_AGAIN)
            except asyncio.CancelledError as cancelled:
                outer = cancelled
        return outer
