"""Sources of audio as FFmpeg's containers: one, or one for each of several files that were joined."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import av
from av.container import InputContainer

from audio.convert import AudioError
from audio.links import Source, links

# A playlist can name other files and hosts: FFmpeg may read only the source itself.
_OPTIONS = {"protocol_whitelist": "none"}

# By default FFmpeg analyses seconds of a live pipe before it returns the first sample.
_LIVE = _OPTIONS | {"analyzeduration": "200000", "probesize": "65536"}

_WHOLE = (b"\x00\x00\x01\xba", b"caff", b"wvpk", b"\xb7\xd8\x00\x20")
"""How files begin that FFmpeg can only seek in: MPEG programme streams, CAF, WavPack and WTV."""

_GUESSED = {"adp"}
"""Formats without a header that FFmpeg takes raw samples for."""

_REST = 65_536
"""Bytes. Fewer are tags and the like."""


class _Pipe:
    """What FFmpeg reads from a source that cannot be seeked: as it comes, without waiting for a full buffer."""

    def __init__(self, source: Source) -> None:
        self.read = source.some


@contextmanager
def opened(source: str | Path | BinaryIO) -> Iterator[BinaryIO | Source]:
    """The source as a file that can be seeked, or as a Source if it cannot be. Raises AudioError.

    What cannot be decoded as it comes is stored in a temporary file first.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_file(source)) if isinstance(source, str | Path) else source
        if file.seekable():
            yield file
            return
        stream = Source(file)
        if not _must_be_whole(stream):
            yield stream
            return
        whole = stack.enter_context(TemporaryFile())
        while piece := stream.some(_REST):
            whole.write(piece)
        whole.seek(0)
        yield whole


def containers(name: str, file: BinaryIO | Source, tell: Callable[[str], None]) -> Generator[InputContainer]:
    """Each part of the file, closed when the next one is asked for. `tell` gets a sentence for what is left out.

    Raises AudioError if the first part is no audio or video.
    """
    live = isinstance(file, Source)
    source = file if isinstance(file, Source) else Source(file)
    start = 0 if isinstance(file, Source) else file.tell()
    parts = links(source, tell)
    if parts is None:
        if not isinstance(file, Source):
            file.seek(start)
        with open_container(name, _Pipe(source) if live else file, live=live) as container:
            yield container
        if live and len(source.peek(_REST)) == _REST:
            tell("the stream goes on behind its last sound: that was not used")
        return
    for number, part in enumerate(parts, 1):
        try:
            container = open_container(name, part, live=live)
        except AudioError as exc:
            if number == 1:
                raise
            tell(f"part {number} of the file was left out: {str(exc).removeprefix(f'{name}: ')}")
            continue
        with container:
            yield container


def _must_be_whole(source: Source) -> bool:
    """Whether it cannot be decoded as it comes, as an MP4 or MOV file that ends with its index."""
    if source.peek(4) in _WHOLE:
        return True
    at = 0
    while len(head := source.peek(at + 8)[at:]) == 8 and at < _REST:
        size, kind = int.from_bytes(head[:4]), head[4:]
        if kind == b"mdat":
            return True
        if kind not in (b"ftyp", b"free", b"skip", b"wide", b"uuid") or size < 8:
            return False
        at += size
    return False


def open_container(name: str, file: Any, *, live: bool = False) -> InputContainer:
    """A source, or a part of one, as FFmpeg reads it. Raises AudioError."""
    try:
        container: InputContainer = av.open(file, "r", options=_LIVE if live else _OPTIONS)
    except av.FFmpegError as exc:
        raise AudioError(f"{name}: not an audio file ({exc.strerror})") from exc
    if container.format.name in _GUESSED:
        container.close()
        raise AudioError(f"{name}: not an audio file (it has no header)")
    return container


def _file(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except FileNotFoundError as exc:
        raise AudioError(f"{path}: no such file") from exc
    except OSError as exc:
        raise AudioError(f"{path}: {(exc.strerror or str(exc)).lower()}") from exc


def name_of(source: str | Path | BinaryIO) -> str:
    """How messages call it."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the stream"
