"""A contender in a process of its own. It gets each utterance when it is due, whether it is ready or not."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from time import perf_counter, process_time
from typing import Any, Self

import structlog

from bench.speech import Arrival, Sentence, in_a_row
from bench.stt.contenders import Contender, Way, load_contender
from bench.stt.figures import Answer, Trial, merge

_LEAD = 0.2
"""Seconds from the order to the beginning of a run, so that several processes begin at the same time."""

_WARM_UP = 4
"""Utterances that are decoded before anything is measured."""

_END_WITHIN = 5.0

_LOOKS_EVERY = 0.2


class Lane:
    """The processes of one contender; it is loaded and warm once the block is entered. Raises what loading raises."""

    def __init__(self, way: Way, sentences: Sequence[Sentence]) -> None:
        self.way = way
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes: list[SpawnProcess] = []
        for _ in range(way.processes):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, way, sentences), daemon=True)
            process.start()
            theirs.close()  # so that it ends when ours is closed, however that comes
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> Self:
        try:
            for pipe in self._pipes:
                _answer(pipe)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the processes; what they are at is given up after a while."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_END_WITHIN)
            if process.is_alive():
                process.terminate()
                process.join()

    def live(self, arrivals: Sequence[Arrival], seconds: float, patience: float, bound: float | None = None) -> Trial:
        """Utterances as they arrive in so many seconds; those without a text `patience` seconds later are given up.

        bound: give up all that is left once the 95th percentile of the latency is certain to be above it. Latency is
        from when an utterance was due. Streams are dealt to the processes in turn.
        """
        number = len(self._pipes)
        for turn, pipe in enumerate(self._pipes):
            mine = [arrival for arrival in arrivals if arrival.stream % number == turn]
            pipe.send(("live", (mine, seconds, patience, bound)))
        return merge([_answer(pipe) for pipe in self._pipes])

    def alone(self, sentence: int) -> float:
        """Seconds that one utterance takes when there is no other."""
        self._pipes[0].send(("alone", (sentence,)))
        return float(_answer(self._pipes[0]))


def _answer(pipe: Connection) -> Any:
    try:
        found = pipe.recv()
    except EOFError:
        raise ChildProcessError("a contender's process has died; its last words are above") from None
    if isinstance(found, Exception):
        raise found
    return found


def _serve(pipe: Connection, way: Way, sentences: Sequence[Sentence]) -> None:
    """Be the process: load, then do what comes through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started us
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with suppress(EOFError, BrokenPipeError), asyncio.Runner() as runner:
        try:
            player = runner.run(_ready(way, sentences))
        except Exception as exc:  # noqa: BLE001 - raised in the program that waits
            pipe.send(exc)
            return
        pipe.send(None)
        while True:
            order, arguments = pipe.recv()
            try:
                found = runner.run(getattr(player, order)(*arguments))
            except Exception as exc:  # noqa: BLE001 - as above
                found = exc
            pipe.send(found)


async def _ready(way: Way, sentences: Sequence[Sentence]) -> _Player:
    player = _Player(load_contender(way), sentences)
    await player.live([Arrival(0.0, 0, index) for index in range(min(_WARM_UP, len(sentences)))], 0.0, 600.0)
    return player


class _Player:
    def __init__(self, contender: Contender, sentences: Sequence[Sentence]) -> None:
        self._contender = contender
        self._sentences = sentences

    async def alone(self, sentence: int) -> float:
        began = perf_counter()
        await self._transcribe(in_a_row(len(self._sentences))[sentence], asyncio.get_running_loop().time())
        return perf_counter() - began

    async def _transcribe(self, arrival: Arrival, due: float) -> str:
        before = [self._sentences[which].pcm for which in arrival.before]
        return await self._contender.transcribe(self._sentences[arrival.sentence].pcm, due, before)

    async def live(
        self, arrivals: Sequence[Arrival], seconds: float, patience: float, bound: float | None = None
    ) -> Trial:
        loop = asyncio.get_running_loop()
        self._contender.batches.clear()
        start, cpu = loop.time() + _LEAD, process_time()

        async def say(arrival: Arrival) -> Answer:
            due, sentence = start + arrival.at, self._sentences[arrival.sentence]
            await asyncio.sleep(due - sentence.seconds - loop.time())
            text = await self._transcribe(arrival, due)
            return Answer(arrival.sentence, loop.time() - due, text)

        tasks = {asyncio.create_task(say(arrival)): arrival for arrival in arrivals}
        until = start + max((arrival.at for arrival in arrivals), default=0.0) + patience
        pending = set(tasks)
        while pending and loop.time() < until and not _is_lost(tasks, loop.time() - start, bound):
            _, pending = await asyncio.wait(pending, timeout=min(_LOOKS_EVERY, until - loop.time()))
        ended = loop.time()
        late = {task for task in tasks if not task.done()}
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        answers = [
            Answer(arrival.sentence, ended - start - arrival.at, None) if task in late else task.result()
            for task, arrival in tasks.items()
            if task not in late or ended - start >= arrival.at
        ]
        await self._contender.quiet()
        return Trial(answers, max(seconds, ended - start), process_time() - cpu, list(self._contender.batches))


def _is_lost(tasks: Mapping[asyncio.Task[Answer], Arrival], now: float, bound: float | None) -> bool:
    """Whether more than a twentieth took longer than the bound already; now: seconds since the run began."""
    if bound is None:
        return False
    late = sum((task.result().latency if task.done() else now - arrival.at) > bound for task, arrival in tasks.items())
    return late > len(tasks) // 20
