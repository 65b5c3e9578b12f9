"""A small server that speaks Ollama's HTTP API (https://github.com/ollama/ollama/blob/main/docs/api.md).

It "summarises" by filling the JSON schema of the request with lines of its prompt, so that an answer has the shape that
was asked for and the language of what was said. What else may happen is put into `plan`, one entry for each request.
"""

from __future__ import annotations

import asyncio
import json
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

Chat = dict[str, Any]
Behaviour = Callable[["OllamaServer", Chat], Awaitable[Response]]


@dataclass
class OllamaServer:
    """`requests` are the bodies of all chat requests, in order; `busiest` how many were active at the same time."""

    models: set[str] = field(default_factory=lambda: {"gemma3:latest"})
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
        behaviour = self.plan.popleft() if self.plan else fills_the_schema
        return await behaviour(self, body)

    async def tags(self, _request: Request) -> Response:
        """GET /api/tags."""
        models = [{"name": name, "model": name, "size": 1, "digest": "0" * 64} for name in sorted(self.models)]
        return JSONResponse({"models": models})

    async def version(self, _request: Request) -> Response:
        """GET /api/version."""
        return JSONResponse({"version": VERSION})

    def reply(self, body: Chat, content: str, gate: asyncio.Event | None = None, done_reason: str = "stop") -> Response:
        """A model's answer: a stream of lines, each of which waits for `gate`, or one object with `"stream": false`."""
        if not body.get("stream", True):
            return JSONResponse(_part(body, content) | _end(body, content, done_reason))

        async def lines() -> AsyncIterator[bytes]:
            self.active += 1
            self.busiest = max(self.busiest, self.active)
            try:
                for start in range(0, len(content), 24):
                    yield _line(_part(body, content[start : start + 24]))
                    if gate is not None:
                        await gate.wait()
                    await asyncio.sleep(0)
                yield _line(_part(body, "") | _end(body, content, done_reason))
            finally:
                self.active -= 1

        return StreamingResponse(lines(), media_type="application/x-ndjson")


async def fills_the_schema(server: OllamaServer, body: Chat) -> Response:
    """What happens where nothing else is planned."""
    lines = [line for line in body["messages"][-1]["content"].splitlines() if line and not line.startswith("<")]
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


def _part(body: Chat, content: str) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    message = {"role": "assistant", "content": content}
    return {"model": body["model"], "created_at": now, "message": message, "done": False}


def _end(body: Chat, content: str, done_reason: str) -> dict[str, Any]:
    prompt = sum(len(message["content"].encode()) // 4 for message in body["messages"])
    return {
        "done": True,
        "done_reason": done_reason,
        "total_duration": 3_000_000,
        "load_duration": 1_000_000,
        "prompt_eval_count": min(prompt, body.get("options", {}).get("num_ctx", DEFAULT_CONTEXT)),
        "prompt_eval_duration": 1_000_000,
        "eval_count": len(content.encode()) // 4 + 1,
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
