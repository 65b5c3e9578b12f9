"""The speech models of one worker: its own, and others that are loaded when a job asks for them.

There are few slots for other models. A new one replaces the least recently used model that is idle. If all slots stay
in use, the least recently used model accepts no new users until it is idle, and is replaced then.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import structlog

from bus import StartError
from processors.stt.core import Model, UnsupportedOptions
from processors.stt.scheduling.scheduler import CreateTask, Scheduler, SpeechEngine

log = structlog.get_logger()

EVICT_AFTER = 10.0
"""Seconds to wait for an idle slot before a model in use has to make room: loading takes seconds too."""


class Unavailable(Exception):
    """An offered model could not be loaded; a retry may succeed."""


class LoadedModel(NamedTuple):
    """A model that can be used through its scheduler."""

    model: Model
    scheduler: Scheduler


@dataclass(eq=False)
class _Slot:
    ready: asyncio.Future[LoadedModel]
    loading: asyncio.Task[None] | None = None
    users: int = 0
    last_used: int = 0
    draining: bool = False

    @property
    def idle(self) -> bool:
        return not self.users and self.ready.done()


class ModelPool:
    """A worker's models. own: the default. others: what `load` needs to load a further model, by the model's name.

    `load` blocks and is called in a thread. `max_loaded`: how many others are loaded at a time. `create_task` starts
    the task that loads a model; the owner of these tasks must notice if one fails, on an unforeseen error.
    """

    def __init__(
        self,
        own: SpeechEngine,
        others: Mapping[str, str],
        load: Callable[[str], SpeechEngine],
        schedule: Callable[[SpeechEngine], Scheduler],
        max_loaded: int,
        create_task: CreateTask,
    ) -> None:
        self.own = LoadedModel(own.model, schedule(own))
        self._others = {name: value for name, value in others.items() if name != own.model.name}
        self._load = load
        self._schedule = schedule
        self._max_loaded = max_loaded
        self._create_task = create_task
        self._slots: dict[str, _Slot] = {}
        self._uses = itertools.count()
        self._changed = asyncio.Event()
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")

    @property
    def loaded(self) -> list[str]:
        """The other models that have a slot."""
        return list(self._slots)

    def describe(self, name: str | None) -> Model:
        """The model of this name, None for the own one; without a hash if it is not loaded."""
        if name is None or name == self.own.model.name:
            return self.own.model
        slot = self._slots.get(name)
        return slot.ready.result().model if slot and slot.ready.done() else Model(name, "")

    @asynccontextmanager
    async def acquire(self, name: str | None) -> AsyncIterator[LoadedModel]:
        """Use a model while the block runs; waits until it is loaded. None: the own model.

        Raises UnsupportedOptions if it is not offered, Unavailable if it cannot be loaded.
        """
        if name is None or name == self.own.model.name:
            yield self.own
            return
        if name not in self._others:
            accepted = ", ".join(["null (the worker's own)", self.own.model.name, *self._others])
            raise UnsupportedOptions(f"model {name!r}: not offered; accepted: {accepted}")
        slot = await self._take_slot(name)
        try:
            yield await asyncio.shield(slot.ready)
        finally:
            slot.users -= 1
            if slot.draining and slot.idle and self._slots.get(name) is slot:
                self._evict(name)
            self._notify()

    def close(self) -> None:
        """Cancel all loading and all batches."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        for name in list(self._slots):
            self._evict(name)
        self.own.scheduler.close()

    async def _take_slot(self, name: str) -> _Slot:
        clock = asyncio.get_running_loop().time
        until = clock() + EVICT_AFTER
        while True:
            slot = self._slots.get(name)
            if slot is None and self._make_room():
                slot = self._slots[name] = _Slot(asyncio.get_running_loop().create_future())
                slot.loading = self._create_task(self._fill(name, slot))
            if slot is not None and not slot.draining:
                slot.users += 1
                slot.last_used = next(self._uses)
                return slot
            try:
                async with asyncio.timeout_at(until):
                    await self._changed.wait()
            except TimeoutError:
                self._drain_one()
                until = clock() + EVICT_AFTER

    async def _fill(self, name: str, slot: _Slot) -> None:
        """Load a model into its slot; a slot whose model cannot be loaded is freed."""
        engine, reason = None, ""
        try:
            engine = await asyncio.get_running_loop().run_in_executor(self._loader, self._load, self._others[name])
        except (StartError, OSError) as exc:
            reason = str(exc).partition(": ")[2] if isinstance(exc, StartError) else str(exc)
        if engine is None:  # not in the except clause: with its traceback it would keep what was loaded alive
            slot.ready.set_exception(Unavailable(f"model {name!r} cannot be loaded: {reason}"))
            slot.ready.exception()  # all users may be gone
            del self._slots[name]
            self._notify()
            return
        log.info("speech model loaded", model=name, hash=engine.model.hash)
        slot.ready.set_result(LoadedModel(engine.model, self._schedule(engine)))

    def _make_room(self) -> bool:
        """Whether there is a free slot now; evicts an idle model if necessary."""
        if len(self._slots) < self._max_loaded:
            return True
        idle = [name for name, slot in self._slots.items() if slot.idle]
        if not idle:
            return False
        self._evict(min(idle, key=lambda name: self._slots[name].last_used))
        return True

    def _drain_one(self) -> None:
        if not any(slot.draining for slot in self._slots.values()):
            min(self._slots.values(), key=lambda slot: slot.last_used).draining = True

    def _evict(self, name: str) -> None:
        slot = self._slots.pop(name)
        if slot.ready.done():
            slot.ready.result().scheduler.close()
            log.info("speech model unloaded", model=name)
        else:
            slot.ready.cancel()
            if slot.loading:
                slot.loading.cancel()

    def _notify(self) -> None:
        self._changed.set()
        self._changed.clear()
