"""Writes summaries: with a language model served by Ollama if that succeeds in time, else from the speakers' words."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated, TypeVar

import structlog
from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.backoff import delays
from contract import JobOptions, Summary, Transcript, language_of, transcript_text
from processors.summary import core, extractive
from processors.summary.engine import Busy, CutOff, Engine, EngineError, Thought, Truncated, Unreachable, check_host
from processors.summary.model import MIN_CONTEXT, MIN_PART, SAMPLE_TOKENS, Model, sample

log = structlog.get_logger()

_FIRST_DELAY, _LONGEST_DELAY = 0.25, 8.0
_SECOND_TEMPERATURE = 0.5
"""At temperature 0 the model would repeat its mistake."""

T = TypeVar("T")


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
    correction_wait: float = Field(
        30.0,
        ge=0,
        description="Seconds that a live job waits for its corrected transcript; without it the live one is used.",
    )
    at_once: int = Field(2, ge=1, description="Requests to the language model at the same time.")
    context: int = Field(
        16_384,
        ge=MIN_CONTEXT,
        description="Tokens of prompt and answer together; the model's own window where that is smaller.",
    )


class Writer:
    """Writes summaries, `at_once` requests at a time; the wait for a free slot counts towards a job's deadline."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.at_once)
        self._thinks = False

    async def write(self, job: str, options: JobOptions, transcripts: Sequence[Transcript]) -> Summary:
        """Summarise a job, by extraction if the model fails or `deadline` is over; `transcripts` in order of index."""
        language = language_of(transcripts)
        text = transcript_text(transcripts)
        if not text:
            return core.nothing_said(job, transcripts, options.title)
        if not options.summary:
            return core.not_wanted(job, language, options.title)
        until = asyncio.get_running_loop().time() + self._settings.deadline
        try:
            answer = await self._summarize(text, language, options.title, until)
        except (EngineError, core.BadAnswer) as exc:
            log.warning("no summary from the language model", job=job, reason=str(exc))
            return await asyncio.to_thread(extractive.summarize, job, transcripts, language, options.title, str(exc))
        return answer.to_summary(job, language, self._engine.model)

    async def _summarize(self, text: str, language: str | None, title: str | None, until: float) -> core.Answer:
        """Summarise with what the model can do; `until`: the deadline, on the clock of the event loop."""
        model = await self._retry(lambda: self._engine.describe(self._settings.context), until)
        if model.context < self._settings.context:
            log.info("context limited to the window of the model", model=self._engine.model, tokens=model.context)
        model = replace(model, thinks=model.thinks or self._thinks)
        limit = _room(model, language, title)
        if limit < MIN_PART:
            raise EngineError(f"the window of model {self._engine.model}, {model.context} tokens, is too small")
        if model.tokens(text) > limit:
            model = await self._measured(model, sample(text, min(SAMPLE_TOKENS, limit)), until)
        try:
            return await self._in_parts(model, text, language, title, until)
        except Thought:
            if model.thinks:
                raise
            log.info("leaving room for the thoughts of the model", model=self._engine.model)
            self._thinks = True
            return await self._in_parts(replace(model, thinks=True), text, language, title, until)

    async def _measured(self, model: Model, lines: str, until: float) -> Model:
        counted = await self._retry(lambda: self._engine.count(lines, model), until) if lines else None
        return model.measured(lines, counted) if counted else model

    async def _in_parts(
        self, model: Model, text: str, language: str | None, title: str | None, until: float
    ) -> core.Answer:
        """Summarise in one request what fits the context; of a longer text, the parts and then their summaries."""
        source, about = _TRANSCRIPT, ""
        limit = _room(model, language, title)
        parts = deque(model.parts(text, limit))
        while True:
            notes: list[core.Answer] = []
            while parts:
                count = len(notes) + len(parts)
                if count > 1:
                    about = _about_part(len(notes) + 1, count, source)
                part = parts.popleft()
                try:
                    notes.append(await self._answer(core.prompt(part, language, title, about), model, until))
                except Truncated as exc:
                    log.info("summarising in smaller parts", reason=str(exc))
                    model = replace(model, context=min(model.context, exc.context))
                    limit = min(_room(model, language, title), model.tokens(part) * 5 // 8)
                    if limit < MIN_PART:
                        raise
                    parts = deque(piece for longer in (part, *parts) for piece in model.parts(longer, limit))
            if len(notes) == 1:
                return notes[0]
            parts, source = deque(model.parts("\n".join(note.to_text() for note in notes), limit)), _NOTES
            about = "These are notes on the parts of the transcript, in order."
            if len(parts) >= len(notes):
                raise core.BadAnswer(f"model {self._engine.model} wrote no less than it read")

    async def _answer(self, messages: list[dict[str, str]], model: Model, until: float) -> core.Answer:
        """One usable answer; after an unusable one the model is asked once more."""
        engine, schema = self._engine, core.schema()
        try:
            return core.parse(await self._retry(lambda: engine.ask(messages, schema, model), until))
        except Thought:
            raise
        except (core.BadAnswer, CutOff) as exc:
            log.info("asking the language model again", reason=str(exc))
        try:
            return core.parse(
                await self._retry(lambda: engine.ask(messages, schema, model, _SECOND_TEMPERATURE), until)
            )
        except core.BadAnswer as exc:
            raise core.BadAnswer(f"the answer of model {engine.model} cannot be used: {exc}") from exc

    async def _retry(self, call: Callable[[], Awaitable[T]], until: float) -> T:
        """Call until there is an answer, with backoff between attempts; raises EngineError at the deadline."""
        settings, clock = self._settings, asyncio.get_running_loop().time
        reason = f"{self._engine.name} was not done within {settings.deadline:g} s"
        retry_in, unreachable_since = delays(_FIRST_DELAY, _LONGEST_DELAY), None
        try:
            async with asyncio.timeout_at(until):
                while True:
                    try:
                        async with self._slots:
                            return await call()
                    except Unreachable:
                        delay, unreachable_since = next(retry_in), unreachable_since or clock()
                        if clock() + delay > unreachable_since + settings.connect_deadline:
                            raise
                    except Busy as exc:
                        delay, unreachable_since = next(retry_in), None
                        reason = f"{exc}, for {settings.deadline:g} s"
                    await asyncio.sleep(delay)
        except TimeoutError:
            raise EngineError(reason) from None


_TRANSCRIPT, _NOTES = "the transcript", "notes on the transcript"


def _room(model: Model, language: str | None, title: str | None) -> int:
    """Tokens of a part of the transcript that fit into one request."""
    return model.room(core.prompt("", language, title, _about_part(100, 100, _NOTES)))


def _about_part(number: int, count: int, source: str) -> str:
    return f"This is part {number} of {count} of {source}."


@asynccontextmanager
async def open_writer(settings: Settings) -> AsyncIterator[Writer]:
    """A writer and its HTTP client. Ollama may be away: each summary finds that out for itself."""
    engine = Engine(settings.ollama_host, settings.model, connect_timeout=settings.connect_deadline)
    try:
        yield Writer(engine, settings)
    finally:
        await engine.close()
