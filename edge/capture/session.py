"""One capture connection as a protocol: what the client may send, and which messages it gets. Pure.

The messages are the models of `contract.socket`; times in them are seconds, counts are samples at the client's rate.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Literal, get_args

from pydantic import ValidationError

from contract import (
    RATE,
    Closed,
    Completed,
    JobOptions,
    Message,
    Partial,
    Progress,
    Segmented,
    Speaking,
    State,
    Summary,
    Transcript,
    seconds,
    transcript_text,
)
from contract.socket import (
    Close,
    SocketAck,
    SocketCommand,
    SocketError,
    SocketFinalSummary,
    SocketMessage,
    SocketPartial,
    SocketSegment,
    SocketSpeechStarted,
    SocketStatus,
    SocketWelcome,
)

Command = Literal["stop", "finalize", "keepalive"]

_COMMANDS: tuple[str, ...] = get_args(SocketCommand.model_fields["command"].annotation)

MAX_FRAME_SECONDS = 1
_BYTES_PER_SAMPLE = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1}
_MAX_OPUS_PACKET = 1275 * 6
"""RFC 6716, section 3: at most 48 frames in 120 ms; no encoder makes more than six full-size ones of it."""

_EXCERPT = 100


def excerpt(text: str) -> str:
    """The beginning of what a client sent, to show it in an error: a long message is not sent back whole."""
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."


class ProtocolError(Exception):
    """The client sent something that it must not; `close` ends the connection, None: it goes on."""

    def __init__(self, code: str, message: str, close: Close | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.close = close

    def reply(self) -> SocketError:
        """What the client gets."""
        return SocketError(code=self.code, message=str(self))


class InterimResults:
    """Keeps only the newest interim result, so that a slow client gets fewer of them and never an old one.

    `finals`: indexes of the segments whose final was sent.
    """

    def __init__(self, finals: Container[int]) -> None:
        self._finals = finals
        self._newest = -1  # index of the latest segment that is known
        self._started = -1  # index of the latest one whose `speech_started` was due
        self._end = -1  # of the newest hypothesis of that segment
        self._speaking: Speaking | None = None
        self._partial: Partial | None = None

    def update(self, news: Speaking | Partial) -> None:
        """Take an interim result; one that is late, repeated or of a finished segment is ignored."""
        if news.index < self._newest or news.index in self._finals:
            return
        if news.index > self._newest:
            self._newest, self._end, self._partial = news.index, -1, None
        if isinstance(news, Partial):
            if news.end > self._end:
                self._end, self._partial = news.end, news
        elif news.index > self._started:
            self._started, self._speaking = news.index, news

    def next(self) -> SocketMessage | None:
        """The next message that is due, once."""
        speaking, self._speaking = self._speaking, None
        if speaking is not None and speaking.index not in self._finals:
            return SocketSpeechStarted(start=seconds(speaking.start))
        partial, self._partial = self._partial, None
        if partial is None or partial.index in self._finals:
            return None
        stable = min(partial.stable, len(partial.text))
        return SocketPartial(start=seconds(partial.start), text=partial.text, stable=stable)


class Session:
    """The state of one connection: checks what the client sends and makes the messages that it gets."""

    __slots__ = (
        "_acked",
        "_finals",
        "_is_pcm",
        "_job",
        "_last_status",
        "_max_bytes",
        "_rate",
        "_segmented",
        "_segments",
        "_stopped",
        "_summary",
        "_untranscribed",
        "_utterances",
        "_width",
        "interim",
        "message_bytes",
        "next_sample",
        "state",
        "trouble",
    )

    def __init__(self, job: str, options: JobOptions, start: int = 0) -> None:
        """Go on with a job's audio at sample `start`, counted at 16 kHz as on the bus."""
        self.state: State = "streaming"
        self._job = job
        self._rate = options.sample_rate
        self._is_pcm = options.encoding in _BYTES_PER_SAMPLE  # so that bytes can be counted as samples
        self._width = _BYTES_PER_SAMPLE.get(options.encoding, 1)
        self._max_bytes = MAX_FRAME_SECONDS * self._rate * self._width if self._is_pcm else _MAX_OPUS_PACKET
        self.next_sample = start * options.sample_rate // RATE
        """The sample that the client sends next, counted at its own rate."""
        self.message_bytes = 0
        """Size of the last binary message."""
        self._stopped = False
        self._finals: dict[int, Transcript] = {}
        self.interim = InterimResults(self._finals)
        self._segments: int | None = None  # their number, once it is known
        self._summary: Summary | None = None
        self._utterances = 0  # that the segmenter has published
        self._segmented = start  # all audio below is in an utterance, or is silence
        self._untranscribed: dict[int, int] = {}  # start of each utterance that has no transcript yet
        self.trouble: str | None = None
        """Why the audio cannot be stored at present."""
        self._last_status: SocketStatus | None = None
        self._acked = 0  # so that the first ack says where a resumed job stands

    def welcome(self) -> SocketWelcome:
        """The first message."""
        return SocketWelcome(job_id=self._job, next_sample=self.next_sample)

    def check_audio(self, messages: Sequence[bytes]) -> int:
        """Return how many of these binary messages are valid; raise ProtocolError where the first is not."""
        most, width = self._max_bytes, self._width
        admitted = total = 0
        for message in messages:
            size = len(message)
            if size > most or size % width or self._stopped:
                if not admitted:
                    raise self._audio_error(size)
                break
            admitted += 1
            total += size
            self.message_bytes = size
        if self._is_pcm:
            self.next_sample += total // width
        return admitted

    @property
    def message_seconds(self) -> float:
        """Length of the last binary message; 0 where its size does not tell."""
        return self.message_bytes / self._width / self._rate if self._is_pcm else 0.0

    def _audio_error(self, size: int) -> ProtocolError:
        if self._stopped:
            return ProtocolError("audio_after_stop", "audio after the command stop is not taken")
        if size <= self._max_bytes:
            expected = f"a multiple of {self._width} is accepted"
            return ProtocolError("odd_length", f"{size} bytes are not whole samples: {expected}", Close.POLICY)
        if not self._is_pcm:
            message = f"{size} bytes are more than an Opus packet can have"
        else:
            message = f"{size} bytes in one message: at most {self._max_bytes}, one second"
        return ProtocolError("frame_too_large", message, Close.TOO_LARGE)

    def command(self, text: str) -> Command:
        """Read a text message, or raise ProtocolError."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ProtocolError("not_json", f"a text message must be JSON: {excerpt(str(exc))}") from exc
        try:
            command = SocketCommand.model_validate(message).command
        except ValidationError as exc:
            given = message.get("command") if isinstance(message, dict) else None
            accepted = ", ".join(f'{{"command":"{name}"}}' for name in _COMMANDS)
            says = f"unknown command {excerpt(json.dumps(given))}: accepted are {accepted}"
            raise ProtocolError("unknown_command", says) from exc
        if command == "finalize" and self._stopped:
            raise ProtocolError("finalize_after_stop", "the command finalize after the command stop is not taken")
        if command == "stop":
            self._stopped = True
        return command

    def on_event(self, message: Message) -> SocketMessage | None:
        """Take an event of the job; returns the message that the client gets, if there is one."""
        match message:
            case Transcript() if message.generation == 1:
                self._finals[message.index] = message
                self._untranscribed.pop(message.index, None)
                self._check_for_last()
                return SocketSegment.of(message)
            case Closed():
                self.state = "transcribing"
            case Segmented():
                self._segments = message.segments
                self._check_for_last()
            case Summary():
                self._summary = message
            case Completed():
                self.state = "completed"
                return self._final_summary(message)
        return None

    def _check_for_last(self) -> None:
        if len(self._finals) == self._segments:
            self.state = "summarizing"

    def _final_summary(self, completed: Completed) -> SocketFinalSummary:
        return SocketFinalSummary(
            job_id=self._job,
            summary=self._summary.view if self._summary else None,
            transcript=transcript_text(self._finals.values()),
            total_segments=completed.segments,
        )

    def on_progress(self, progress: Progress) -> None:
        """Take the segmenter's progress."""
        if progress.segments > self._utterances:
            self._utterances = progress.segments
            if progress.segments - 1 not in self._finals:
                self._untranscribed[progress.segments - 1] = progress.start
        self._segmented = max(self._segmented, progress.floor)

    def ack(self, stored: int, *, complete: bool = False) -> SocketAck | None:
        """The next ack, if more is durable than the last one said.

        stored: samples at 16 kHz. complete: that is all that the client has sent.
        """
        samples = stored * self._rate // RATE  # at the client's rate
        if self._is_pcm:
            samples = self.next_sample if complete else min(samples, self.next_sample)
        if samples <= self._acked:
            return None
        self._acked = samples
        return SocketAck(samples=samples)

    def status(self, sent: int, *, lag: bool = True) -> SocketStatus | None:
        """The next status, if it differs from the last one; without `lag` only if more than that does.

        sent: samples of the job so far, at 16 kHz.
        """
        last = self._last_status
        same = last is not None and (last.state, last.trouble) == (self.state, self.trouble)
        if not lag and same:
            return None
        done = self.state in ("summarizing", "completed")
        transcribed = sent if done else min([self._segmented, *self._untranscribed.values()])
        behind = round(max(0, sent - transcribed) / RATE, 1)
        if same and last is not None and last.lag == behind:
            return None
        self._last_status = SocketStatus(state=self.state, lag=behind, trouble=self.trouble)
        return self._last_status
