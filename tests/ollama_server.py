"""A small server that speaks Ollama's HTTP API (https://github.com/ollama/ollama/blob/main/docs/api.md).

It "summarises" by filling the JSON schema of the request with lines of its prompt, so that an answer has the shape that
was asked for and the language of what was said. What else may happen is put into `plan`, one entry for each request.

As Ollama does, it cuts a prompt that is longer than the context, and says so only by its `prompt_eval_count`. As its
models do, it thinks unless it is told not to, or whatever it is told. (server/routes.go, llm/llama_server.go)
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support import wait_until

VERSION = "0.12.3"
DEFAULT_CONTEXT = 4_096

THOUGHT = 'Hmm, they may want this: {"title": "Draft", "summary": "A thought."} ' * 40

Chat = dict[str, Any]
Behaviour = Callable[["OllamaServer", Chat], Awaitable[Response]]


@dataclass
class OllamaServer:
    """`requests` are the bodies of all chat requests, in order; `busiest` how many were active at the same time.

    `prompts` are the prompts that the model has read. `window`: the tokens for which it was trained; `context`: those
    that the server has room for. `bytes_a_token`: how many bytes of text that is not ASCII make a token. `obeys`: it
    does not think if it is told not to.
    """

    models: set[str] = field(default_factory=lambda: {"gemma3:latest"})
    family: str = "gemma3"
    capabilities: list[str] = field(default_factory=lambda: ["completion", "vision"])
    window: int = 131_072
    context: int = 131_072
    bytes_a_token: int = 3
    obeys: bool = True
    describes: bool = True
    prompts: list[str] = field(default_factory=list)
    plan: deque[Behaviour] = field(default_factory=deque)
    requests: list[Chat] = field(default_factory=list)
    url: str = ""
    busiest: int = 0
    active: int = 0

    async def chat(self, request: Request) -> Response:
        """POST /api/chat."""
        body = await request.json()
        model = body.get("model", "")
        if not model:
            return error(400, "model is required")
        if not isinstance(body.get("format", "json"), dict) and body.get("format", "json") != "json":
            return error(400, 'invalid format: expected "json" or a JSON schema')
        self.requests.append(body)
        if (model if ":" in model else f"{model}:latest") not in self.models:
            return error(404, f"model '{model}' not found")
        if body.get("think") and "thinking" not in self.capabilities:
            return error(400, f'"{model}" does not support thinking')
        self.prompts.append(_text(self.read(body)))
        behaviour = self.plan.popleft() if self.plan else fills_the_schema
        return await behaviour(self, body)

    def read(self, body: Chat) -> list[bytes]:
        """The tokens of the prompt that the model reads. A prompt that does not fit loses its middle.

        What `num_keep` names stays, and then as much of the end as leaves half of the rest of the context free.
        """
        prompt = "".join(f"<|{message['role']}|>\n{message['content']}\n" for message in body["messages"])
        tokens, context = tokenize(prompt, self.bytes_a_token), self._context(body)
        if len(tokens) <= context - 1:
            return tokens
        keep = body.get("options", {}).get("num_keep", 4)
        keep = min(len(tokens) if keep < 0 else keep, context - 1)
        limit = context - max((context - keep) // 2, 1)
        return tokens[:keep] + tokens[len(tokens) - (limit - keep) :] if limit > keep else tokens[:keep]

    def _context(self, body: Chat) -> int:
        return min(int(body.get("options", {}).get("num_ctx", DEFAULT_CONTEXT)), self.window, self.context)

    async def show(self, request: Request) -> Response:
        """POST /api/show."""
        if not self.describes:
            return error(404, "page not found")
        model = (await request.json()).get("model", "")
        if (model if ":" in model else f"{model}:latest") not in self.models:
            return error(404, f"model '{model}' not found")
        info = {"general.architecture": self.family, f"{self.family}.context_length": self.window}
        details = {"format": "gguf", "family": self.family, "families": [self.family]}
        return JSONResponse({"details": details, "model_info": info, "capabilities": self.capabilities})

    async def tags(self, _request: Request) -> Response:
        """GET /api/tags."""
        models = [{"name": name, "model": name, "size": 1, "digest": "0" * 64} for name in sorted(self.models)]
        return JSONResponse({"models": models})

    async def version(self, _request: Request) -> Response:
        """GET /api/version."""
        return JSONResponse({"version": VERSION})

    def reply(self, body: Chat, content: str, gate: asyncio.Event | None = None, done_reason: str = "stop") -> Response:
        """A model's answer: a stream of lines, each of which waits for `gate`, or one object with `"stream": false`."""
        thinks = "thinking" in self.capabilities and not (self.obeys and body.get("think") is False)
        room = body.get("options", {}).get("num_predict", -1)
        thought, room = _cut(THOUGHT if thinks else "", room, self.bytes_a_token)
        answer, room = _cut(content, room, self.bytes_a_token)
        if answer != content:
            done_reason = "length"
        end = _end(len(self.read(body)), len(tokenize(thought + answer, self.bytes_a_token)), done_reason)
        if not body.get("stream", True):
            return JSONResponse(_part(body, answer, thought) | end)

        async def lines() -> AsyncIterator[bytes]:
            self.active += 1
            self.busiest = max(self.busiest, self.active)
            try:
                if thought:
                    yield _line(_part(body, "", thought))
                for start in range(0, len(answer), 24):
                    yield _line(_part(body, answer[start : start + 24]))
                    if gate is not None:
                        await gate.wait()
                    await asyncio.sleep(0)
                yield _line(_part(body, "") | end)
            finally:
                self.active -= 1

        return StreamingResponse(lines(), media_type="application/x-ndjson")


