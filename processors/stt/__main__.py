"""Speech to transcripts. Any worker takes any utterance; a transcript is written once, however often it is made."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NoReturn

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, run, serve
from contract import Source, Transcript, Utterance
from processors.stt.core import Model, Unfit, failed_transcript
from processors.stt.engine import Engine
from processors.stt.engines import Engines
from processors.stt.interim import Interim
from processors.stt.models import Device, offered
from processors.stt.scheduler import Scheduler, SpeechEngine
from processors.stt.transcriber import RANKS, Transcriber

log = structlog.get_logger()

BATCH_SIZE = {"cpu": 8, "cuda": 32}


class Settings(BaseSettings):
    """Which speech model, and how it runs."""

    model_config = SettingsConfigDict(env_prefix="STT_")

    model: str = Field("", description="Name, path or owner/name; empty: `small` on a CPU, `large-v3-turbo` on a GPU.")
    models: str = Field("", description="Further ones that a job may ask for, as for `model`, with commas between.")
    models_loaded: int = Field(2, ge=1, le=64, description="How many of those are loaded at a time.")
    device: Device = Field("auto", description="Where the model runs; `auto`: on a GPU if there is one.")
    compute_type: str = Field("auto", description="A CTranslate2 type; auto: float16 on a GPU, int8 on a CPU.")
    workers: int = Field(
        0, ge=0, le=64, description="Batches decoded at the same time; 0: on a CPU and a small model its cores, else 1."
    )
    threads: int = Field(0, ge=0, le=256, description="Cores for each batch on a CPU; 0: cores / workers.")
    beam_size: int = Field(1, ge=1, le=10, description="Width of the beam search.")
    batch_size: int = Field(0, ge=0, le=256, description="Utterances in a batch; 0: 8 on a CPU, 32 on a GPU.")
    batch_seconds: float = Field(480, gt=0, description="Seconds of encoder windows in a batch.")
    shortest_window: float = Field(
        0, ge=0, le=30, description="Seconds of the shortest encoder window; 0: what the model says, else 30."
    )
    attempts: int = Field(3, ge=1, description="Tries at an utterance before its transcript says that it failed.")
    ack_wait: float = Field(30.0, ge=0.5, description="Seconds of silence after which a worker counts as dead.")

    @property
    def offered(self) -> dict[str, str]:
        """The further models by the names that clients have for them; raises StartError."""
        return offered(name.strip() for name in self.models.split(",") if name.strip())


async def main(bus: Bus, settings: Settings) -> None:
    """Load the model, then transcribe until the bus is stopping."""
    _ = settings.offered  # a bad value is told before anything is loaded
    engine = await _load(bus, settings)
    if engine is not None:
        await bus.announce("stt")
        await serve_utterances(bus, engine, settings)


async def _load(bus: Bus, settings: Settings) -> Engine | None:
    """The engine, or None if the process is to stop before there is one."""
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it tells of each utterance
    began = time.perf_counter()
    loader = ThreadPoolExecutor(1, thread_name_prefix="load")
    loading = asyncio.get_running_loop().run_in_executor(loader, lambda: load_engine(settings, settings.model))
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


def load_engine(settings: Settings, name: str) -> Engine:
    """Load a model as these settings say; takes its time. Raises StartError."""
    return Engine(
        name,
        device=settings.device,
        compute_type=settings.compute_type,
        workers=settings.workers,
        threads=settings.threads,
        beam_size=settings.beam_size,
        shortest_window=settings.shortest_window,
    )


async def serve_utterances(
    bus: Bus, engine: SpeechEngine, settings: Settings, load: Callable[[str], SpeechEngine] | None = None
) -> None:
    """Transcribe utterances from the shared queues, and what is still being said, until the bus is stopping.

    `load`: gives a further model, of those that the settings offer; None: as the settings say.
    """

    def schedule(engine: SpeechEngine) -> Scheduler:
        return Scheduler(engine, settings.batch_size or BATCH_SIZE[engine.device], settings.batch_seconds)

    load = load or partial(load_engine, settings)
    engines = Engines(engine, settings.offered, load, schedule, settings.models_loaded)
    scheduler = engines.own.scheduler
    interim = Interim(bus, scheduler)

    async def handle(utterance: Utterance) -> Sequence[Transcript]:
        if utterance.generation == 1:  # nothing of a later one is ever open
            interim.close_segment(utterance.job, utterance.index)
        if utterance.last:
            return []
        try:
            async with engines.using(utterance.options.model) as chosen:
                return [await Transcriber(bus, chosen.model, chosen.scheduler).transcribe(utterance)]
        except Unfit as exc:
            log.warning("cannot be transcribed", job=utterance.job, index=utterance.index, reason=str(exc))
            return [failed(utterance, str(exc))]

    def failed(utterance: Utterance, reason: str) -> Transcript:
        asked = utterance.options.model
        model = engine.model if asked in (None, engine.model.name) else Model(asked, "")
        return failed_transcript(utterance, reason, model)

    def queue(source: Source) -> Coroutine[None, None, None]:
        return serve(
            bus,
            Utterance,
            handle,
            durable=f"stt-{source}",
            subjects=Utterance.pattern(source=source),
            # Enough that a batch is full whenever the model is free, and another one waits.
            at_once=2 * scheduler.batch_size * engine.workers,
            ack_wait=settings.ack_wait,
            attempts=settings.attempts,
            failed=lambda utterance, reason: [failed(utterance, reason)],
        )

    try:
        async with asyncio.TaskGroup() as working:
            drafting = working.create_task(interim.run())
            await asyncio.gather(*(working.create_task(queue(source)) for source in RANKS))
            drafting.cancel()
    finally:
        engines.close()  # what runs has been given back: nobody waits for it


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
