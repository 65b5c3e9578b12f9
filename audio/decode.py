"""Any file, or any stream that FFmpeg can read, as mono 16 kHz s16le."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer

from audio.resample import Resampler
from audio.samples import AudioError

# A playlist can name other files and hosts. Only what was handed to us is read: no nested resource may be opened.
_OPTIONS = {"protocol_whitelist": "none"}

# FFmpeg would study seconds of a live pipe before it gives the first sample.
_LIVE = _OPTIONS | {"analyzeduration": "200000", "probesize": "65536"}


class _Pipe:
    """A stream read as it comes: waiting for a full buffer would hold a live pipe back by a second."""

    def __init__(self, stream: BinaryIO) -> None:
        self.read = getattr(stream, "read1", stream.read)


def decode(source: str | Path | BinaryIO) -> Generator[bytes, None, None]:
    """Chunks of mono 16 kHz s16le, in constant memory. Channels are mixed down; a damaged packet is passed over.

    A stream need not be seekable and is not closed. Raises AudioError, at the first step, for what is not sound.
    """
    resampler = Resampler()
    heard = False
    with _opened(source) as container:
        for packet in container.demux(container.streams.audio[0]):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                continue
            for frame in frames:
                heard = True
                if chunk := resampler.push(frame):
                    yield chunk
        if chunk := resampler.flush():
            yield chunk
        if not heard:
            raise AudioError(f"{_name(source)}: no sound in it")


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
