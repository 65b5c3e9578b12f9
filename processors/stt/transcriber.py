"""One utterance to its transcript."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import structlog

from bus import Bus
from contract import RATE, ContractError, Source, Transcript, Utterance
from processors.stt.batcher import Rank
from processors.stt.core import Heard, Model, Unfit, failed_transcript, transcript
from processors.stt.language import MEMORY, Earlier, choose, earlier, needs_evidence
from processors.stt.scheduler import Scheduler

log = structlog.get_logger()

_EVIDENCE_WITHIN = 2.0
"""Seconds that an utterance in doubt waits for the transcripts of those before it."""

_LOOK_EVERY = 0.2

RANKS: dict[Source, Rank] = {"live": Rank.LIVE, "upload": Rank.UPLOAD, "replay": Rank.REPLAY}


class Transcriber:
    """Makes transcripts; what it needs beside the sound it reads from the bus."""

    def __init__(self, bus: Bus, model: Model, scheduler: Scheduler) -> None:
        self._bus = bus
        self._model = model
        self._scheduler = scheduler

    async def transcribe(self, utterance: Utterance) -> Transcript:
        """The transcript; one with `error` for what no attempt can transcribe. Raises what another attempt may mend."""
        rank, options = RANKS[utterance.source], utterance.options
        seconds = (utterance.end - utterance.start) / RATE
        try:
            heard = await self._scheduler.transcribe(utterance.pcm, options, rank)
            if (
                heard.segments
                and heard.languages
                and needs_evidence(heard.languages, seconds, options.allowed_languages)
            ):
                heard = await self._in_doubt(utterance, heard, seconds)
        except Unfit as exc:
            log.warning("cannot be transcribed", job=utterance.job, index=utterance.index, reason=str(exc))
            return failed_transcript(utterance, str(exc), self._model)
        made = transcript(utterance, heard, self._model)
        log.info(
            "transcribed",
            job=made.job,
            index=made.index,
            seconds=round((made.end - made.start) / RATE, 2),
            elapsed=round(made.elapsed, 3),
        )
        return made

    async def _in_doubt(self, utterance: Utterance, heard: Heard, seconds: float) -> Heard:
        """What was heard in the language that the job's earlier utterances speak for."""
        options = utterance.options
        choice = choose(heard.languages, seconds, options.allowed_languages, await self._earlier(utterance))
        if choice.language == heard.language:
            return heard
        held = options.model_copy(update={"language": choice.language})
        again = await self._scheduler.transcribe(utterance.pcm, held, RANKS[utterance.source])
        decoding = {**again.decoding, "language": None, "held_language": choice.language}
        return replace(
            again, language_probability=choice.probability, decoding=decoding, elapsed=heard.elapsed + again.elapsed
        )

    async def _earlier(self, utterance: Utterance) -> list[Earlier]:
        """What the job's utterances before this one say; waits a little where some are still being transcribed."""
        before = range(max(0, utterance.index - MEMORY), utterance.index)
        until = asyncio.get_running_loop().time() + _EVIDENCE_WITHIN
        found: dict[int, Earlier | None] = {}
        while True:
            for index in before:
                if index not in found and (made := await self._made(utterance, index)):
                    found[index] = None if made.error else earlier(made)
            if len(found) == len(before) or asyncio.get_running_loop().time() >= until:
                return [one for _, one in sorted(found.items()) if one]
            await asyncio.sleep(_LOOK_EVERY)

    async def _made(self, utterance: Utterance, index: int) -> Transcript | None:
        subject = Transcript.pattern(utterance.job, generation=str(utterance.generation), index=str(index))
        try:
            stored = await self._bus.last(Transcript, subject)
        except ContractError:  # somebody's garbage
            return None
        return stored.value if stored else None
