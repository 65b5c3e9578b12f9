"""The model among all who want it: sounds come one by one, are decoded in batches, and each gets its own result."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Protocol

import structlog

from contract import SpeechOptions
from processors.stt.batcher import Batcher, Rank, Waiting
from processors.stt.core import Heard, Model, OutOfMemory

log = structlog.get_logger()


class Prepared(Protocol):
    """A sound as the engine takes it. Those of one `group` can be decoded together; `cost`: seconds of the encoder."""

    @property
    def group(self) -> Hashable:  # noqa: D102
        ...

    @property
    def cost(self) -> float:  # noqa: D102
        ...


class SpeechEngine(Protocol):
    """What turns sound into words. Both methods block, and are called in threads."""

    @property
    def model(self) -> Model:
        """Which speech model it is."""
        ...

    @property
    def device(self) -> str:
        """Where it runs: cpu or cuda."""
        ...

    @property
    def workers(self) -> int:
        """How many threads may call `decode` at the same time."""
        ...

    def prepare(self, pcm: bytes, options: SpeechOptions, *, draft: bool = False) -> Any | Heard:
        """A `Prepared`, or what was heard at once. Raises Unfit on what no attempt can transcribe."""
        ...

    def decode(self, sounds: Sequence[Any]) -> list[Heard]:
        """What was heard in each. Raises OutOfMemory where it should be given fewer."""
        ...


@dataclass(frozen=True, eq=False)
class _Wanted:
    sound: Prepared
    heard: asyncio.Future[Heard]


class Scheduler:
    """Feeds an engine. batch_size, batch_seconds: bounds of a batch, in sounds and seconds of encoder windows."""

    def __init__(self, engine: SpeechEngine, batch_size: int, batch_seconds: float) -> None:
        self.batch_size = batch_size
        self._engine = engine
        self._batcher: Batcher[_Wanted] = Batcher(batch_size, batch_seconds)
        self._free = engine.workers
        self._room = asyncio.Event()
        self._room.set()
        self._batches: set[asyncio.Task[None]] = set()
        # What needs no model is done beside it, so that the model never waits for that.
        self._preparing = ThreadPoolExecutor(max(1, engine.workers), thread_name_prefix="prepare")
        self._inference = ThreadPoolExecutor(engine.workers, thread_name_prefix="inference")

    async def transcribe(self, pcm: bytes, options: SpeechOptions, rank: Rank, *, draft: bool = False) -> Heard:
        """What was heard; pcm, options and draft as for the engine. Raises what the engine raises for this sound."""
        loop = asyncio.get_running_loop()
        sound = await loop.run_in_executor(self._preparing, lambda: self._engine.prepare(pcm, options, draft=draft))
        if isinstance(sound, Heard):
            return sound
        wanted = _Wanted(sound, loop.create_future())
        waiting = Waiting(wanted, rank, sound.group, sound.cost)
        self._batcher.add(waiting)
        self._dispatch()
        try:
            return await wanted.heard
        finally:
            self._batcher.discard(waiting)

    async def idle(self) -> None:
        """Return once a worker is free and nothing waits for it."""
        await self._room.wait()

    def close(self) -> None:
        """Take nothing more; what is being decoded goes on, and nobody waits for it."""
        self._preparing.shutdown(wait=False, cancel_futures=True)
        self._inference.shutdown(wait=False, cancel_futures=True)

    def _dispatch(self) -> None:
        while self._free and (batch := self._batcher.take(self._free)):
            self._free -= 1
            task = asyncio.create_task(self._decode(batch))
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
        if self._free:
            self._room.set()
        else:
            self._room.clear()

    async def _decode(self, batch: list[_Wanted]) -> None:
        try:
            await self._settle(batch)
        finally:
            self._free += 1
            self._dispatch()

    async def _settle(self, batch: list[_Wanted]) -> None:
        """Decode a batch; one that fails is taken apart, so that a sound's failure is no other's."""
        began = perf_counter()
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                self._inference, self._engine.decode, [wanted.sound for wanted in batch]
            )
        except OutOfMemory as exc:
            if len(batch) == 1:
                _fail(batch[0], exc)
                return
            half = len(batch) // 2
            self._batcher.most_items = min(self._batcher.most_items, half)
            log.warning("out of memory: smaller batches from now on", batch=half)
            await self._settle(batch[:half])
            await self._settle(batch[half:])
        except Exception as exc:
            log.warning("decoding failed", batch=len(batch), error=repr(exc), exc_info=True)
            if len(batch) == 1:
                _fail(batch[0], exc)
                return
            for wanted in batch:
                await self._settle([wanted])
        else:
            elapsed = perf_counter() - began
            for wanted, heard in zip(batch, found, strict=True):
                if not wanted.heard.done():  # else nobody waits for it any more
                    wanted.heard.set_result(replace(heard, elapsed=elapsed))


def _fail(wanted: _Wanted, exc: Exception) -> None:
    if not wanted.heard.done():
        wanted.heard.set_exception(exc)
