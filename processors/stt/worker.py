"""Utterances from the shared queues to transcripts.

Any worker may take any utterance. A transcript is stored once, even if two workers make it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial

import structlog
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus import Bus, Retry, serve
from bus.supervisor import Supervisor
from contract import CORRECTED, RATE, ContractError, Source, Transcript, Utterance
from processors.stt.core import DecodeResult, OutOfMemory, UnsupportedOptions, failed_transcript, transcript
from processors.stt.scheduling.ahead import Ahead
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.interim import InterimTranscriber
from processors.stt.scheduling.pool import ModelPool
from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from processors.stt.sound import closed_window, sound_of
from processors.stt.whisper.engine import Context
from processors.stt.whisper.language import MEMORY, Evidence, choose_language, evidence_from, needs_evidence
from processors.stt.whisper.models import Device, offered_models

log = structlog.get_logger()

PRIORITIES: dict[Source, Priority] = {"live": Priority.LIVE, "upload": Priority.UPLOAD, "replay": Priority.REPLAY}

Handler = Callable[[Utterance], Awaitable[Sequence[Transcript]]]
OnFailure = Callable[[Utterance, str], Awaitable[Sequence[Transcript]]]

QUIET = 3.0
"""Seconds without speech before which a CPU corrects nothing: one call of the model, which takes about a second for a
whole window, would delay the next final."""

_FIRST_GENERATION_AGAIN = 1.0
"""Seconds until a worker looks again for transcripts that it is to copy."""

_MEMORY_AGAIN = 30.0
"""Seconds until an utterance is tried again for which the device had no memory. By its ninth delivery Ollama, by
default, has unloaded a model that was not used in the meantime (5 min)."""

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
    device_index: int | None = Field(
        None, ge=0, le=63, description="Which GPU, as nvidia-smi numbers them; none: the first."
    )
    compute_type: str = Field("auto", description="A CTranslate2 type; auto: float16 on a GPU, int8 on a CPU.")
    workers: int = Field(
        0,
        ge=0,
        le=64,
        description="Batches decoded at the same time; 0: 2 on a GPU, on a CPU and a small model its cores, else 1.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=256,
        description="Cores for each batch on a CPU; 0: cores / workers, two at least unless the model is tiny.",
    )
    beam_size: int = Field(1, ge=1, le=10, description="Width of the beam search.")
    batch_size: int = Field(
        0, ge=0, le=256, description="Utterances in a batch; 0: 8 on a CPU, on a GPU what it encodes in 250 ms."
    )
    batch_seconds: float = Field(960, gt=0, description="Seconds of encoder windows in a batch.")
    shortest_window: float = Field(
        0, ge=0, le=30, description="Seconds of the shortest encoder window; 0: what the model says, else 15."
    )
    context: Context = Field(
        "auto",
        description="Whether an utterance is decoded with what was said around it; `auto`: unless the model's folder "
        "says that it was trained on short windows.",
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
            batch_size = settings.batch_size or engine.batch_size
            return Scheduler(engine, batch_size, settings.batch_seconds, tasks.start)

        pool = ModelPool(engine, settings.offered, load, schedule, settings.models_loaded, tasks.start)
        ahead = Ahead(pool.own.scheduler, tasks.start)
        interim = InterimTranscriber(bus, pool.own.scheduler, ahead)
        transcriber = Transcriber(bus, pool, ahead)
        # Enough that a batch is full whenever the model is free, and another one waits.
        at_once = 2 * pool.own.scheduler.batch_size * engine.workers

        async def transcribe_live(utterance: Utterance) -> Sequence[Transcript]:
            if utterance.generation == 1:  # segments of replays are never open
                interim.close_segment(utterance.job, utterance.index)
            return [] if utterance.last else [await transcriber.transcribe(utterance)]

        async def fail_one(utterance: Utterance, reason: str) -> Sequence[Transcript]:
            return [transcriber.failed(utterance, reason)]

        async def recorded(utterance: Utterance) -> list[Utterance]:
            if utterance.window is None and not utterance.last:  # stored by an older segmenter
                return [utterance]
            return await closed_window(bus, utterance)

        async def transcribe_recorded(utterance: Utterance) -> Sequence[Transcript]:
            return await transcriber.transcribe_window(await recorded(utterance))

        async def fail_recorded(utterance: Utterance, reason: str) -> Sequence[Transcript]:
            return [transcriber.failed(one, reason) for one in await recorded(utterance)]

        async def correct(utterance: Utterance) -> Sequence[Transcript]:
            return await transcriber.correct(await closed_window(bus, utterance), partial(interim.wait_quiet, QUIET))

        async def keep_first(_utterance: Utterance, _reason: str) -> Sequence[Transcript]:
            return []  # the generation stays incomplete, and the job keeps the first one

        def queue(
            name: str, source: Source, handle: Handler, failed: OnFailure, at_once: int
        ) -> Coroutine[None, None, None]:
            return serve(
                bus,
                Utterance,
                handle,
                durable=f"stt-{name}",
                subjects=Utterance.pattern(source=source),
                at_once=at_once,
                ack_wait=settings.ack_wait,
                attempts=settings.attempts,
                failed=failed,
            )

        queues = [
            queue("live", "live", transcribe_live, fail_one, at_once),
            queue("upload", "upload", transcribe_recorded, fail_recorded, at_once),
            queue("replay", "replay", transcribe_recorded, fail_recorded, at_once),
            queue("correction", "live", correct, keep_first, 1 + engine.workers),
        ]
        try:
            tasks.start(interim.run(), name="interim results")
            await asyncio.gather(*(tasks.start(one, name="queue") for one in queues))
        finally:
            pool.close()  # every utterance has been given back, so nobody waits for a running inference


class Transcriber:
    """Turns utterances into their transcripts."""

    def __init__(self, bus: Bus, pool: ModelPool, ahead: Ahead) -> None:
        self._bus = bus
        self._pool = pool
        self._ahead = ahead

    async def transcribe(self, utterance: Utterance) -> Transcript:
        """The transcript, with `error` if the options are not supported. Raises what a retry may mend."""
        (made,) = await self._transcribe([utterance], PRIORITIES[utterance.source])
        return made

    async def transcribe_window(self, window: Sequence[Utterance]) -> list[Transcript]:
        """The transcripts of a merged window, if it is not empty; otherwise as `transcribe`."""
        return await self._transcribe(window, PRIORITIES[window[0].source]) if window else []

    async def correct(self, window: Sequence[Utterance], quiet: Callable[[], Awaitable[None]]) -> list[Transcript]:
        """The transcripts of a merged window of a live job as another generation.

        quiet: returns when nobody has spoken for QUIET seconds, for which a CPU waits.
        A model that does not use context would only repeat itself: then these are copies. Raises Retry while the first
        generation is not complete.
        """
        if not window:
            return []
        try:
            async with self._pool.acquire(window[0].options.model) as loaded:
                engine = loaded.scheduler.engine
        except UnsupportedOptions:
            engine = None
        if engine is not None and engine.in_context and len(window) > 1:
            if engine.device == "cpu":
                await quiet()
            made = await self._transcribe(window, Priority.CORRECTION)
        else:
            stored = [await self._stored(utterance, utterance.index) for utterance in window]
            made = [one for one in stored if one is not None]
            if len(made) < len(window):
                raise Retry(_FIRST_GENERATION_AGAIN)
        return [one.model_copy(update={"generation": CORRECTED}) for one in made]

    async def _transcribe(self, window: Sequence[Utterance], priority: Priority) -> list[Transcript]:
        try:
            async with self._pool.acquire(window[0].options.model) as loaded:
                scheduler = loaded.scheduler
                if scheduler.engine.in_context:
                    results = await self._decode(window, scheduler, priority)
                else:
                    each = (self._decode([utterance], scheduler, priority) for utterance in window)
                    results = [result for (result,) in await asyncio.gather(*each)]
                made = [transcript(*one, loaded.model) for one in zip(window, results, strict=True)]
        except UnsupportedOptions as exc:
            log.warning("cannot be transcribed", job=window[0].job, index=window[0].index, reason=str(exc))
            return [self.failed(utterance, str(exc)) for utterance in window]
        except OutOfMemory as exc:
            log.warning("no memory for it now", job=window[0].job, index=window[0].index, reason=str(exc))
            raise Retry(_MEMORY_AGAIN) from None
        log.info(
            "transcribed",
            job=made[0].job,
            index=made[0].index,
            utterances=len(made),
            seconds=round((made[-1].end - made[0].start) / RATE, 2),
            elapsed=round(made[0].elapsed, 3),
        )
        return made

    def failed(self, utterance: Utterance, reason: str) -> Transcript:
        """The transcript that says why there is no text."""
        return failed_transcript(utterance, reason, self._pool.describe(utterance.options.model))

    async def _decode(
        self, window: Sequence[Utterance], scheduler: Scheduler, priority: Priority
    ) -> list[DecodeResult]:
        """Decode utterances together; if their language is unclear, in the one that the job's evidence speaks for."""
        first = window[0]
        options = first.options
        sound = await sound_of(self._bus, window, scheduler.engine)
        seconds = sum(utterance.end - utterance.start for utterance in window) / RATE
        result = None
        if priority is Priority.LIVE:
            result = await self._ahead.take(first.job, first.index, sound, options)
        if result is None:
            result = await scheduler.transcribe(sound.pcm, options, priority, parts=sound.parts)
        if not (
            result.segments
            and result.languages
            and needs_evidence(result.languages, seconds, options.allowed_languages)
        ):
            return _each(result)
        evidence = await self._evidence(first)
        choice = choose_language(result.languages, seconds, options.allowed_languages, evidence)
        if choice.language == result.language:
            return _each(result)
        held = options.model_copy(update={"language": choice.language})
        second = await scheduler.transcribe(sound.pcm, held, priority, parts=sound.parts)
        return [
            replace(
                one,
                language_probability=choice.probability,
                decoding={**one.decoding, "language": None, "held_language": choice.language},
                elapsed=result.elapsed + second.elapsed,
            )
            for one in _each(second)
        ]

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


def _each(result: DecodeResult) -> list[DecodeResult]:
    """The results of utterances that were decoded together."""
    return [replace(one, elapsed=result.elapsed, timing=result.timing) for one in result.parts or (result,)]
