"""Speech to transcripts. Any worker takes any utterance; a transcript is written once, however often it is made."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn, Protocol

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import RATE, Bus, run, serve
from bus.messages import SpeechOptions, Transcript, Utterance
from processors.stt.core import Heard, Model, Unfit, failed_transcript, transcript

# CTranslate2's threads would spin while they wait for each other, and with anything else at work on the machine an
# inference then takes several times as long. The library reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from processors.stt.engine import Device, Engine

log = structlog.get_logger()


class Settings(BaseSettings):
    """Which speech model, and how it runs."""

    model_config = SettingsConfigDict(env_prefix="STT_")

    model: str = Field("", description="Name, path or owner/name; empty: `small` on a CPU, `large-v3-turbo` on a GPU.")
    device: Device = "auto"
    compute_type: str = Field("auto", description="A CTranslate2 type; auto: float16 on a GPU, int8 on a CPU.")
    workers: int = Field(1, ge=1, le=64, description="Inferences at the same time.")
    threads: int = Field(0, ge=0, le=256, description="Cores for each inference on a CPU; 0: cores / workers.")
    beam_size: int = Field(1, ge=1, le=10)
    attempts: int = Field(3, ge=1, description="Tries at an utterance before its transcript says that it failed.")
    ack_wait: float = Field(30.0, ge=0.5, description="Seconds of silence after which a worker counts as dead.")


class SpeechEngine(Protocol):
    """What turns sound into words."""

    model: Model

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        """Transcribe mono s16le at 16 kHz; blocks, in `Settings.workers` threads.

        Raises Unfit on what no attempt can transcribe; whatever else it raises is tried again.
        """
        ...


async def main(bus: Bus, settings: Settings) -> None:
    """Load the model, then transcribe until the bus is stopping."""
    engine = await _load(bus, settings)
    if engine is not None:
        await bus.announce("stt")
        await serve_utterances(bus, engine, settings)


async def _load(bus: Bus, settings: Settings) -> Engine | None:
    """The engine, or None if the process is to stop before there is one."""
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it tells of each utterance
    began = time.perf_counter()
    loader = ThreadPoolExecutor(1, thread_name_prefix="load")
    loading = asyncio.get_running_loop().run_in_executor(
        loader,
        lambda: Engine(
            settings.model,
            device=settings.device,
            compute_type=settings.compute_type,
            workers=settings.workers,
            threads=settings.threads,
            beam_size=settings.beam_size,
        ),
    )
    stop: asyncio.Future[bool] = asyncio.create_task(bus.stopping.wait())
    await asyncio.wait((loading, stop), return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    loader.shutdown(wait=False)
    if not loading.done():
        return None
    engine = loading.result()
    log.info(
        "speech model is ready",
        model=engine.model.name,
        hash=engine.model.hash,
        device=engine.device,
        compute_type=engine.compute_type,
        seconds=round(time.perf_counter() - began, 2),
    )
    return engine


async def serve_utterances(bus: Bus, engine: SpeechEngine, settings: Settings) -> None:
    """Transcribe utterances from the shared queue until the bus is stopping, `settings.workers` at a time."""
    pool = ThreadPoolExecutor(settings.workers, thread_name_prefix="inference")

    def infer(utterance: Utterance) -> Transcript:
        began = time.perf_counter()
        try:
            heard = engine.transcribe(utterance.pcm, utterance.options)
        except Unfit as exc:
            log.warning("cannot be transcribed", job=utterance.job, index=utterance.index, reason=str(exc))
            return failed_transcript(utterance, str(exc), engine.model)
        return transcript(utterance, heard, engine.model, time.perf_counter() - began)

    async def handle(utterance: Utterance) -> Sequence[Transcript]:
        if utterance.last:
            return []  # the end of a job: no sound
        made = await asyncio.get_running_loop().run_in_executor(pool, infer, utterance)
        log.info(
            "transcribed",
            job=made.job,
            index=made.index,
            seconds=round((made.end - made.start) / RATE, 2),
            elapsed=round(made.elapsed, 3),
        )
        return [made]

    try:
        await serve(
            bus,
            Utterance,
            handle,
            durable="stt",
            at_once=settings.workers,
            ack_wait=settings.ack_wait,
            attempts=settings.attempts,
            failed=lambda utterance, reason: [failed_transcript(utterance, reason, engine.model)],
        )
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # what runs has been given back: nobody waits for it


def run_process(main: Callable[[Bus, Settings], Coroutine[None, None, None]] = main) -> NoReturn:
    """Be the `stt` process, and end when it is told to.

    An inference cannot be interrupted, and Python would wait for its thread; but its utterance has been given back by
    then, so that waiting would only hold up the exit.
    """
    try:
        run("stt", main, Settings)
    except SystemExit as exc:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(exc.code if isinstance(exc.code, int) else 1)


if __name__ == "__main__":
    run_process()
