from __future__ import annotations

from websockets.frames import Opcode

from edge.capture.frames import whole_frames
from tests.edge.raw import frame


def test_only_whole_masked_binary_messages_are_taken() -> None:
    long = bytes(65_535)
    begin = frame(Opcode.BINARY, b"") + frame(Opcode.BINARY, b"\x01" * 125) + frame(Opcode.BINARY, long)
    rests = [
        b"",
        b"\x82",
        frame(Opcode.BINARY, b"abc")[:-1],
        frame(Opcode.BINARY, b"abc", fin=False),
        frame(Opcode.BINARY, b"abc", mask=False) + bytes(8),
        frame(Opcode.BINARY, bytes(65_536)),
        frame(Opcode.TEXT, b"abc"),
        frame(Opcode.PING, b"abc"),
    ]
    for rest in rests:
        # An empty message is too short to be told from the head of a longer one, and goes the usual way.
        assert whole_frames(begin[6:] + rest) == ([b"\x01" * 125, long], len(begin) - 6)
    assert whole_frames(frame(Opcode.BINARY, b"")) == ([], 0)
