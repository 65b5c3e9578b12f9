"""Who writes a summary: the language model if it can in time, else the speakers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import structlog
from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.backoff import delays
from contract import JobOptions, Summary, Transcript, language_of, transcript_text
from processors.summary import core, extractive, meeting
from processors.summary.engine import Busy, CutOff, Engine, EngineError, Unreachable, check_host

log = structlog.get_logger()

_FIRST_DELAY, _LONGEST_DELAY = 0.25, 8.0
_SECOND_TEMPERATURE = 0.5
"""At temperature 0 a model repeats its mistake."""


class Settings(BaseSettings):
    """How summaries are written."""

    model_config = SettingsConfigDict(env_prefix="SUMMARY_", extra="ignore")

    model: str = Field("gemma3", min_length=1, description="Name of the model in Ollama.")
    ollama_host: Annotated[str, AfterValidator(check_host)] = Field(
        "",
        validation_alias=AliasChoices("OLLAMA_HOST", "ollama_host"),
        description="Address of Ollama; none: 127.0.0.1:11434.",
    )
    deadline: float = Field(120.0, gt=0, description="Seconds that a job waits for the language model, all in all.")
    connect_deadline: float = Field(5.0, gt=0, description="Seconds that it waits while nothing answers.")
    at_once: int = Field(2, ge=1, description="Requests to the language model at the same time.")
    context: int = Field(16_384, ge=core.MIN_CONTEXT, description="Tokens of prompt and answer together.")


class Writer:
    """Writes summaries; `at_once` requests share the model, other jobs wait for their turn within their deadline."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._turn = asyncio.Semaphore(settings.at_once)

    async def write(self, job: str, options: JobOptions, transcripts: Sequence[Transcript]) -> Summary:
        """Summarise a job, whoever it takes, soon after `deadline` at the latest; `transcripts` in order of index."""
        language = language_of(transcripts)
        text = transcript_text(transcripts)
        if not text:
            return meeting.empty(job, transcripts, options.title)
        if not options.summary:
            return meeting.unasked(job, language, options.title)
        until = asyncio.get_running_loop().time() + self._settings.deadline
        try:
            answer = await self._summarize(text, language, options.title, until)
        except (EngineError, core.BadAnswer) as exc:
            log.warning("no summary from the language model", job=job, reason=str(exc))
            return await asyncio.to_thread(extractive.summarize, job, transcripts, language, options.title, str(exc))
        return answer.to_summary(job, language, self._engine.model)

    async def _summarize(self, text: str, language: str | None, title: str | None, until: float) -> core.Answer:
        """Summarise in one go what fits the context; of more, summarise the parts and then their summaries."""
        limit = core.room(self._settings.context)
        parts, source = core.parts(text, limit), "the transcript"
        while (count := len(parts)) > 1:
            notes = []
            for number, part in enumerate(parts, 1):
                about = f"This is part {number} of {count} of {source}."
                notes.append(await self._answer(core.prompt(part, language, title, about), until))
            parts, source = core.parts("\n".join(note.to_text() for note in notes), limit), "notes on the transcript"
            if len(parts) >= count:
                raise core.BadAnswer(f"model {self._engine.model} wrote no less than it read")
        about = "" if source == "the transcript" else "These are notes on the parts of the transcript, in order."
        return await self._answer(core.prompt(parts[0], language, title, about), until)

    async def _answer(self, messages: list[dict[str, str]], until: float) -> core.Answer:
        """One usable answer; a model that gives a useless one is asked once more."""
        try:
            return core.parse(await self._persist(messages, 0.0, until))
        except (core.BadAnswer, CutOff) as exc:
            log.info("asking the language model again", reason=str(exc))
        try:
            return core.parse(await self._persist(messages, _SECOND_TEMPERATURE, until))
        except core.BadAnswer as exc:
            raise core.BadAnswer(f"the answer of model {self._engine.model} cannot be used: {exc}") from exc

    async def _persist(self, messages: list[dict[str, str]], temperature: float, until: float) -> str:
        """Ask until there is an answer, with backoff between attempts; raises EngineError when the time is up."""
        settings, clock = self._settings, asyncio.get_running_loop().time
        trouble = f"{self._engine.name} was not done within {settings.deadline:g} s"
        retry_in, away_since = delays(_FIRST_DELAY, _LONGEST_DELAY), None
        try:
            async with asyncio.timeout_at(until):
                while True:
                    try:
                        async with self._turn:
                            return await self._engine.ask(messages, core.schema(), temperature)
                    except Unreachable:
                        delay, away_since = next(retry_in), away_since or clock()
                        if clock() + delay > away_since + settings.connect_deadline:
                            raise
                    except Busy as exc:
                        delay, away_since = next(retry_in), None
                        trouble = f"{exc}, for {settings.deadline:g} s"
                    await asyncio.sleep(delay)
        except TimeoutError:
            raise EngineError(trouble) from None


@asynccontextmanager
async def open_writer(settings: Settings) -> AsyncIterator[Writer]:
    """A writer with its connection to Ollama. Ollama may be away: that is found out with each summary."""
    engine = Engine(
        settings.ollama_host,
        settings.model,
        context=settings.context,
        answer=core.answer_room(settings.context),
        connect_timeout=settings.connect_deadline,
    )
    try:
        yield Writer(engine, settings)
    finally:
        await engine.close()
