"""A live transcription server without a bus: FastAPI, voice activity detection in the handler, Whisper in threads.

`python -m bench.contenders.inprocess --port 8001 --model models/whisper-micro`. It speaks as much of our protocol as a
client needs that streams, and has the same segmenter, model, beam and compute type. What it does not have is what the
bus is for: sound is in memory alone, a job is gone with its connection, and nobody else can hear it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from faster_whisper import WhisperModel
from pydantic import BaseModel, field_validator

from audio import to_float32
from bench.program import within
from bus import StartError
from contract import LANGUAGES, WIDTH, Transcript
from contract.socket import SocketSegment
from processors.stt.whisper.models import cores, find_model
from processors.vad.core import Parameters, Segment, Segmenter
from processors.vad.settings import webrtc_detector
from tools.system import MODEL

ACK_EVERY = 0.5
COMMANDS = ("stop", "keepalive")
AGGRESSIVENESS = 2
"""As the segmenter's own default."""

Reply = dict[str, Any]


class CreateJob(BaseModel):
    """The body of a create request; unknown fields are ignored."""

    language: str | None = None

    @field_validator("language")
    @classmethod
    def _known(cls, code: str | None) -> str | None:
        if code is not None and code not in LANGUAGES:
            raise ValueError(
                f"unknown language {code!r}; accepted are null (detect) and {', '.join(sorted(LANGUAGES))}"
            )
        return code


class Transcriber:
    """One model for all connections, and as many threads that use it as there are cores."""

    def __init__(self, folder: Path) -> None:
        # Each thread has a replica of its own and one core: with small models that gives more than shared cores do.
        self._model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1, num_workers=cores())
        self._threads = ThreadPoolExecutor(cores(), thread_name_prefix="inference")

    async def transcribe(self, pcm: bytes, language: str | None) -> str:
        """The text of a segment; who is cancelled while this waits for a thread takes none."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transcribe, pcm, language)

    def _transcribe(self, pcm: bytes, language: str | None) -> str:
        segments, _ = self._model.transcribe(
            to_float32(pcm),
            language=language,
            beam_size=1,
            word_timestamps=True,
            vad_filter=False,
            condition_on_previous_text=False,
        )
        return "".join(segment.text for segment in segments).strip()  # they are made while they are asked for

    def close(self) -> None:
        """Give up what waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class Meeting:
    """One connection."""

    def __init__(self, websocket: WebSocket, job: str, options: CreateJob, transcriber: Transcriber) -> None:
        self._websocket = websocket
        self._job = job
        self._language = options.language
        self._transcriber = transcriber
        self._segmenter = Segmenter(partial(webrtc_detector, AGGRESSIVENESS), Parameters())
        self._texts: dict[int, str] = {}
        self._segments = 0
        self._acked = 0

    async def run(self) -> None:
        """Serve it to its end. What a client that has gone still waited for is given up."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._send(type="connection_success", job_id=self._job, next_sample=0)
                acking = group.create_task(self._acknowledge_regularly())
                await self._listen(group)
                acking.cancel()
            await self._acknowledge()
            transcript = " ".join(text for _, text in sorted(self._texts.items()) if text)
            await self._send(
                type="final_summary",
                job_id=self._job,
                summary=None,
                transcript=transcript,
                total_segments=self._segments,
            )
            await self._websocket.close(1000)
        except* WebSocketDisconnect:
            pass

    async def _listen(self, group: asyncio.TaskGroup) -> None:
        """Take sound until the client says that there is no more."""
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message["code"])
            pcm = message.get("bytes")
            if pcm is not None:
                if len(pcm) % WIDTH:
                    await self._refuse("odd_length", f"{len(pcm)} bytes are not whole samples of {WIDTH} bytes")
                self._begin(group, self._segmenter.feed(pcm))
            elif await self._command(message["text"]) == "stop":
                self._begin(group, self._segmenter.finish())
                return

    async def _command(self, text: str) -> str:
        """What a text message asks for; empty where it is refused."""
        try:
            command = json.loads(text)["command"]
        except (ValueError, KeyError, TypeError):
            command = None
        if command in COMMANDS:
            return str(command)
        accepted = ", ".join(f'{{"command":"{name}"}}' for name in COMMANDS)
        await self._send(type="error", code="unknown_command", message=f"{text!r}: accepted are {accepted}")
        return ""

    def _begin(self, group: asyncio.TaskGroup, segments: Sequence[Segment]) -> None:
        """Have what has ended transcribed, while more is heard."""
        for segment in segments:
            group.create_task(self._tell(self._segments, segment))
            self._segments += 1

    async def _tell(self, index: int, segment: Segment) -> None:
        text = self._texts[index] = await self._transcriber.transcribe(segment.pcm, self._language)
        final = Transcript(job=self._job, index=index, start=segment.start, end=segment.end, text=text)
        await self._send(**SocketSegment.of(final).model_dump())

    async def _acknowledge_regularly(self) -> None:
        while True:
            await asyncio.sleep(ACK_EVERY)
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        """Tell how much was received."""
        if self._segmenter.position > self._acked:
            self._acked = self._segmenter.position
            await self._send(type="ack", samples=self._acked)

    async def _refuse(self, code: str, message: str) -> NoReturn:
        await self._send(type="error", code=code, message=message)
        await self._websocket.close(1008, code)
        raise WebSocketDisconnect(1008, code)

    async def _send(self, **reply: Any) -> None:
        await self._websocket.send_json(reply)


def application(folder: Path) -> FastAPI:
    """The server with the model of that folder, which is loaded when it starts."""
    jobs: dict[str, CreateJob] = {}

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        app.state.transcriber = await asyncio.to_thread(Transcriber, folder)
        try:
            yield
        finally:
            app.state.transcriber.close()

    app = FastAPI(lifespan=running, title="In process")

    @app.post("/api/v1/stream/create", status_code=201)
    async def create(request: Request, options: CreateJob | None = None) -> dict[str, str]:
        job = uuid.uuid4().hex
        jobs[job] = options or CreateJob()
        scheme = "wss" if request.url.scheme == "https" else "ws"
        return {"job_id": job, "ws_url": f"{scheme}://{request.url.netloc}/api/v1/stream/{job}"}

    @app.get("/readyz")
    async def ready() -> dict[str, str]:
        return {"status": "ok"}  # it does not listen before the model is loaded

    @app.websocket("/api/v1/stream/{job}")
    async def capture(websocket: WebSocket, job: str) -> None:
        await websocket.accept()
        options = jobs.pop(job, None)
        if options is None:
            await websocket.send_json({"type": "error", "code": "no_such_job", "message": f"no job {job!r}"})
            await websocket.close(4004, "no_such_job")
            return
        await Meeting(websocket, job, options, app.state.transcriber).run()

    return app


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.contenders.inprocess", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--host", default="127.0.0.1", help="(127.0.0.1)")
    parser.add_argument("--port", type=within(int, 1, 65_535), default=8001, help="(8001)")
    parser.add_argument("--model", default=str(MODEL), help="as STT_MODEL (models/whisper-micro)")
    args = parser.parse_args(argv)
    try:
        folder = find_model(args.model)
    except StartError as exc:
        print(f"inprocess: {exc}", file=sys.stderr)
        return 1
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # it logs each segment
    uvicorn.run(application(folder), host=args.host, port=args.port, log_level="warning")
    return 0


if __name__ == "__main__":
    sys.exit(main())
