"""One model for many callers: each asks for one utterance, and the engine decodes what waits in batches.

A more urgent batch starts while a less urgent one is in progress, which pauses between two calls of the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import Any, Protocol

import structlog

from contract import SpeechOptions
from processors.stt.core import DecodeResult, DeviceLost, Model, OutOfMemory, Part
from processors.stt.scheduling.batcher import Batcher, Entry, Priority
from processors.stt.scheduling.limit import BatchLimit
from processors.stt.scheduling.turns import Abandoned, Turn, Turns

log = structlog.get_logger()

MAX_BACKGROUND = {"cpu": 60.0}
"""Seconds of encoder windows in a batch of interim results or corrections, where the encoder takes long for each.

With whisper-base on two cores a window of 30 s takes about half a second, so that a final waits for about one second.
"""

_TRIES_ALONE = 3
"""Tries at one utterance for which there is no memory. One failure can be reported twice: see `cuda.OUT_OF_MEMORY`."""

_AGAIN_AFTER = 1.0
"""Seconds between them."""

CreateTask = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""As `Supervisor.start`."""


class Prepared(Protocol):
    """An utterance as the engine prepared it. Only those of equal `group` share a batch.

    `cost`: seconds of its encoder window. `seconds`: length of the sound that is decoded.
    """

    @property
    def group(self) -> Hashable:  # noqa: D102
        ...

    @property
    def cost(self) -> float:  # noqa: D102
        ...

    @property
    def seconds(self) -> float:  # noqa: D102
        ...


class SpeechEngine(Protocol):
    """What turns audio into text. `prepare` and `decode` block and are called in threads."""

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
        """How many calls of the model run at the same time."""
        ...

    @property
    def batch_size(self) -> int:
        """The most utterances of a batch."""
        ...

    @property
    def oversubscribed(self) -> bool:
        """Whether such calls share cores, and slow each other down."""
        ...

    @property
    def in_context(self) -> bool:
        """Whether an utterance is decoded with what was said around it."""
        ...

    def context(self, samples: int, *, merged: bool = False) -> int:
        """How many samples of earlier sound are decoded in front of so many samples, at most.

        merged: these are several utterances.
        """
        ...

    def prepare(
        self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
    ) -> Any | DecodeResult:
        """A `Prepared`, or the result if there is nothing to decode. Raises UnsupportedOptions."""
        ...

    def decode(self, batch: Sequence[Any], turn: AbstractContextManager[None]) -> list[DecodeResult]:
        """One result for each utterance. Raises OutOfMemory if the batch is too large.

        turn: entered for each call of the model, but not while it is entered already. What it raises is raised.
        """
        ...


class Urgency:
    """A priority that can be raised while a sound waits for the model or is decoded."""

    def __init__(self, priority: Priority) -> None:
        self.priority = priority
        self.on_raise: Callable[[], None] = lambda: None
        """Called when it has been raised."""

    def raise_to(self, priority: Priority) -> None:
        """Make it more urgent."""
        self.priority = min(priority, self.priority)
        self.on_raise()


@dataclass(eq=False)
class _Request:
    audio: Prepared
    priority: Priority
    result: asyncio.Future[DecodeResult]
    queued_at: float
    turn: Turn | None = None
    """Of its batch, once there is one."""


