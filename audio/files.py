"""Audio files and streams: anything that FFmpeg reads, as mono 16 kHz s16le, and FLAC files from that."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer

from audio.convert import RATE, WIDTH, AudioError, Resampler, check_length

# A playlist can name other files and hosts: FFmpeg may read only the source itself.
_OPTIONS = {"protocol_whitelist": "none"}

# By default FFmpeg analyses seconds of a live pipe before it returns the first sample.
_LIVE = _OPTIONS | {"analyzeduration": "200000", "probesize": "65536"}

_MIN_GAP = 0.02
"""Seconds. One lost packet of MP3, AAC or Opus is longer; rounding and jitter of timestamps are mostly shorter."""

_MAX_GAP = 600.0
"""Seconds. A larger jump of the timestamps, also backwards, means that the clock was reset and nothing is missing."""

_SMALLEST = {"compression_level": "12"}


class _Pipe:
    """Reads a stream as it arrives: waiting for a full buffer would delay a live pipe by a second."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = getattr(stream, "read1", stream.read)


class _Timeline:
    """Finds gaps between frames. Times are seconds from the first frame that can be decoded."""

    def __init__(self, container: InputContainer) -> None:
        self.end = 0.0
        """End of the last frame."""
        # MP3 has no timestamps. FFmpeg joins all bytes up to the next good packet into one bad packet, so that the size
        # of bad packets tells how much is missing.
        self._by_size = container.format.name == "mp3"
        self._lost = 0.0
        self._zero: float | None = None

    def lose(self, packet: av.Packet[av.AudioStream]) -> None:
        """Count a packet that cannot be decoded."""
        if self._by_size and (bit_rate := packet.stream.bit_rate):
            self._lost += packet.size * 8 / bit_rate

    def place(self, frame: av.AudioFrame) -> float:
        """Take the next frame; returns the length of the gap before it, 0 if there is none."""
        missing = self._missing(frame) if self.end else 0.0
        if not _MIN_GAP <= missing <= _MAX_GAP:
            missing = 0.0
        self._lost = 0.0
        self.end += missing + frame.samples / frame.sample_rate
        return missing

    def _missing(self, frame: av.AudioFrame) -> float:
        if self._by_size or frame.time is None:
            return self._lost
        stated = frame.time - self.end
        if self._zero is None or abs(stated - self._zero) > _MAX_GAP:
            self._zero = stated
        return stated - self._zero


def decode(
    source: str | Path | BinaryIO, missing: Callable[[float, float], None] = lambda _start, _seconds: None
) -> Generator[bytes, None, None]:
    """Chunks of mono 16 kHz s16le, in constant memory. Channels are mixed down.

    Damage in the middle becomes silence of the length that the timestamps show (in an MP3: that its size shows), so
    that everything behind it keeps its time; `missing(start, seconds)` is called for each such gap, with times in the
    output. A stream need not be seekable and is not closed. Raises AudioError, at the first step, if it is not audio.
    """
    resampler = Resampler()
    with _opened(source) as container:
        timeline = _Timeline(container)
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # damage causes many errors, not only invalid data
                timeline.lose(packet)
                continue
            for frame in frames:
                start = timeline.end
                if gap := timeline.place(frame):
                    missing(start, gap)
                    yield from filter(None, (resampler.flush(), *_silence(gap)))
                if chunk := resampler.push(frame):
                    yield chunk
        if chunk := resampler.flush():
            yield chunk
        if not timeline.end:
            raise AudioError(f"{_name(source)}: no sound in it")


def _silence(seconds: float) -> list[bytes]:
    """Chunks of at most a second, all with the same memory."""
    whole, rest = divmod(round(seconds * RATE), RATE)
    return [bytes(RATE * WIDTH)] * whole + [bytes(rest * WIDTH)]


def duration(path: str | Path) -> float | None:
    """Length in seconds according to the file's header; None if that says nothing. Raises AudioError."""
    with _opened(path) as container:
        return None if container.duration is None else container.duration / av.time_base


def write_flac(path: str | Path, pcm: bytes) -> None:
    """Write mono 16 kHz s16le losslessly as FLAC. Raises AudioError on half a sample, OSError from the file."""
    check_length(pcm)
    with Path(path).open("wb") as file, av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16", options=_SMALLEST)
        packets = []
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, dtype="<i2")[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = RATE
            packets += stream.encode(frame)
        container.mux(packets + stream.encode(None))


@contextmanager
def _opened(source: str | Path | BinaryIO) -> Generator[InputContainer, None, None]:
    """The source as a container with an audio stream. Errors of FFmpeg become AudioErrors."""
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
