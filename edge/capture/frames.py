"""Finds the whole binary messages in what a WebSocket client sends, without a parser. Pure."""

from __future__ import annotations

from struct import Struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C, where that is built

_HEAD = Struct(">BBH")
_BINARY = 0x82
"""First byte of a whole binary message without extensions (RFC 6455, section 5.2)."""
MASKED, TWO_BYTES = 0x80, 126
"""In the second byte: the bit, and the length that says that two bytes of length follow."""


def whole_frames(data: bytes) -> tuple[list[bytes], int]:
    """The whole binary messages of up to 65,535 bytes that a client's data begins with, where a frame begins.

    Also gives where the first frame begins that is something else, or not all there.
    """
    messages = []
    at, size = 0, len(data)
    while at + 8 <= size:
        first, second, length = _HEAD.unpack_from(data, at)
        if first != _BINARY:
            break
        begin = at + 8
        if second != MASKED | TWO_BYTES:
            begin, length = at + 6, second - MASKED
            if not 0 <= length < TWO_BYTES:  # not masked, which is an error, or longer than this is for
                break
        end = begin + length
        if end > size:
            break
        messages.append(apply_mask(data[begin:end], data[begin - 4 : begin]))
        at = end
    return messages, at
