"""Audio frames: the one message that is not a msgpack map, because each live job sends 33 a second.

    audio.<job>    16 bytes, little-endian, then mono s16le samples at 16 kHz
      0  u8   version, 1
      1  u8   flags: bit 0 = last, no audio comes after this frame; bit 1 = cut, see `AudioFrame`
      2  u16  generation, 1 for live audio
      4  u32  samples in this frame
      8  u64  index of the first sample

A frame may be stored twice, and one may be missing before it because the stream refused that at first; a reader
accepts only the sample that it expects next.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from contract import WIDTH, ContractError

_HEADER = struct.Struct("<BBHIQ")
_VERSION = 1
_LAST, _CUT = 1, 2
_PLAIN = bytes((_VERSION, 0))

MAX_SAMPLES = 16_000
"""The longest frame is one second, as is the longest message of a client."""


class AudioFrame(NamedTuple):
    """A stretch of audio as it arrived. `last` ends the job's audio.

    `cut`, without samples, asks to end the open segment: at `start` if no audio came after it, else only if nobody has
    spoken since `start`. It is part of the audio so that every reader cuts in the same place.
    """

    start: int
    pcm: bytes
    last: bool = False
    generation: int = 1
    cut: bool = False

    @property
    def end(self) -> int:
        """Index of the first sample after this frame."""
        return self.start + len(self.pcm) // WIDTH


def audio_subject(job: str) -> str:
    """Where the audio of a job is published."""
    return f"audio.{job}"


def feed_subject(job: str) -> str:
    """Where the stream republishes the frames of a job that it has stored."""
    return f"feed.{job}"


def is_sound(data: bytes) -> bool:
    """Whether a valid frame has no flags: it is only audio, or a claim."""
    return data.startswith(_PLAIN)


def encode_header(start: int, pcm: bytes, generation: int) -> bytes:
    """The header of a frame without flags, as `encode_audio` writes it."""
    return _HEADER.pack(_VERSION, 0, generation, len(pcm) // WIDTH, start)


def encode_audio(frame: AudioFrame) -> bytes:
    """Header and samples in one bytes object."""
    flags = (_LAST if frame.last else 0) | (_CUT if frame.cut else 0)
    return _HEADER.pack(_VERSION, flags, frame.generation, len(frame.pcm) // WIDTH, frame.start) + frame.pcm


def decode_audio(data: bytes) -> AudioFrame:
    """Read a frame; raises ContractError if the header contradicts itself or the length."""
    if len(data) < _HEADER.size:
        raise ContractError(f"not an audio frame: {len(data)} bytes, the header alone has {_HEADER.size}")
    version, flags, generation, samples, start = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise ContractError(f"not an audio frame: version {version}, known is {_VERSION}")
    if (size := len(data) - _HEADER.size) != samples * WIDTH:
        raise ContractError(f"not an audio frame: {samples} samples expected, {size} bytes found")
    if flags & _CUT and (samples or flags & _LAST):
        raise ContractError(f"not an audio frame: a cut has no samples and no `last`: {samples} samples, flags {flags}")
    return AudioFrame(start, data[_HEADER.size :], bool(flags & _LAST), generation, bool(flags & _CUT))


def read_audio(data: bytes) -> AudioFrame | None:
    """Read a frame; None for bytes that are not one: anyone may publish on a subject."""
    try:
        return decode_audio(data)
    except ContractError:
        return None
