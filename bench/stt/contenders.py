"""Ways to transcribe utterances as they come: ours, what faster-whisper offers by itself, and a sliding window."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import Any, Literal, Protocol

import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel
from numpy.typing import NDArray

from audio import to_float32
from bench.stt.sliding import SlidingWindow, Word
from contract import RATE, WIDTH, SpeechOptions
from processors.stt.core import DecodeResult, Part
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.whisper.decoder import NO_TURNS, Turn
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.models import cores, find_model
from processors.stt.whisper.prepared import PreparedAudio
from processors.stt.worker import Settings

Kind = Literal["ours", "one_at_a_time", "batched_pipeline", "sliding_window"]

TITLES: dict[Kind, str] = {
    "ours": "Stenobus",
    "one_at_a_time": "WhisperModel, one at a time",
    "batched_pipeline": "BatchedInferencePipeline",
    "sliding_window": "WhisperModel, sliding window",
}

PIPELINE_BATCH = 8
"""Windows that BatchedInferencePipeline decodes together. They are of one sound: of an utterance there is one."""

SLIDES_EVERY = 1.0
"""Seconds of speech after which a sliding window is decoded again."""


@dataclass(frozen=True)
class Way:
    """How utterances are transcribed. The last five are for ours; 0: what the `stt` process takes by itself."""

    kind: Kind
    model: str
    device: Literal["cpu", "cuda"]
    compute_type: str
    beam_size: int = 1
    workers: int = 0
    threads: int = 0
    batch_size: int = 0
    shortest_window: float = 0
    processes: int = 1


class Contender(Protocol):
    """What is measured, loaded and on one event loop. `batches`: sizes of what was decoded together."""

    batches: list[int]

    async def transcribe(self, pcm: bytes, due: float, before: Sequence[bytes]) -> str:
        """The text of one utterance, mono s16le at 16 kHz, which is there at `due` on the loop's clock.

        before: the utterances of its stream before it, the latest last.
        """
        ...

    async def quiet(self) -> None:
        """Return once nothing is being decoded; all that waited has been given up before."""
        ...


def load_contender(way: Way) -> Contender:
    """Raises StartError if there is no such model, or it cannot be used this way."""
    if way.kind == "ours":
        return _Ours(way)
    return _Sliding(way) if way.kind == "sliding_window" else _Locked(way)


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


class _Watched(Engine):
    """An engine that records how much it decodes at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches: list[int] = []
        self._running = 0
        self._change = Condition()

    def decode(self, batch: Sequence[PreparedAudio], turn: Turn = NO_TURNS) -> list[DecodeResult]:
        with self._change:
            self._running += 1
            self.batches.append(len(batch))
        try:
            return super().decode(batch, turn)
        finally:
            with self._change:
                self._running -= 1
                self._change.notify_all()

    def quiet(self) -> None:
        """Return once nothing is being decoded."""
        with self._change:
            self._change.wait_for(lambda: not self._running)


class _Ours:
    """The engine and the scheduler of the `stt` process."""

    def __init__(self, way: Way) -> None:
        self._engine = _Watched(
            way.model,
            device=way.device,
            compute_type=way.compute_type,
            workers=way.workers,
            threads=way.threads,
            batch_size=way.batch_size,
            beam_size=way.beam_size,
            shortest_window=way.shortest_window,
        )
        self.batches = self._engine.batches
        batch_seconds = float(Settings.model_fields["batch_seconds"].default)
        self._scheduler = Scheduler(self._engine, self._engine.batch_size, batch_seconds, asyncio.create_task)

    async def transcribe(self, pcm: bytes, due: float, before: Sequence[bytes]) -> str:
        await _until(due)
        parts: list[Part] = []
        if self._engine.in_context:  # in the same sound as a worker reads from the bus, but for the pauses between
            own = min(self._engine.context(len(pcm) // WIDTH), sum(map(len, before)) // WIDTH)
            pcm = b"".join(before)[-own * WIDTH :] + pcm if own else pcm
            parts = [Part(own, own, len(pcm) // WIDTH)]
        return (await self._scheduler.transcribe(pcm, SpeechOptions(), Priority.LIVE, parts=parts)).text

    async def quiet(self) -> None:
        await asyncio.to_thread(self._engine.quiet)


class _Locked:
    """One model for all, one utterance at a time, in the order in which they came: a thread that owns it."""

    def __init__(self, way: Way) -> None:
        model = WhisperModel(
            str(find_model(way.model)), device=way.device, compute_type=way.compute_type, cpu_threads=cores()
        )
        pipelined = way.kind == "batched_pipeline"
        self._model = BatchedInferencePipeline(model) if pipelined else model
        # As a user would for one utterance. Everything else is faster-whisper's own default, temperatures among it.
        self._options = {
            "beam_size": way.beam_size,
            "word_timestamps": True,
            "vad_filter": False,
            **({"batch_size": PIPELINE_BATCH} if pipelined else {"condition_on_previous_text": False}),
        }
        self._owner = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self.batches: list[int] = []

    async def transcribe(self, pcm: bytes, due: float, before: Sequence[bytes]) -> str:
        await _until(due)
        return "".join(word for word, _ in await self._decode(pcm))

    async def _decode(self, pcm: bytes) -> list[Word]:
        return await asyncio.get_running_loop().run_in_executor(self._owner, self._words, to_float32(pcm))

    def _words(self, samples: NDArray[np.float32]) -> list[Word]:
        self.batches.append(1)
        segments, _ = self._model.transcribe(samples, **self._options)  # they are made while they are asked for
        return [(word.word, word.end) for segment in segments for word in segment.words or ()]

    async def quiet(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._owner, lambda: None)  # after what it has begun


class _Sliding(_Locked):
    """The sound behind the last confirmed word is decoded each second, as popular live servers do.

    That is the loop of WhisperLive and whisper_streaming at its best: it knows where speech begins and ends, so that it
    decodes no pause; the last decoding begins as soon as the utterance has ended, and all its words are final; a
    stream whose decoding is late leaves out the next instead of waiting for two.
    """

    async def transcribe(self, pcm: bytes, due: float, before: Sequence[bytes]) -> str:
        clock = asyncio.get_running_loop().time
        window = SlidingWindow()
        began = due - len(pcm) / WIDTH / RATE
        at = max(began, clock()) + SLIDES_EVERY
        while at < due:
            await _until(at)
            heard = clock() - began
            window.update(await self._behind(window.start, pcm[: round(heard * RATE) * WIDTH]))
            at = max(at + SLIDES_EVERY, clock())
        await _until(due)
        return window.text + "".join(word for word, _ in await self._behind(window.start, pcm))

    async def _behind(self, start: float, pcm: bytes) -> list[Word]:
        words = await self._decode(pcm[round(start * RATE) * WIDTH :])
        return [(word, start + end) for word, end in words]
