"""One capture connection as a protocol: what the client may say, and what it is told. Pure.

The messages are those of "Native: live capture" in the wire protocol. Replies are dicts, ready to be sent as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal, cast

from contract import (
    RATE,
    Closed,
    Completed,
    JobOptions,
    Message,
    Progress,
    Segmented,
    State,
    Summary,
    Transcript,
    transcript_text,
)
from contract.socket import SocketSegment
from edge.capture.interim import Interim

Reply = dict[str, Any]
Command = Literal["stop", "finalize", "keepalive"]

COMMANDS: tuple[Command, ...] = ("stop", "finalize", "keepalive")

MAX_FRAME_SECONDS = 1
_BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1}
_MAX_OPUS_PACKET = 1275 * 6
"""RFC 6716, section 3: at most 48 frames in 120 ms; no encoder makes more than six full-size ones of it."""


class ProtocolError(Exception):
    """The client sent something that it must not; `close` is the code that ends the connection, None: it goes on."""

    def __init__(self, code: str, message: str, close: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close

    def reply(self) -> Reply:
        """The message that tells the client."""
        return {"type": "error", "code": self.code, "message": str(self)}


class Session:
    """What one connection knows of its job."""

    __slots__ = (
        "_acked",
        "_counts",
        "_finals",
        "_floor",
        "_job",
        "_most",
        "_published",
        "_rate",
        "_segments",
        "_stopped",
        "_summary",
        "_told",
        "_waiting",
        "_width",
        "interim",
        "message_bytes",
        "next_sample",
        "state",
    )

    def __init__(self, job: str, options: JobOptions, start: int = 0) -> None:
        """Go on with a job's audio at sample `start`, counted at 16 kHz as the bus does."""
        self.state: State = "streaming"
        self._job = job
        self._rate = options.sample_rate
        self._counts = options.encoding in _BYTES_PER_SAMPLE  # whether bytes tell how many samples they are
        self._width = _BYTES_PER_SAMPLE.get(options.encoding, 1)
        self._most = MAX_FRAME_SECONDS * self._rate * self._width if self._counts else _MAX_OPUS_PACKET
        self.next_sample = start * options.sample_rate // RATE
        """What the client is to send next, counted at its own rate, as all samples are that it is told of."""
        self.message_bytes = 0
        """Size of the last binary message."""
        self._stopped = False
        self._finals: dict[int, Transcript] = {}
        self.interim = Interim(self._finals)
        """What is not final yet."""
        self._segments: int | None = None  # how many there are, once that is known
        self._summary: Summary | None = None
        self._published = 0  # utterances that the segmenter is known to have published
        self._floor = start  # all sound below is in an utterance, or silence
        self._waiting: dict[int, int] = {}  # start of each utterance that has no transcript yet
        self._told: Reply = {}
        self._acked = 0  # so that where a resumed job stands is told with the first ack

    def welcome(self) -> Reply:
        """The first message."""
        return {"type": "connection_success", "job_id": self._job, "next_sample": self.next_sample}

    def check_audio(self, messages: Sequence[bytes]) -> int:
        """Return how many of these binary messages are admitted; raise ProtocolError where the first is not."""
        most, width = self._most, self._width
        admitted = total = 0
        for message in messages:
            size = len(message)
            if size > most or size % width or self._stopped:
                if not admitted:
                    raise self._refusal(size)
                break
            admitted += 1
            total += size
            self.message_bytes = size
        if self._counts:
            self.next_sample += total // width
        return admitted

    @property
    def message_seconds(self) -> float:
        """How much sound the last binary message was; 0 where that cannot be told."""
        return self.message_bytes / self._width / self._rate if self._counts else 0.0

    def _refusal(self, size: int) -> ProtocolError:
        if self._stopped:
            return ProtocolError("audio_after_stop", "audio after the command stop is not taken")
        if size <= self._most:
            most = f"a multiple of {self._width} is accepted"
            return ProtocolError("odd_length", f"{size} bytes are not whole samples: {most}", 1008)
        if not self._counts:
            return ProtocolError("frame_too_large", f"{size} bytes are more than an Opus packet can have", 1009)
        return ProtocolError("frame_too_large", f"{size} bytes in one message: at most {self._most}, one second", 1009)

    def command(self, text: str) -> Command:
        """Read a text message, or raise ProtocolError."""
        try:
            message = json.loads(text)
        except ValueError as exc:
            raise ProtocolError("not_json", f"a text message must be JSON: {exc}") from exc
        command = message.get("command") if isinstance(message, dict) else None
        if command not in COMMANDS:
            accepted = ", ".join(f'{{"command":"{name}"}}' for name in COMMANDS)
            raise ProtocolError("unknown_command", f"unknown command {json.dumps(command)}: accepted are {accepted}")
        if command == "finalize" and self._stopped:
            raise ProtocolError("finalize_after_stop", "the command finalize after the command stop is not taken")
        if command == "stop":
            self._stopped = True
        return cast("Command", command)

    def on_event(self, message: Message) -> list[Reply]:
        """Something was published about the job."""
        match message:
            case Transcript() if message.generation == 1:
                return self._on_final(message)
            case Closed():
                self.state = "transcribing"
            case Segmented():
                self._segments = message.segments
                self._look_for_the_last()
            case Summary():
                self._summary = message
            case Completed():
                self.state = "completed"
                return [self._final_summary()]
        return []

    def _on_final(self, transcript: Transcript) -> list[Reply]:
        self._finals[transcript.index] = transcript
        self._waiting.pop(transcript.index, None)
        self._look_for_the_last()
        return [SocketSegment.of(transcript).model_dump()]

    def _look_for_the_last(self) -> None:
        if len(self._finals) == self._segments:
            self.state = "summarizing"

    def _final_summary(self) -> Reply:
        return {
            "type": "final_summary",
            "job_id": self._job,
            "summary": self._summary.view.model_dump() if self._summary else None,
            "transcript": transcript_text(self._finals.values()),
        }

    def on_progress(self, progress: Progress) -> None:
        """How far the segmenter is."""
        if progress.segments > self._published:
            self._published = progress.segments
            if progress.segments - 1 not in self._finals:
                self._waiting[progress.segments - 1] = progress.start
        self._floor = max(self._floor, progress.floor)

    def ack(self, stored: int, *, complete: bool = False) -> Reply | None:
        """Tell how much is durable, where that is news. stored: samples at 16 kHz; `complete`: that was all."""
        samples = stored * self._rate // RATE  # counted as the client counts
        if self._counts:
            samples = self.next_sample if complete else min(samples, self.next_sample)
        if samples <= self._acked:
            return None
        self._acked = samples
        return {"type": "ack", "samples": samples}

    def status(self, sent: int, *, lag: bool = True) -> Reply | None:
        """Tell the state and how many seconds of sound have no text yet, where that is news. sent: samples so far.

        Unless `lag` is True, only another state is news.
        """
        if not lag and self._told.get("state") == self.state:
            return None
        done = self.state in ("summarizing", "completed")
        transcribed = sent if done else min([self._floor, *self._waiting.values()])
        behind = round(max(0, sent - transcribed) / RATE, 1)
        reply: Reply = {"type": "status", "state": self.state, "lag": behind}
        if reply == self._told:
            return None
        self._told = reply
        return reply
