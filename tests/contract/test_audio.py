from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import ContractError
from contract.audio import AudioFrame, decode_audio, encode_audio


@given(
    st.integers(0, 2**63),
    st.binary(max_size=2_000).filter(lambda pcm: len(pcm) % 2 == 0),
    st.booleans(),
    st.integers(1, 65_535),
)
def test_a_frame_comes_back_as_it_was(start: int, pcm: bytes, last: bool, generation: int) -> None:
    frame = AudioFrame(start, pcm, last, generation)
    assert decode_audio(encode_audio(frame)) == frame
    assert frame.end == start + len(pcm) // 2


def test_the_header_is_the_documented_one() -> None:
    data = encode_audio(AudioFrame(0x0102030405, b"\x01\x02", True, 2))
    assert data == bytes.fromhex("01 01 0200 01000000 0504030201000000 0102")
    cut = encode_audio(AudioFrame(0x0102, b"", cut=True))
    assert cut == bytes.fromhex("01 02 0100 00000000 0201000000000000")
    assert decode_audio(cut) == AudioFrame(0x0102, b"", cut=True)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"x" * 15, "15 bytes"),
        (b"\x09" + b"\0" * 15, "version 9"),
        (encode_audio(AudioFrame(0, b"\0\0")) + b"\0", "1 samples expected, 3 bytes found"),
        (encode_audio(AudioFrame(0, b"\0\0"))[:-1], "1 samples expected, 1 bytes found"),
        (encode_audio(AudioFrame(0, b"\0\0", cut=True)), "a cut has no samples and no `last`: 1 samples, flags 2"),
        (
            encode_audio(AudioFrame(0, b"", last=True, cut=True)),
            "a cut has no samples and no `last`: 0 samples, flags 3",
        ),
    ],
)
def test_an_unreadable_frame_says_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        decode_audio(data)
