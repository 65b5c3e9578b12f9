"""Files that consist of several, one behind the other, and WAV files whose header is wrong about their length.

FFmpeg reads the first part of a chained Ogg or Matroska file, or of joined WAV or FLAC files. It drops or misreads what
follows where rate, channels or codec differ. Here a source is split into its parts before FFmpeg sees it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO

_PIECE = 65_536
_UNKNOWN = 0xFFFFFFFF
_ENDLESS = 0x7FFF0000
"""A program that writes a WAV file into a pipe does not know its length, and promises at least so many bytes."""

_TAIL = 256
"""Bytes. Fewer behind the samples are no sound."""

_RIFF = (b"RIFF", b"RF64", b"BW64")
_LONG = (*_RIFF, b"data")
_LONGEST = 1 << 24
"""Bytes of any other chunk. What looks like a longer one is sound."""

# RFC 3533: a page starts so; then version, flags (2: first page of a stream), and from byte 26 on the segment table.
_OGG = b"OggS"
_OGG_HEAD = 27
_OGG_FIRST = 2

# RFC 8794 and RFC 9559: identifiers of elements.
_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067

# RFC 9639: the marker and the header of the first block of metadata, which has 34 bytes.
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FLAC_HEAD = 8

_CHUNK = re.compile(rb"[A-Za-z_][A-Za-z0-9_ ]{3}")


class Source:
    """Reads ahead in a stream that need not be seekable, and does not wait for more than is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._read: Callable[[int], bytes] = getattr(file, "read1", file.read)
        self.ahead = b""
        """What was read and not yet taken."""

    def peek(self, size: int) -> bytes:
        """So many of the next bytes, fewer at the end."""
        while len(self.ahead) < size and (piece := self._read(max(size - len(self.ahead), _PIECE))):
            self.ahead += piece
        return self.ahead[:size]

    def take(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        taken = self.peek(size)
        self.ahead = self.ahead[size:]
        return taken

    def some(self, most: int) -> bytes:
        """What is there, at most so many bytes; none at the end."""
        if not self.ahead:
            self.ahead = self._read(_PIECE)
        taken, self.ahead = self.ahead[:most], self.ahead[most:]
        return taken


class Link:
    """One part, as a file that cannot be seeked: `read` is what FFmpeg needs."""

    def __init__(self, pieces: Iterator[bytes | None]) -> None:
        self._pieces = pieces
        self._rest = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end."""
        while not self._rest and not self._ended:
            piece = next(self._pieces, None)
            self._ended = piece is None
            self._rest = piece or b""
        given, self._rest = self._rest[:size], self._rest[size:]
        return given

    def drain(self) -> None:
        """Pass what was not read."""
        while self.read(_PIECE):
            pass


def links(source: Source, tell: Callable[[str], None]) -> Iterator[Link] | None:
    """The parts of a file, one after the other; None if it is of a kind that has none. `tell` gets sentences."""
    head = source.peek(12)
    if head[:4] == _OGG:
        pieces = _ogg(source)
    elif head[:4] in _RIFF and head[8:] == b"WAVE":
        pieces = _wav(source, tell)
    elif head[:4] == _EBML.to_bytes(4):
        pieces = _matroska(source)
    elif _FLAC.match(head):
        pieces = _flac(source)
    else:
        return None
    return _links(source, pieces)


def _links(source: Source, pieces: Iterator[bytes | None]) -> Iterator[Link]:
    while source.peek(1):
        link = Link(pieces)
        yield link
        link.drain()


def _flac(source: Source) -> Iterator[bytes | None]:
    """Everything; None where a further file begins. FFmpeg misreads frames behind a change of the rate."""
    yield source.take(1)
    while ahead := source.peek(1) and source.peek(_FLAC_HEAD) and source.ahead:
        found = _FLAC.search(ahead)
        if found and not found.start():
            yield None
            yield source.take(1)
        else:
            yield source.take(found.start() if found else max(1, len(ahead) - _FLAC_HEAD + 1))


def _ogg(source: Source) -> Iterator[bytes | None]:
    """Pages; None where a new chain begins, at the first page of a stream behind pages of others."""
    beginning = True
    while head := source.peek(_OGG_HEAD):
        if not head.startswith(_OGG) or len(head) < _OGG_HEAD:
            yield _until(source, _OGG)  # damage
            continue
        is_first = bool(head[5] & _OGG_FIRST)
        if is_first and not beginning:
            yield None
        beginning = is_first
        table = source.peek(_OGG_HEAD + head[26])[_OGG_HEAD:]
        yield source.take(_OGG_HEAD + head[26] + sum(table))


def _until(source: Source, mark: bytes) -> bytes:
    """The next byte, and what is there before the next mark."""
    source.peek(len(mark) + 1)
    ahead = source.ahead
    at = ahead.find(mark, 1)
    return source.take(at if at > 0 else max(1, len(ahead) - len(mark) + 1))


def _matroska(source: Source) -> Iterator[bytes | None]:
    """Elements; None before each further EBML header."""
    first = True
    while head := source.peek(12):
        if not (width := _width(head[0], 4)) or len(head) <= width or not (digits := _width(head[width], 8)):
            yield _until(source, _EBML.to_bytes(4))  # damage
            continue
        kind = int.from_bytes(head[:width])
        length = int.from_bytes(head[width : width + digits]) & ((1 << 7 * digits) - 1)
        unknown = length == (1 << 7 * digits) - 1
        if kind == _EBML and not first:
            yield None
        first = False
        yield source.take(width + digits)
        if kind == _SEGMENT or unknown:
            continue  # what is in it is looked at too
        while length and (piece := source.some(min(length, _PIECE))):
            length -= len(piece)
            yield piece


def _width(byte: int, most: int) -> int:
    """Bytes of a number of variable length that begins so; 0 if none does."""
    width = 9 - byte.bit_length()
    return width if width <= most else 0


def _wav(source: Source, tell: Callable[[str], None]) -> Iterator[bytes | None]:
    """The file with a length that FFmpeg takes for unknown; None before each further file."""
    first = True
    while head := source.peek(12):
        if not first:
            yield None
        first = False
        source.take(12)
        yield b"RIFF" + _UNKNOWN.to_bytes(4, "little") + head[8:]
        bytes_a_second, long = yield from _wav_header(source)
        if not _is_chunk(source.peek(8), b"data"):
            yield from iter(lambda: source.some(_PIECE), b"")
            return
        yield from _wav_samples(source, bytes_a_second, long, tell)


def _wav_header(source: Source) -> Generator[bytes, None, tuple[int, int]]:
    """Chunks before the samples; returns bytes a second, and the length of the samples if RF64 gives one, else 0."""
    bytes_a_second = long = 0
    while _is_chunk(head := source.peek(8)) and head[:4] != b"data":
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"fmt " and size >= 12:
            bytes_a_second = int.from_bytes(source.peek(20)[16:], "little")
        elif head[:4] == b"ds64" and size >= 16:
            long = int.from_bytes(source.peek(24)[16:], "little")
        size += 8 + size % 2
        while size and (piece := source.some(size)):
            size -= len(piece)
            yield piece
    return max(1, bytes_a_second), long


def _wav_samples(source: Source, bytes_a_second: int, long: int, tell: Callable[[str], None]) -> Iterator[bytes]:
    """The chunk of samples and, if the header promises too little, what follows; tags behind it are dropped."""
    promised = int.from_bytes(source.take(8)[4:], "little")
    yield b"data" + _UNKNOWN.to_bytes(4, "little")
    if promised == _UNKNOWN:
        promised = long or promised
    known = promised < _ENDLESS or promised == long
    got = 0
    while got < promised and (piece := source.some(min(promised - got, _PIECE))):
        got += len(piece)
        yield piece
    if known and got < promised:
        lengths = f"its header promises {promised / bytes_a_second:.1f} s, and {got / bytes_a_second:.1f} s are there"
        tell(f"the file is cut off: {lengths}")
        return
    if promised % 2 and (head := source.peek(9))[:1] == b"\0" and (len(head) == 1 or _is_chunk(head[1:])):
        source.take(1)
    while _is_chunk(head := source.peek(12)) and head[:4] not in _RIFF:
        size = int.from_bytes(source.take(8)[4:], "little")
        is_sound = head[:4] == b"data"
        size += size % 2
        while size and (piece := source.some(size)):
            size -= len(piece)
            if is_sound:
                yield piece
    if head[:4] in _RIFF:
        return
    if len(source.peek(_TAIL)) < _TAIL:
        source.take(_TAIL)
        return
    while piece := source.some(_PIECE):
        got += len(piece)
        yield piece
    lengths = f"{promised / bytes_a_second:.1f} s, but there are {got / bytes_a_second:.1f} s"
    tell(f"the header of the file promises {lengths}: all were taken")


def _is_chunk(head: bytes, name: bytes = b"") -> bool:
    """Whether a chunk of a WAV file begins so, not samples."""
    kind, size = head[:4], int.from_bytes(head[4:8], "little")
    return len(head) >= 8 and bool(_CHUNK.match(kind)) and (kind == name or kind in _LONG or size < _LONGEST)
