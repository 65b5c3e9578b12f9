"""The edge that one would write first: Starlette, and an awaited JetStream publish for each frame.

`python -m bench.contenders.naive --port 8001 --nats URL`. It speaks as much of our protocol as a client needs that
streams: create, `connection_success`, `ack` twice a second, `stop`, `final_summary` (null). Frames are the same bytes
on the same stream as ours. It publishes nothing but audio, so that no segmenter takes its jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import nats.errors
import structlog
import uvicorn
from nats.js import JetStreamContext
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from bench.program import within
from bench.recording import AckRecorder
from bus.topology import StreamSettings, set_up
from contract import WIDTH
from contract.audio import MAX_SAMPLES, AudioFrame, audio_subject, encode_audio

ACK_EVERY = 0.5


class Refusal(Exception):
    """The client sent what is neither sound nor a command; the text says what is accepted."""


class Capture:
    """One connection. `stored`: samples that the stream has acknowledged."""

    def __init__(self, websocket: WebSocket, job: str, js: JetStreamContext, watermarks: AckRecorder) -> None:
        self.stored = 0
        self._websocket = websocket
        self._job = job
        self._subject = audio_subject(job)
        self._js = js
        self._watermarks = watermarks
        self._acked = 0

    async def run(self) -> None:
        """Serve it to its end."""
        await self._websocket.send_json({"type": "connection_success", "job_id": self._job, "next_sample": 0})
        acking = asyncio.create_task(self._acknowledge_regularly())
        try:
            await self._listen()
            await self._acknowledge()
            await self._websocket.send_json(
                {"type": "final_summary", "job_id": self._job, "summary": None, "transcript": "", "total_segments": 0}
            )
            await self._websocket.close()
        except WebSocketDisconnect:
            pass
        except (Refusal, nats.errors.Error, TimeoutError) as exc:
            await self._websocket.send_json({"type": "error", "code": "failed", "message": str(exc)})
            await self._websocket.close(1008 if isinstance(exc, Refusal) else 1011)
        finally:
            acking.cancel()

    async def _listen(self) -> None:
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            if message.get("bytes") is not None:
                await self._store(message["bytes"])
            elif _stops(message["text"]):
                return

    async def _store(self, pcm: bytes) -> None:
        if len(pcm) % WIDTH or len(pcm) > MAX_SAMPLES * WIDTH:
            raise Refusal(f"{len(pcm)} bytes: whole samples of {WIDTH} bytes are accepted, up to one second")
        await self._js.publish(self._subject, encode_audio(AudioFrame(self.stored, pcm)))
        self.stored += len(pcm) // WIDTH
        if self._watermarks.on:
            self._watermarks.record(self._job, self.stored)

    async def _acknowledge_regularly(self) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):  # gone
            while True:
                await asyncio.sleep(ACK_EVERY)
                await self._acknowledge()

    async def _acknowledge(self) -> None:
        if self.stored > self._acked:
            self._acked = self.stored
            await self._websocket.send_json({"type": "ack", "samples": self.stored})


def _stops(text: str) -> bool:
    try:
        command = json.loads(text)["command"]
    except (ValueError, KeyError, TypeError):
        command = None
    if command not in ("stop", "keepalive"):
        raise Refusal(f"{text!r}: the commands stop and keepalive are accepted")
    return bool(command == "stop")


def application(nats_url: str, record: Path | None) -> Starlette:
    """The server; its lifespan connects to the bus. record: where to write watermarks, if they are wanted."""
    jobs: set[str] = set()
    watermarks = AckRecorder()

    @asynccontextmanager
    async def running(app: Starlette) -> AsyncIterator[None]:
        client = await nats.connect(nats_url)
        app.state.js = client.jetstream()
        await set_up(app.state.js, StreamSettings())
        if record is not None:
            watermarks.begin_at_signal()
        try:
            yield
        finally:
            if record is not None:
                watermarks.write(record)
            await client.close()

    async def create(request: Request) -> JSONResponse:
        job = uuid.uuid4().hex
        jobs.add(job)
        scheme = "wss" if request.url.scheme == "https" else "ws"
        ws_url = f"{scheme}://{request.url.netloc}/api/v1/stream/{job}"
        return JSONResponse({"job_id": job, "ws_url": ws_url}, 201)

    async def ready(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ready"})

    async def capture(websocket: WebSocket) -> None:
        await websocket.accept()
        job: str = websocket.path_params["job"]
        if job not in jobs:
            reply: dict[str, Any] = {"type": "error", "code": "unknown_job", "message": f"no job {job!r}"}
            await websocket.send_json(reply)
            await websocket.close(4004)
            return
        jobs.remove(job)
        await Capture(websocket, job, websocket.app.state.js, watermarks).run()

    return Starlette(
        routes=[
            Route("/readyz", ready),
            Route("/api/v1/stream/create", create, methods=["POST"]),
            WebSocketRoute("/api/v1/stream/{job}", capture),
        ],
        lifespan=running,
    )


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.contenders.naive", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=within(int, 1, 65_535), default=8001, help="(8001)")
    parser.add_argument("--nats", default="nats://127.0.0.1:4222", metavar="URL", help="(nats://127.0.0.1:4222)")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write what is stored, and since when, from SIGUSR1 on"
    )
    args = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    uvicorn.run(application(args.nats, args.record), port=args.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