def tokenize(text: str, bytes_a_token: int) -> list[bytes]:
    """Tokens of six letters and a space, or of this many bytes that are not ASCII; others are tokens of their own."""
    pattern = rb" ?[A-Za-z]{1,6}|[\x80-\xff]{1,%d}|." % bytes_a_token
    return re.findall(pattern, text.encode(), re.DOTALL)


def _text(tokens: list[bytes]) -> str:
    return b"".join(tokens).decode(errors="ignore")


def _cut(text: str, room: int, bytes_a_token: int) -> tuple[str, int]:
    """What a model says of this before it has written `room` tokens, and the room that is left; below 0: no limit."""
    tokens = tokenize(text, bytes_a_token)
    return (text, room) if room < 0 else (_text(tokens[:room]), max(0, room - len(tokens)))


async def fills_the_schema(server: OllamaServer, body: Chat) -> Response:
    """What happens where nothing else is planned."""
    lines = [line for line in _text(server.read(body)).partition("<|user|>")[2].splitlines() if line and line[0] != "<"]
    lines = lines or ["I have not been told what to do."]
    wanted = body.get("format")
    content = (
        json.dumps(_instance(wanted, wanted, lines), ensure_ascii=False) if isinstance(wanted, dict) else lines[-1]
    )
    return server.reply(body, content)


def says(content: str, done_reason: str = "stop") -> Behaviour:
    """The model answers in these words."""

    async def behave(server: OllamaServer, body: Chat) -> Response:
        return server.reply(body, content, done_reason=done_reason)

    return behave


def waits_for(gate: asyncio.Event, content: str = '{"title": "t", "summary": "s"}') -> Behaviour:
    """The model begins its answer, and goes on when `gate` is set."""

    async def behave(server: OllamaServer, body: Chat) -> Response:
        return server.reply(body, content, gate)

    return behave


def fails(status: int = 500, message: str = "llama runner process has terminated") -> Behaviour:
    """The request is answered with an error."""

    async def behave(_server: OllamaServer, _body: Chat) -> Response:
        return error(status, message)

    return behave


def streams(*lines: bytes, dies: bool = False) -> Behaviour:
    """These lines are sent as they are; then the connection breaks, or the answer simply ends."""

    async def behave(_server: OllamaServer, _body: Chat) -> Response:
        async def body() -> AsyncIterator[bytes]:
            for line in lines:
                yield line + b"\n"
            if dies:
                raise ConnectionResetError

        return StreamingResponse(body(), media_type="application/x-ndjson")

    return behave


def error(status: int, message: str) -> Response:
    """As Ollama words it."""
    return JSONResponse({"error": message}, status_code=status)


@asynccontextmanager
async def serving(server: OllamaServer, port: int = 0) -> AsyncIterator[OllamaServer]:
    """Run on 127.0.0.1; `url` is set when it answers."""
    routes = [
        Route("/api/chat", server.chat, methods=["POST"]),
        Route("/api/show", server.show, methods=["POST"]),
        Route("/api/tags", server.tags),
        Route("/api/version", server.version),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), port=port, log_config=None, ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    runner = uvicorn.Server(config)
    task = asyncio.create_task(runner.serve())
    try:
        await wait_until(lambda: runner.started or task.done(), description="the Ollama server is up")
        server.url = f"http://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}"
        yield server
    finally:
        runner.should_exit = True
        await task


def _part(body: Chat, content: str, thinking: str = "") -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    message = {"role": "assistant", "content": content} | ({"thinking": thinking} if thinking else {})
    return {"model": body["model"], "created_at": now, "message": message, "done": False}


def _end(read: int, written: int, done_reason: str) -> dict[str, Any]:
    return {
        "done": True,
        "done_reason": done_reason,
        "total_duration": 3_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": read,
        "prompt_eval_duration": 1_000_000,
        "eval_count": written,
        "eval_duration": 1_000_000,
    }


def _line(part: dict[str, Any]) -> bytes:
    return json.dumps(part, ensure_ascii=False).encode() + b"\n"


def _instance(schema: dict[str, Any], root: dict[str, Any], lines: list[str]) -> Any:
    """A value that the schema allows, made of these lines."""
    if "$ref" in schema:
        return _instance(root["$defs"][schema["$ref"].rpartition("/")[2]], root, lines)
    if "anyOf" in schema:
        return _instance(schema["anyOf"][0], root, lines)
    match schema["type"]:
        case "object":
            return {name: _instance(schema["properties"][name], root, lines) for name in schema["required"]}
        case "array":
            return [_instance(schema["items"], root, lines)]
        case "string":
            return max(lines, key=len)
        case other:
            raise NotImplementedError(f"schema of type {other}")
