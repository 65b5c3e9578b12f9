"""A language model served by Ollama: what is known of it, and its answers. The only file that speaks to Ollama."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from contract.address import is_local, proxy_for
from processors.summary.model import Model


@contextmanager
def _hidden_variables() -> Iterator[None]:
    """Without what the environment says of proxies, certificates and Ollama."""
    names = [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("SSL", "OLLAMA_HOST"))]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)


with _hidden_variables():  # the package makes a client of its own, which nobody uses, and fails if one of them is wrong
    import ollama

DEFAULT_HOST = "http://127.0.0.1:11434"
_OVERLOADED = {408, 425, 429}
_KEEP_ALL = -1
"""For `num_keep`: of a prompt that is too long, Ollama then keeps a beginning that fills the context, and this shows.
By default it keeps half of that, mostly from the end, which cannot be told from a shorter prompt."""


def check_host(host: str) -> str:
    """Return `host`, or raise ValueError where no client can be made for it."""
    scheme, separator, _ = host.partition("://")
    if separator and scheme not in {"http", "https"}:
        raise ValueError("accepted: host, host:port, http://host:port or https://host:port")
    if "@" in host:
        raise ValueError("must not carry a user name or a password: it is shown in summaries")
    _client(host)
    return host


def _client(host: str, timeout: httpx.Timeout | None = None) -> ollama.AsyncClient:
    """A client that reaches this machine without a proxy; raises ValueError where none can be made."""
    address = host or DEFAULT_HOST
    url = address if "://" in address else f"http://{address}"
    try:
        # An empty context, which trusts nobody, where none is needed: the file of certificates may be missing.
        here = is_local(urlsplit(url).hostname or "") and not url.startswith("https:")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if here else httpx.create_ssl_context()
        return ollama.AsyncClient(host=address, timeout=timeout, trust_env=False, proxy=proxy_for(url), verify=tls)
    except OSError as exc:
        named = ", ".join(name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE") if os.environ.get(name))
        raise ValueError(f"TLS cannot be set up ({named}): {exc.strerror or exc}") from exc
    except (httpx.InvalidURL, ImportError) as exc:  # ImportError: for a SOCKS proxy a package is needed
        raise ValueError(str(exc)) from exc


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


class Thought(CutOff):
    """The same, and what filled it were its thoughts, though it was asked not to think."""


class Truncated(EngineError):
    """Ollama cut the prompt, so that the model has not read all of it. context: the tokens that it seems to have."""

    def __init__(self, text: str, context: int) -> None:
        super().__init__(text)
        self.context = context


class Engine:
    """A model that Ollama serves at `host`, written as in OLLAMA_HOST; empty: Ollama's default.

    connect_timeout: seconds until a silent host counts as unreachable. The answer itself has no time limit here.

    Source: https://github.com/ollama/ollama/blob/main/docs/api.md
    """

    def __init__(self, host: str, name: str, *, connect_timeout: float) -> None:
        self.model = name
        self.name = f"Ollama at {host or DEFAULT_HOST}"
        timeout = httpx.Timeout(None, connect=connect_timeout)
        self._client = _client(host, timeout)

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def describe(self, context: int) -> Model:
        """The model, in a context of at most this many tokens; raises EngineError.

        A server of another make may have no description; its model is then taken to be as the settings say.
        """
        try:
            with self._explained():
                shown = await self._client.show(self.model)
        except (ModelMissing, Unreachable, Busy):
            raise
        except EngineError:
            return Model(context)
        return Model.described(shown.modelinfo or {}, shown.capabilities or [], context)

    async def count(self, text: str, model: Model) -> int | None:
        """The tokens of a text and a chat template around it, as the model counts them; None: it does not say.

        It reads the text and writes one token, in the same context as later, so that it is loaded only once.
        """
        options = {"num_ctx": model.context, "num_predict": 1, "num_keep": _KEEP_ALL, "temperature": 0.0}
        messages = [{"role": "user", "content": text}]
        with self._explained():
            answer = await self._client.chat(self.model, messages, think=model.think, options=options)
        return answer.prompt_eval_count or None

    async def ask(
        self, messages: list[dict[str, str]], schema: Mapping[str, Any], model: Model, temperature: float = 0.0
    ) -> str:
        """The model's answer without its thoughts, bound to a JSON schema; raises EngineError.

        Every request names the context, because Ollama's default is small and it silently truncates a longer prompt.
        The answer is streamed, so that a server that dies half way is noticed at once.
        """
        options = {
            "num_ctx": model.context,
            "num_predict": model.answer,
            "num_keep": _KEEP_ALL,
            "temperature": temperature,
        }
        with self._explained(model.context):
            answer = await self._client.chat(
                self.model, messages, format=dict(schema), think=model.think, options=options, stream=True
            )
            return await self._collect(answer, messages, model)

    async def _collect(self, answer: Any, messages: list[dict[str, str]], model: Model) -> str:
        pieces: list[str] = []
        thinks = False
        async with aclosing(answer):
            async for piece in answer:
                part = cast("ollama.ChatResponse", piece)
                pieces.append(part.message.content or "")
                thinks = thinks or bool(part.message.thinking)
                if part.done:
                    self._check_read(part, messages, model)
                    if part.done_reason == "length":
                        raise (Thought if thinks else CutOff)(f"model {self.model} did not come to an end")
                    return "".join(pieces)
        raise Busy(f"{self.name} broke off: the answer has no end")

    def _check_read(self, end: ollama.ChatResponse, messages: list[dict[str, str]], model: Model) -> None:
        """Raise Truncated if prompt and answer filled the context, or if the model has read too little."""
        read, written = end.prompt_eval_count or 0, end.eval_count or 0
        too_little = 0 < read < model.fewest(messages)
        if too_little or read + written >= model.context:
            text = f"{self.name} read only {read} tokens of a longer prompt with model {self.model}"
            raise Truncated(text, read + 1 if too_little else model.context)

    @contextmanager
    def _explained(self, context: int = 0) -> Iterator[None]:
        try:
            yield
        except ollama.ResponseError as exc:
            raise self._refusal(exc, context) from exc
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            raise Unreachable(f"{self.name} cannot be reached") from exc
        except ConnectionError as exc:  # what the client makes of it where an answer is not streamed
            raise Unreachable(f"{self.name} cannot be reached") from exc
        except httpx.TransportError as exc:
            raise Busy(f"{self.name} broke off: {exc or type(exc).__name__}") from exc
        except (ValueError, TypeError, AttributeError) as exc:  # raised by the client on a line of another protocol
            raise EngineError(f"{self.name} does not answer as Ollama does") from exc

    def _refusal(self, exc: ollama.ResponseError, context: int) -> EngineError:
        status, text = exc.status_code, exc.error.strip()[:200]
        if status == 404 and "model" in text and "not found" in text:
            return ModelMissing(f"model {self.model} is not installed in Ollama: run `ollama pull {self.model}`")
        if status == 400 and "context" in text and ("length" in text or "size" in text):
            text = f"{self.name} refused a prompt that is longer than the context of model {self.model}"
            return Truncated(text, context)
        if status in _OVERLOADED or status >= 500 or status < 0:  # negative: an error inside the stream
            return Busy(f"{self.name} failed: {text}")
        return EngineError(f"{self.name} refused: {text} (status {status})")
