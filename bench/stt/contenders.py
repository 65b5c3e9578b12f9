"""Ways to transcribe utterances as they come: ours, and what faster-whisper offers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import Any, Literal, Protocol

from faster_whisper import BatchedInferencePipeline, WhisperModel

from audio import to_float32
from contract import SpeechOptions
from processors.stt.core import DecodeResult
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.whisper.decoder import NO_TURNS, PreparedAudio, Turn
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.models import cores, find_model
from processors.stt.worker import BATCH_SIZE, Settings

Kind = Literal["ours", "one_at_a_time", "batched_pipeline"]

TITLES: dict[Kind, str] = {
    "ours": "Stenobus",
    "one_at_a_time": "WhisperModel, one at a time",
    "batched_pipeline": "BatchedInferencePipeline",
}

PIPELINE_BATCH = 8
"""Windows that BatchedInferencePipeline decodes together. They are of one sound: of an utterance there is one."""


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

    async def transcribe(self, pcm: bytes) -> str:
        """The text of one utterance, mono s16le at 16 kHz."""
        ...

    async def quiet(self) -> None:
        """Return once nothing is being decoded; all that waited has been given up before."""
        ...


def load_contender(way: Way) -> Contender:
    """Raises StartError if there is no such model, or it cannot be used this way."""
    if way.kind == "ours":
        return _Ours(way)
    return _Locked(way)


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
            beam_size=way.beam_size,
            shortest_window=way.shortest_window,
        )
        self.batches = self._engine.batches
        batch_seconds = float(Settings.model_fields["batch_seconds"].default)
        batch_size = way.batch_size or BATCH_SIZE[way.device]
        self._scheduler = Scheduler(self._engine, batch_size, batch_seconds, asyncio.create_task)

    async def transcribe(self, pcm: bytes) -> str:
        return (await self._scheduler.transcribe(pcm, SpeechOptions(), Priority.LIVE)).text

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

    async def transcribe(self, pcm: bytes) -> str:
        return await asyncio.get_running_loop().run_in_executor(self._owner, self._transcribe, pcm)

    def _transcribe(self, pcm: bytes) -> str:
        self.batches.append(1)
        segments, _ = self._model.transcribe(to_float32(pcm), **self._options)
        return "".join(segment.text for segment in segments)  # they are made while they are asked for

    async def quiet(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._owner, lambda: None)  # after what it has begun
