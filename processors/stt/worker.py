"""Utterances from the shared queues to transcripts.

Any worker may take any utterance. A transcript is stored once, even if two workers make it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, serve
from bus.supervisor import Supervisor
from contract import RATE, ContractError, Source, Transcript, Utterance
from processors.stt.core import DecodeResult, UnsupportedOptions, failed_transcript, transcript
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.interim import InterimTranscriber
from processors.stt.scheduling.pool import ModelPool
from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from processors.stt.whisper.language import MEMORY, Evidence, choose_language, evidence_from, needs_evidence
from processors.stt.whisper.models import Device, offered_models

log = structlog.get_logger()

BATCH_SIZE = {"cpu": 8, "cuda": 32}
PRIORITIES: dict[Source, Priority] = {"live": Priority.LIVE, "upload": Priority.UPLOAD, "replay": Priority.REPLAY}

_EVIDENCE_WITHIN = 2.0
"""Seconds that an utterance with an unclear language waits for the transcripts of the ones before it."""

_POLL_EVERY = 0.2


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
        """The further models, by the names that jobs use for them; raises StartError."""
        return offered_models(name.strip() for name in self.models.split(",") if name.strip())


async def serve_utterances(
    bus: Bus, engine: SpeechEngine, settings: Settings, load: Callable[[str], SpeechEngine]
) -> None:
    """Transcribe utterances, and open segments for interim results, until the bus is stopping.

    `load` loads a further model, of those that the settings offer. An unforeseen error in any background task ends all
    of them and is raised.
    """
    async with Supervisor() as tasks:

        def schedule(engine: SpeechEngine) -> Scheduler:
            batch_size = settings.batch_size or BATCH_SIZE[engine.device]
            return Scheduler(engine, batch_size, settings.batch_seconds, tasks.start)

        pool = ModelPool(engine, settings.offered, load, schedule, settings.models_loaded, tasks.start)
        interim = InterimTranscriber(bus, pool.own.scheduler)
        transcriber = Transcriber(bus, pool)
        # Enough that a batch is full whenever the model is free, and another one waits.
        at_once = 2 * pool.own.scheduler.batch_size * engine.workers

        async def handle(utterance: Utterance) -> Sequence[Transcript]:
            if utterance.generation == 1:  # segments of replays are never open
                interim.close_segment(utterance.job, utterance.index)
            return [] if utterance.last else [await transcriber.transcribe(utterance)]

        def queue(source: Source) -> Coroutine[None, None, None]:
            return serve(
                bus,
                Utterance,
                handle,
                durable=f"stt-{source}",
                subjects=Utterance.pattern(source=source),
                at_once=at_once,
                ack_wait=settings.ack_wait,
                attempts=settings.attempts,
                failed=lambda utterance, reason: [transcriber.failed(utterance, reason)],
            )

        try:
            tasks.start(interim.run(), name="interim results")
            await asyncio.gather(*(tasks.start(queue(source), name=f"stt-{source}") for source in PRIORITIES))
        finally:
            pool.close()  # every utterance has been given back, so nobody waits for a running inference


class Transcriber:
    """Turns one utterance into its transcript."""

    def __init__(self, bus: Bus, pool: ModelPool) -> None:
        self._bus = bus
        self._pool = pool

    async def transcribe(self, utterance: Utterance) -> Transcript:
        """The transcript, with `error` if the options are not supported. Raises what a retry may mend."""
        try:
            async with self._pool.acquire(utterance.options.model) as loaded:
                result = await self._decode(utterance, loaded.scheduler)
                made = transcript(utterance, result, loaded.model)
        except UnsupportedOptions as exc:
            log.warning("cannot be transcribed", job=utterance.job, index=utterance.index, reason=str(exc))
            return self.failed(utterance, str(exc))
        log.info(
            "transcribed",
            job=made.job,
            index=made.index,
            seconds=round((made.end - made.start) / RATE, 2),
            elapsed=round(made.elapsed, 3),
        )
        return made

    def failed(self, utterance: Utterance, reason: str) -> Transcript:
        """The transcript that says why there is no text."""
        return failed_transcript(utterance, reason, self._pool.describe(utterance.options.model))

    async def _decode(self, utterance: Utterance, scheduler: Scheduler) -> DecodeResult:
        """Decode an utterance; if its language is unclear, in the language that the job's evidence speaks for."""
        options, priority = utterance.options, PRIORITIES[utterance.source]
        seconds = (utterance.end - utterance.start) / RATE
        result = await scheduler.transcribe(utterance.pcm, options, priority)
        if not (
            result.segments
            and result.languages
            and needs_evidence(result.languages, seconds, options.allowed_languages)
        ):
            return result
        evidence = await self._evidence(utterance)
        choice = choose_language(result.languages, seconds, options.allowed_languages, evidence)
        if choice.language == result.language:
            return result
        held = options.model_copy(update={"language": choice.language})
        second = await scheduler.transcribe(utterance.pcm, held, priority)
        return replace(
            second,
            language_probability=choice.probability,
            decoding={**second.decoding, "language": None, "held_language": choice.language},
            elapsed=result.elapsed + second.elapsed,
        )

    async def _evidence(self, utterance: Utterance) -> list[Evidence]:
        """What the utterances before this one say about the language; waits briefly for those not yet transcribed."""
        before = range(max(0, utterance.index - MEMORY), utterance.index)
        clock = asyncio.get_running_loop().time
        until = clock() + _EVIDENCE_WITHIN
        found: dict[int, Evidence | None] = {}
        while True:
            for index in before:
                if index not in found and (made := await self._stored(utterance, index)):
                    found[index] = None if made.error else evidence_from(made)
            if len(found) == len(before) or clock() >= until:
                return [evidence for _, evidence in sorted(found.items()) if evidence]
            await asyncio.sleep(_POLL_EVERY)

    async def _stored(self, utterance: Utterance, index: int) -> Transcript | None:
        subject = Transcript.pattern(utterance.job, generation=str(utterance.generation), index=str(index))
        try:
            stored = await self._bus.last(Transcript, subject)
        except ContractError:  # written by something else than a worker: no evidence
            return None
        return stored.value if stored else None
