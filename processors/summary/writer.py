"""Writes summaries: with a language model served by Ollama if that succeeds in time, else from the speakers' words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Annotated, Any, cast

import httpx
import ollama
import structlog
from pydantic import AfterValidator, AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from bus.backoff import delays
from contract import JobOptions, Summary, Transcript, language_of, transcript_text
from processors.summary import core, extractive

log = structlog.get_logger()

DEFAULT_HOST = "http://127.0.0.1:11434"
_OVERLOADED = {408, 425, 429}
_FIRST_DELAY, _LONGEST_DELAY = 0.25, 8.0
_SECOND_TEMPERATURE = 0.5
"""At temperature 0 the model would repeat its mistake."""


def check_host(host: str) -> str:
    """Return `host`, or raise ValueError where no client can be made for it."""
    scheme, separator, _ = host.partition("://")
    if separator and scheme not in {"http", "https"}:
        raise ValueError("accepted: host, host:port, http://host:port or https://host:port")
    if "@" in host:
        raise ValueError("must not carry a user name or a password: it is shown in summaries")
    try:
        ollama.AsyncClient(host=host or DEFAULT_HOST)
    except httpx.InvalidURL as exc:
        raise ValueError(str(exc)) from exc
    return host


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
    context: int = Field(16_384, ge=core.MIN_CONTEXT, description="Tokens of prompt and answer together.")


class EngineError(Exception):
    """There is no answer; the text says why in one sentence. Only Unreachable and Busy are worth another attempt."""


class ModelMissing(EngineError):
    """Ollama does not have the model."""


class Unreachable(EngineError):
    """Nothing answers at OLLAMA_HOST; it may be starting."""


class Busy(EngineError):
    """Ollama gave no complete answer: it is overloaded, was stopped, or failed. Another attempt may succeed."""


class CutOff(EngineError):
    """The model filled its answer's limit without coming to an end."""


class Engine:
    """A model that Ollama serves at `host`, written as in OLLAMA_HOST; empty: Ollama's default.

    context: tokens of prompt and answer together. Every request names it, because Ollama's default is small and it
    silently truncates a longer prompt. answer: tokens of the answer at most.
    connect_timeout: seconds until a silent host counts as unreachable. The answer itself has no time limit here.
    """

    def __init__(self, host: str, model: str, *, context: int, answer: int, connect_timeout: float) -> None:
        self.model = model
        self.name = f"Ollama at {host or DEFAULT_HOST}"
        timeout = httpx.Timeout(None, connect=connect_timeout)
        self._client = ollama.AsyncClient(host=host or DEFAULT_HOST, timeout=timeout)
        self._options = {"num_ctx": context, "num_predict": answer}

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def ask(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float = 0.0
    ) -> str:
        """The model's answer, bound to a JSON schema; raises EngineError.

        The answer is streamed, so that a server that dies half way is noticed at once.

        Source: https://github.com/ollama/ollama/blob/main/docs/api.md
        """
        options = {**self._options, "temperature": temperature}
        answer = await self._client.chat(self.model, messages, format=dict(schema), options=options, stream=True)
        try:
            return await self._collect(answer)
        except ollama.ResponseError as exc:
            raise self._refusal(exc) from exc
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise Unreachable(f"{self.name} cannot be reached") from exc
        except httpx.TransportError as exc:
            raise Busy(f"{self.name} broke off: {exc or type(exc).__name__}") from exc
        except (ValueError, TypeError, AttributeError) as exc:  # raised by the client on a line of another protocol
            raise EngineError(f"{self.name} does not answer as Ollama does") from exc

    async def _collect(self, answer: Any) -> str:
        pieces: list[str] = []
        async with aclosing(answer):
            async for piece in answer:
                part = cast("ollama.ChatResponse", piece)
                pieces.append(part.message.content or "")
                if part.done:
                    if part.done_reason == "length":
                        raise CutOff(f"model {self.model} did not come to an end")
                    return "".join(pieces)
        raise Busy(f"{self.name} broke off: the answer has no end")

    def _refusal(self, exc: ollama.ResponseError) -> EngineError:
        status, text = exc.status_code, exc.error.strip()[:200]
        if status == 404 and "model" in text and "not found" in text:
            return ModelMissing(f"model {self.model} is not installed in Ollama: run `ollama pull {self.model}`")
        if status in _OVERLOADED or status >= 500 or status < 0:  # negative: an error inside the stream
            return Busy(f"{self.name} failed: {text}")
        return EngineError(f"{self.name} refused: {text} (status {status})")


class Writer:
    """Writes summaries, `at_once` requests at a time; the wait for a free slot counts towards a job's deadline."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.at_once)

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
        """Summarise in one request what fits the context; of a longer text, the parts and then their summaries."""
        limit = core.transcript_tokens(self._settings.context)
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
        """One usable answer; after an unusable one the model is asked once more."""
        try:
            return core.parse(await self._ask(messages, 0.0, until))
        except (core.BadAnswer, CutOff) as exc:
            log.info("asking the language model again", reason=str(exc))
        try:
            return core.parse(await self._ask(messages, _SECOND_TEMPERATURE, until))
        except core.BadAnswer as exc:
            raise core.BadAnswer(f"the answer of model {self._engine.model} cannot be used: {exc}") from exc

    async def _ask(self, messages: list[dict[str, str]], temperature: float, until: float) -> str:
        """Ask until there is an answer, with backoff between attempts; raises EngineError at the deadline."""
        settings, clock = self._settings, asyncio.get_running_loop().time
        reason = f"{self._engine.name} was not done within {settings.deadline:g} s"
        retry_in, unreachable_since = delays(_FIRST_DELAY, _LONGEST_DELAY), None
        try:
            async with asyncio.timeout_at(until):
                while True:
                    try:
                        async with self._slots:
                            return await self._engine.ask(messages, core.schema(), temperature)
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


@asynccontextmanager
async def open_writer(settings: Settings) -> AsyncIterator[Writer]:
    """A writer and its HTTP client. Ollama may be away: each summary finds that out for itself."""
    engine = Engine(
        settings.ollama_host,
        settings.model,
        context=settings.context,
        answer=core.answer_tokens(settings.context),
        connect_timeout=settings.connect_deadline,
    )
    try:
        yield Writer(engine, settings)
    finally:
        await engine.close()