class Scheduler:
    """Feeds an engine. batch_size, batch_seconds: limits of a batch, in utterances and seconds of encoder windows.

    `create_task` starts the task of each batch; the owner of these tasks must notice if one fails, which only happens
    on an unforeseen error, not on one of the engine.
    """

    def __init__(self, engine: SpeechEngine, batch_size: int, batch_seconds: float, create_task: CreateTask) -> None:
        self.batch_size = batch_size
        self.engine = engine
        self._create_task = create_task
        self._batcher: Batcher[_Request] = Batcher(
            batch_size,
            batch_seconds,
            engine.workers,
            MAX_BACKGROUND.get(engine.device),
            oversubscribed=engine.oversubscribed,
        )
        self._limit = BatchLimit(batch_size)
        self._turns = Turns(engine.workers, engine.oversubscribed)
        self._running: list[Priority] = []
        self._batches: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._closed = False
        # Preparation needs no model and has its own threads, so that the model never waits for it.
        self._preparing = ThreadPoolExecutor(max(1, engine.workers), thread_name_prefix="prepare")
        # One for each batch that may be in progress, so that none waits for the thread of one that pauses.
        self._inference = ThreadPoolExecutor(engine.workers * len(Priority), thread_name_prefix="inference")

    async def transcribe(
        self,
        pcm: bytes,
        options: SpeechOptions,
        priority: Priority | Urgency,
        *,
        parts: Sequence[Part] = (),
        interim: bool = False,
    ) -> DecodeResult:
        """Transcribe one sound; arguments as for the engine. Raises what the engine raises for this sound."""
        urgency = priority if isinstance(priority, Urgency) else Urgency(priority)
        loop = asyncio.get_running_loop()
        prepare = partial(self.engine.prepare, pcm, options, parts=parts, interim=interim)
        audio = await loop.run_in_executor(self._preparing, prepare)
        if isinstance(audio, DecodeResult):
            return audio
        request = _Request(audio, urgency.priority, loop.create_future(), perf_counter())
        entry = Entry(request, urgency.priority, audio.group, audio.cost, audio.seconds)
        urgency.on_raise = lambda: self._raise(entry, urgency.priority)
        self._batcher.add(entry)
        self._dispatch()
        try:
            return await request.result
        except asyncio.CancelledError:
            self._turns.wake()  # perhaps nobody waits for its batch any more
            raise
        finally:
            self._batcher.discard(entry)

    async def wait_free(self, priority: Priority) -> None:
        """Return once an utterance of this priority would be decoded at once."""
        while not self._batcher.free(priority, self._running):
            await self._changed.wait()

    def close(self) -> None:
        """Cancel all requests. A call of the model cannot be interrupted: its thread ends when that returns."""
        self._closed = True
        self._preparing.shutdown(wait=False, cancel_futures=True)
        self._inference.shutdown(wait=False, cancel_futures=True)
        for task in self._batches:
            task.cancel()
        while batch := self._batcher.take():
            for request in batch:
                request.result.cancel()

    def _raise(self, entry: Entry[_Request], priority: Priority) -> None:
        """Give a sound that waits, or the batch that it is decoded in, a higher priority."""
        request = entry.item
        if request.turn is None:
            request.priority = priority
            self._batcher.raise_priority(entry, priority)
            self._dispatch()
        elif not request.result.done():
            self._running[self._running.index(request.turn.priority)] = priority
            self._turns.raise_priority(request.turn, priority)

    def _dispatch(self) -> None:
        while not self._closed and (batch := self._batcher.take(self._running)):
            self._start(batch, batch[0].priority)
        self._changed.set()
        self._changed.clear()

    def _start(self, batch: list[_Request], priority: Priority) -> None:
        self._running.append(priority)
        turn = self._turns.begin(priority, lambda: all(request.result.done() for request in batch))
        for request in batch:
            request.turn = turn
        task = self._create_task(self._run_batch(batch, turn))
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)
        # Not in the task: a less urgent batch must not go on before the next one has started.
        task.add_done_callback(lambda _: self._turns.end(turn))

    async def _run_batch(self, batch: list[_Request], turn: Turn) -> None:
        try:
            await self._decode(batch, turn)
        except asyncio.CancelledError:
            for request in batch:
                request.result.cancel()
            raise
        except Exception as exc:  # unforeseen: the owner of this task ends, and no caller may wait forever
            for request in batch:
                _fail(request, exc)
            raise
        self._running.remove(turn.priority)
        self._dispatch()

    async def _decode(self, batch: list[_Request], turn: Turn, tries: int = 1) -> None:
        """Decode a batch and resolve its requests. Raises DeviceLost.

        If there is no memory for it, its halves are decoded. If it fails otherwise, each utterance is decoded alone, so
        that the failure of one does not affect the others.
        """
        began = perf_counter()
        again: list[list[_Request]] = []
        try:
            results = await asyncio.get_running_loop().run_in_executor(
                self._inference, self.engine.decode, [request.audio for request in batch], turn
            )
        except Abandoned:
            return
        except DeviceLost as exc:
            log.error("the device serves this process no more: it ends, and others do its work", error=str(exc))
            raise
        except OutOfMemory as exc:
            self._limit.did_not_fit(len(batch), perf_counter())
            log.warning("out of memory: batches are smaller for a while", batch=len(batch), error=str(exc))
            if len(batch) > 1:
                again = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
            elif tries < _TRIES_ALONE:
                again = [batch]
            else:
                _fail(batch[0], exc)
        except Exception as exc:  # the libraries' errors have no common class
            log.warning("decoding failed", batch=len(batch), error=repr(exc), exc_info=True)
            if len(batch) == 1:
                _fail(batch[0], exc)
            else:
                again = [[request] for request in batch]
        else:
            self._limit.fitted(len(batch), perf_counter())
            elapsed = perf_counter() - began
            for request, result in zip(batch, results, strict=True):
                if not request.result.done():  # the caller may have been cancelled
                    timing = {"queue": round(began - request.queued_at, 4), **result.timing}
                    request.result.set_result(replace(result, elapsed=elapsed, timing=timing))
        self._batcher.max_items = self._limit.value
        # Not in the except clauses: there the traceback keeps alive what was encoded, and its memory.
        if again == [batch]:
            await asyncio.sleep(_AGAIN_AFTER)
        for part in again:
            await self._decode(part, turn, tries + 1 if len(batch) == 1 else 1)


def _fail(request: _Request, exc: Exception) -> None:
    if not request.result.done():
        request.result.set_exception(exc)
