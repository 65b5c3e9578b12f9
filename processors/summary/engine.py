"""One request to Ollama, as https://github.com/ollama/ollama/blob/main/docs/api.md has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

import httpx
import ollama

DEFAULT_HOST = "http://127.0.0.1:11434"
_OVERLOADED = {408, 425, 429}


class EngineError(Exception):
    """There is no answer, and trying again will not help; the text says why in one sentence."""


class ModelMissing(EngineError):
    """Ollama does not have the model."""


class Unreachable(EngineError):
    """Nothing answers at OLLAMA_HOST. Perhaps it is starting."""


class Busy(EngineError):
    """Ollama answered, but not with all of an answer: overloaded, stopped, or failing. Another time it may work."""


class CutOff(EngineError):
    """The model wrote until its room was full."""


class Engine:
    """A model served by Ollama at `host`, written as in OLLAMA_HOST; empty: Ollama's default.

    context: tokens of prompt and answer together. It is always asked for: Ollama's default is small, and a
    longer prompt is shortened without a word. answer: tokens of the answer at most.
    connect_timeout: seconds until a host that is silent counts as unreachable. For the answer there is no limit here.
    """

    def __init__(self, host: str, model: str, *, context: int, answer: int, connect_timeout: float) -> None:
        self.model = model
        self.name = f"Ollama at {host or DEFAULT_HOST}"
        timeout = httpx.Timeout(None, connect=connect_timeout)
        self._client = ollama.AsyncClient(host=host or DEFAULT_HOST, timeout=timeout)
        self._options = {"num_ctx": context, "num_predict": answer}

    async def close(self) -> None:
        """Drop idle connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def ask(
        self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any], temperature: float = 0.0
    ) -> str:
        """The model's words, held to a JSON schema; raises EngineError.

        Streamed, so that a server that dies half way is noticed at once.
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
        except (ValueError, TypeError, AttributeError) as exc:  # what the client raises on a line of another protocol
            raise EngineError(f"what answers is not Ollama: {self.name} sent something else than its API says") from exc

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
        if status in _OVERLOADED or status >= 500 or status < 0:  # below 0: an error inside the stream
            return Busy(f"{self.name} failed: {text}")
        return EngineError(f"{self.name} refused: {text} (status {status})")


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
