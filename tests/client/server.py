"""A small server that follows a script, to do on demand what a real server rarely does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from client.reading import Json
from contract import JobOptions
from contract.socket import SocketSegment
from contract.view import JobView, ProgressView, SegmentView

ACK_EVERY = 320_000
"""Bytes: ten seconds of sound."""

SUMMARY: Json = {
    "title": "Stand-up",
    "summary": "The release is on Friday.",
    "key_points": ["Tests are green"],
    "decisions": ["Ship on Friday"],
    "action_items": [
        {"who": "Anna", "what": "write the notes", "due": "Thursday"},
        {"what": "tag", "who": None, "due": None},
    ],
    "language": None,
    "engine": "extractive",
    "model": None,
    "reason": "Ollama is not reachable",
}


def segment(index: int, text: str, start: float | None = None, error: str | None = None) -> Json:
    at = index * 2.0 if start is None else start
    message = SocketSegment(
        index=index,
        segment_number=index + 1,
        start=at,
        end=at + 1.5,
        text=text,
        language="en",
        confidence=0.9,
        words=[],
        error=error,
    )
    return message.model_dump()


def record(state: str, segments: list[Json], seconds: float | None = None) -> Json:
    """What `GET /api/v1/jobs/j1` answers."""
    made = JobView.model_validate(
        {
            "job_id": "j1",
            "state": state,
            "created_at": "2025-03-04T12:30:00+00:00",
            "updated_at": "2025-03-04T12:30:00+00:00",
            "completed_at": None,
            "title": None,
            "source": "live",
            "options": JobOptions(),
            "duration": seconds,
            "segments": [SegmentView.model_validate(each) for each in segments],
            "transcript": "\n".join(each["text"] for each in segments),
            "summary": SUMMARY if state == "completed" else None,
            "progress": ProgressView(transcribed=len(segments), failed=0, segments=None),
            "generations": None,
            "extra": None,
        }
    )
    return made.model_dump(mode="json")


FINAL: Json = {
    "type": "final_summary",
    "job_id": "j1",
    "summary": SUMMARY,
    "transcript": "all of it",
    "total_segments": 3,
}


class ScriptedServer:
    """A server, how it answers, and what it was sent."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.script: Callable[[ScriptedServer], Awaitable[None]] = meeting
        self.refusal: Response | None = None
        self.answering = asyncio.Event()
        """Cleared, a request to create a job gets no answer until it is set."""
        self.answering.set()
        self.job_refusals: list[Response] = []
        """What the first requests for a job are answered."""
        self.jobs: dict[str, Json] = {}
        self.created: list[Json] = []
        self.frames: list[bytes] = []
        self.acked = 0
        """Bytes of sound that the client was told are stored."""
        self.commands: list[str] = []
        self.samples: list[str] = []
        """What each connection said of the first sample that the client still had."""
        self.close_code: int | None = None
        """With which code the client left, if it did."""
        self.websocket: WebSocket
        self.abort: Callable[[], None]

    async def say(self, **message: Any) -> None:
        await self.websocket.send_text(json.dumps(message))

    @property
    def connections(self) -> int:
        """How many there were, with this one."""
        return len(self.samples)

    async def hello(self, next_sample: int = 0) -> None:
        """Welcome the client, with so much of its sound stored."""
        self.acked = 2 * next_sample
        await self.websocket.accept()
        self.frames = [self.sound[: 2 * next_sample]] if next_sample else []
        await self.say(type="connection_success", job_id="j1", next_sample=next_sample)

    async def refuse(self, close: int, **error: Any) -> None:
        """Accept the connection only to say why not."""
        await self.websocket.accept()
        await self.say(type="error", **error)
        await self.websocket.close(close)

    async def ack(self) -> None:
        self.acked = len(self.sound)
        await self.say(type="ack", samples=self.acked // 2)

    async def receive(self) -> str | None:
        """One message of the client: its command, or None for a frame of sound."""
        received = await self.websocket.receive()
        if received["type"] == "websocket.disconnect":
            self.close_code = received["code"]
            return "disconnect"
        if received.get("bytes") is not None:
            self.frames.append(received["bytes"])
            return None
        self.commands.append(json.loads(received["text"])["command"])
        return self.commands[-1]

    async def listen(self, command: str = "stop") -> None:
        """Take sound until the client says `command`, or is gone; ack it now and then."""
        acked = len(self.sound)
        while await self.receive() not in (command, "disconnect"):
            if len(self.sound) >= acked + ACK_EVERY:
                acked = len(self.sound)
                await self.ack()

    async def take(self, seconds: float) -> None:
        """Take sound until there is so much of it in all."""
        while len(self.sound) < seconds * 32_000:
            assert await self.receive() in (None, "keepalive")

    async def finish(self) -> None:
        if len(self.sound) > self.acked:
            await self.ack()
        await self.say(**FINAL)
        await self.websocket.close(1000)

    @property
    def sound(self) -> bytes:
        return b"".join(self.frames)


async def meeting(server: ScriptedServer) -> None:
    """Everything as it should be, segments 1 and 2 before 0, and one without text."""
    await server.hello()
    await server.listen()
    await server.ack()
    await server.say(type="status", state="transcribing", lag=1.5)
    await server.say(**segment(1, ""))
    await server.say(**segment(2, "다음 회의는 금요일입니다."))
    await server.say(**segment(0, "Good morning."))
    await server.finish()


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """Serve on a free port; small socket buffers, so that back-pressure shows soon."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    server = ScriptedServer(f"http://127.0.0.1:{listener.getsockname()[1]}")

    async def create(request: Request) -> Response:
        if server.refusal is not None:
            return server.refusal
        server.created.append(await request.json())
        await server.answering.wait()
        ws_url = server.url.replace("http", "ws") + "/api/v1/stream/j1"
        return JSONResponse({"job_id": "j1", "ws_url": ws_url}, status_code=201)

    async def job(request: Request) -> Response:
        if server.job_refusals:
            return server.job_refusals.pop(0)
        record = server.jobs.get(request.path_params["id"])
        if record is None:
            problem = {"title": "Not Found", "status": 404, "detail": f"no job {request.path_params['id']}"}
            return JSONResponse(problem, status_code=404, media_type="application/problem+json")
        return JSONResponse(record)

    async def capture(websocket: WebSocket) -> None:
        server.websocket = websocket
        server.samples.append(websocket.query_params["sample"])
        await server.script(server)

    routes = [
        Route("/api/v1/stream/create", create, methods=["POST"]),
        Route("/api/v1/jobs/{id}", job),
        WebSocketRoute("/api/v1/stream/{id}", capture),
    ]
    routes = [*routes, Mount("/steno", routes=routes)]
    config = uvicorn.Config(Starlette(routes=routes), ws="websockets-sansio", lifespan="off", log_level="critical")
    running = uvicorn.Server(config)

    def abort() -> None:
        for protocol in list(running.server_state.connections):
            protocol.transport.abort()

    server.abort = abort
    task = asyncio.create_task(running.serve(sockets=[listener]))
    try:
        yield server
    finally:
        server.answering.set()
        running.should_exit = running.force_exit = True
        await task
        listener.close()
