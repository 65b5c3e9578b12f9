"""Any file, or any stream that FFmpeg can read, as mono 16 kHz s16le."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from audio.resample import Resampler
from audio.samples import RATE, WIDTH, AudioError

# A playlist can name other files and hosts. Only what was handed to us is read: no nested resource may be opened.
_OPTIONS = {"protocol_whitelist": "none"}

# FFmpeg would study seconds of a live pipe before it gives the first sample.
_LIVE = _OPTIONS | {"analyzeduration": "200000", "probesize": "65536"}

_LEAST_HOLE = 0.02
"""Seconds. One lost packet of MP3, AAC or Opus is more; rounding and jitter of timestamps are mostly less."""

_LONGEST_HOLE = 600.0
"""Seconds. A longer jump of the timestamps, also a jump back, is a clock that was set anew: nothing is missing."""


class _Pipe:
    """A stream read as it comes: waiting for a full buffer would hold a live pipe back by a second."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = getattr(stream, "read1", stream.read)


class _Timeline:
    """Where each frame belongs; seconds from the first sound that can be decoded."""

    def __init__(self, container: InputContainer) -> None:
        self.end = 0.0
        """Of what has been placed so far."""
        # MP3 states no times: FFmpeg counts frames, and makes one bad packet of all bytes up to the next good one.
        self._by_size = container.format.name == "mp3"
        self._lost = 0.0
        self._zero: float | None = None

    def lose(self, packet: av.Packet[av.AudioStream]) -> None:
        """Take note of a packet that cannot be decoded."""
        if self._by_size and (bit_rate := packet.stream.bit_rate):
            self._lost += packet.size * 8 / bit_rate

    def place(self, frame: av.AudioFrame) -> float:
        """Take the next frame; returns how much is missing before it."""
        missing = self._missing(frame) if self.end else 0.0
        if not _LEAST_HOLE <= missing <= _LONGEST_HOLE:
            missing = 0.0
        self._lost = 0.0
        self.end += missing + frame.samples / frame.sample_rate
        return missing

    def _missing(self, frame: av.AudioFrame) -> float:
        if self._by_size or frame.time is None:
            return self._lost
        stated = frame.time - self.end
        if self._zero is None or abs(stated - self._zero) > _LONGEST_HOLE:
            self._zero = stated
        return stated - self._zero


def decode(
    source: str | Path | BinaryIO, missing: Callable[[float, float], None] = lambda _start, _seconds: None
) -> Generator[bytes, None, None]:
    """Chunks of mono 16 kHz s16le, in constant memory. Channels are mixed down.

    What is damaged in the middle becomes silence, as long as the file's timestamps say (in an MP3, which has none: its
    size), so that all behind it keeps its time; `missing(start, seconds)` is told of it, in seconds of what is given.
    A stream need not be seekable and is not closed. Raises AudioError, at the first step, for what is not sound.
    """
    resampler = Resampler()
    with _opened(source) as container:
        timeline = _Timeline(container)
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # damage shows in many ways, not only as invalid data
                timeline.lose(packet)
                continue
            for frame in frames:
                start = timeline.end
                if hole := timeline.place(frame):
                    missing(start, hole)
                    yield from filter(None, (resampler.flush(), *_silence(hole)))
                if chunk := resampler.push(frame):
                    yield chunk
        if chunk := resampler.flush():
            yield chunk
        if not timeline.end:
            raise AudioError(f"{_name(source)}: no sound in it")


def _silence(seconds: float) -> list[bytes]:
    """Chunks of at most a second, which share their memory."""
    whole, rest = divmod(round(seconds * RATE), RATE)
    return [bytes(RATE * WIDTH)] * whole + [bytes(rest * WIDTH)]


def duration(path: str | Path) -> float | None:
    """Length in seconds as the file itself states it; None if it does not. Raises AudioError."""
    with _opened(path) as container:
        return None if container.duration is None else container.duration / av.time_base


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Generator[InputContainer, None, None]:
    """The source as a container with an audio stream. What FFmpeg says becomes an AudioError."""
    name = _name(source)
    with ExitStack() as stack:
        file = stack.enter_context(_file(source)) if isinstance(source, str | Path) else source
        try:
            if file.seekable():
                container = stack.enter_context(av.open(file, "r", options=_OPTIONS))
            else:
                container = stack.enter_context(av.open(_Pipe(file), "r", options=_LIVE))
        except av.FFmpegError as exc:
            raise AudioError(f"{name}: not an audio file ({exc.strerror})") from exc
        if not container.streams.audio:
            raise AudioError(f"{name}: no audio stream")
        try:
            yield container
        except av.FFmpegError as exc:
            raise AudioError(f"{name}: broken audio file ({exc.strerror})") from exc


def _file(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except FileNotFoundError as exc:
        raise AudioError(f"{path}: no such file") from exc
    except OSError as exc:
        raise AudioError(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc


def _name(source: str | Path | BinaryIO) -> str:
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the stream"
