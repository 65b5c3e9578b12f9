"""Frames of a WebSocket become messages, as RFC 6455, section 5.4, has it. Pure."""

from __future__ import annotations

from struct import Struct

from websockets.frames import apply_mask  # type: ignore[attr-defined]  # in C, where that is built

_HEAD = Struct(">BBH")
_BINARY = 0x82
"""First byte of a whole binary message without extensions (RFC 6455, section 5.2)."""
MASKED, TWO_BYTES = 0x80, 126
"""In the second byte: the bit, and the length that says that two bytes of length follow."""

PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009


class Violation(Exception):
    """The client has broken the protocol; `code` closes the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Messages:
    """What one client sends, without control frames; `most`: bytes that a message may have."""

    def __init__(self, most: int) -> None:
        self.begun = False
        """A message has begun, and more of it is to come."""
        self._most = most
        self._is_text = False
        self._pieces: list[bytes] = []
        self._size = 0

    def data(self, payload: bytes, *, text: bool, fin: bool) -> bytes | str | None:
        """Take a data frame; returns the message where that was all of it."""
        if self.begun:
            raise Violation(PROTOCOL_ERROR, "a message begins within another one")
        self._is_text = text
        return self._take(payload, fin)

    def continuation(self, payload: bytes, *, fin: bool) -> bytes | str | None:
        """Take a continuation frame; returns the message where that was the last one of it."""
        if not self.begun:
            raise Violation(PROTOCOL_ERROR, "a continuation of nothing")
        return self._take(payload, fin)

    def _take(self, payload: bytes, fin: bool) -> bytes | str | None:
        self._size += len(payload)
        if self._size > self._most:
            raise Violation(TOO_BIG, f"a message of more than {self._most} bytes")
        self._pieces.append(payload)
        self.begun = not fin
        if not fin:
            return None
        message = b"".join(self._pieces)
        self._pieces.clear()
        self._size = 0
        if not self._is_text:
            return message
        try:
            return message.decode()
        except UnicodeDecodeError:
            raise Violation(INVALID_TEXT, "a text message is not UTF-8") from None


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


def answer_to_close(code: int) -> int:
    """The code that answers a client's close code, which is 0 where it gave none (RFC 6455, sections 5.5.1 and 7.4)."""
    if code == 0:
        return 1000
    return code if 1000 <= code < 5000 and code not in (1004, 1005, 1006, 1015) else PROTOCOL_ERROR
