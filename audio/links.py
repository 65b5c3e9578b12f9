"""Files that consist of several, one behind the other, and WAV and AIFF files whose header is wrong about their length.

FFmpeg reads the first part of a chained Ogg or Matroska file, or of joined WAV, AIFF or FLAC files. It drops or
misreads what follows where rate, channels or codec differ. Here a source is split into its parts before FFmpeg sees it.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Generator, Iterator
from typing import BinaryIO, Literal, NamedTuple

_PIECE = 65_536
_UNKNOWN = 0xFFFFFFFF
_ENDLESS = 0x7FFF0000
"""A program that writes a file into a pipe does not know its length, and promises at least so many bytes."""

_TAIL = 256
"""Bytes. Fewer behind the samples are no sound."""

_LONGEST = 1 << 24
"""Bytes of any other chunk. What looks like a longer one is sound."""

# RFC 3533: a page starts so; then version, flags (2: first page of a stream), and from byte 26 on the segment table.
_OGG = b"OggS"
_OGG_HEAD = 27
_OGG_FIRST = 2

# RFC 8794 and RFC 9559: identifiers of elements.
_EBML = 0x1A45DFA3
_SEGMENT = 0x18538067
_MATROSKA = re.compile(rb"(?s)\x1a\x45\xdf\xa3.{1,8}?\x42\x86\x81\x01")
"""How a file begins: the header and its version, which is 1."""
_MATROSKA_HEAD = 16

# RFC 9639: the marker and the header of the first block of metadata, which has 34 bytes.
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_FLAC_HEAD = 8

# AIFF allows the description of the samples behind them: FFmpeg then has to seek.
_COMM_FIRST = re.compile(rb"(?s)(?:(?!SSND).)*COMM")
_HEADER = 4_096

_CHUNK = re.compile(rb"[A-Za-z_][A-Za-z0-9_ ]{3}")


class _Form(NamedTuple):
    """A kind of file that consists of chunks: four letters, a length and that many bytes."""

    order: Literal["little", "big"]
    begins: tuple[bytes, ...]
    samples: bytes
    """The letters of the chunk of samples."""
    endless: bytes
    """The length that FFmpeg takes for unknown."""

    def number(self, data: bytes) -> int:
        """A length, or another number of four or eight bytes."""
        return int.from_bytes(data, self.order)


_WAV = _Form("little", (b"RIFF", b"RF64", b"BW64"), b"data", b"\xff\xff\xff\xff")
_AIFF = _Form("big", (b"FORM",), b"SSND", b"\x7f\xff\xff\xff")


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
        pieces = _ogg(source, tell)
    elif head[:4] in _WAV.begins and head[8:] == b"WAVE":
        pieces = _forms(source, _WAV, tell)
    elif head[:4] in _AIFF.begins and head[8:] in (b"AIFF", b"AIFC") and _COMM_FIRST.match(source.peek(_HEADER)):
        pieces = _forms(source, _AIFF, tell)
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


def _ogg(source: Source, tell: Callable[[str], None]) -> Iterator[bytes | None]:
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
        size = _OGG_HEAD + head[26] + sum(table)
        page = source.peek(size)
        inside = page.find(_OGG, 1)
        if inside > 0 and (len(page) < size or source.peek(size + len(_OGG))[size:] not in (b"", _OGG)):
            page = page[:inside]
        if len(page) < size:
            tell("the file, or a part of it, is cut off: its last page is not complete")
        yield source.take(len(page))


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
        while length and source.peek(1):
            cut_off = _MATROSKA.search(source.ahead[: length + _MATROSKA_HEAD])
            if cut_off and not cut_off.start():
                break
            # The last bytes might be the beginning of the mark.
            size = cut_off.start() if cut_off else max(1, len(source.ahead) - _MATROSKA_HEAD)
            piece = source.take(min(size, length))
            length -= len(piece)
            yield piece


def _width(byte: int, most: int) -> int:
    """Bytes of a number of variable length that begins so; 0 if none does."""
    width = 9 - byte.bit_length()
    return width if width <= most else 0


def _forms(source: Source, kind: _Form, tell: Callable[[str], None]) -> Iterator[bytes | None]:
    """The file with a length that FFmpeg takes for unknown; None before each further file."""
    first = True
    while head := source.peek(12):
        if not first:
            yield None
        first = False
        source.take(12)
        yield kind.begins[0] + kind.endless + head[8:]
        bytes_a_second, long = yield from _header(source, kind)
        if not _is_chunk(source.peek(8), kind):
            yield from iter(lambda: source.some(_PIECE), b"")
            return
        yield from _samples(source, kind, bytes_a_second, long, tell)


def _header(source: Source, kind: _Form) -> Generator[bytes, None, tuple[float, int]]:
    """Chunks before the samples; returns bytes a second, and the length of the samples if RF64 gives one, else 0."""
    bytes_a_second, long = 1.0, 0
    while _is_chunk(head := source.peek(8), kind) and head[:4] != kind.samples:
        size = kind.number(head[4:])
        if head[:4] == b"fmt " and size >= 12:
            bytes_a_second = max(1, kind.number(source.peek(20)[16:]))
        elif head[:4] == b"COMM" and size >= 18:
            channels, _, bits, exponent, mantissa = struct.unpack(">hLhHQ", source.peek(26)[8:])
            rate = math.ldexp(mantissa, exponent - 16_383 - 63)  # an 80-bit float
            bytes_a_second = max(1, channels * (bits + 7) // 8 * rate)
        elif head[:4] == b"ds64" and size >= 16:
            long = kind.number(source.peek(24)[16:])
        size += 8 + size % 2
        while size and (piece := source.some(size)):
            size -= len(piece)
            yield piece
    return bytes_a_second, long


def _samples(
    source: Source, kind: _Form, bytes_a_second: float, long: int, tell: Callable[[str], None]
) -> Iterator[bytes]:
    """The chunk of samples and, if the header promises too little, what follows; tags behind it are dropped."""
    promised = kind.number(source.take(8)[4:])
    yield kind.samples + kind.endless
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
    if promised % 2 and (head := source.peek(9))[:1] == b"\0" and (len(head) == 1 or _is_chunk(head[1:], kind)):
        source.take(1)
    while _is_chunk(head := source.peek(12), kind) and head[:4] not in kind.begins:
        size = kind.number(source.take(8)[4:])
        is_sound = head[:4] == kind.samples
        size += size % 2
        while size and (piece := source.some(size)):
            size -= len(piece)
            if is_sound:
                yield piece
    if head[:4] in kind.begins:
        return
    if len(source.peek(_TAIL)) < _TAIL:
        source.take(_TAIL)
        return
    while piece := source.some(_PIECE):
        got += len(piece)
        yield piece
    lengths = f"{promised / bytes_a_second:.1f} s, but there are {got / bytes_a_second:.1f} s"
    tell(f"the header of the file promises {lengths}: all were taken")


def _is_chunk(head: bytes, kind: _Form) -> bool:
    """Whether a chunk begins so, not samples."""
    if len(head) < 8 or not _CHUNK.match(head):
        return False
    return head[:4] in (*kind.begins, kind.samples) or kind.number(head[4:8]) < _LONGEST
