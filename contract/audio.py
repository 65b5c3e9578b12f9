"""Audio frames: the one message that is not a msgpack map, because there are 33 a second for each live job.

    audio.<job>    16 bytes, little-endian, then mono s16le samples at 16 kHz
      0  u8   version, 1
      1  u8   flags: bit 0 = last, no audio comes after this frame; bit 1 = cut, see `AudioFrame`
      2  u16  generation: 1 for live audio; a repeat of a stored job counts up
      4  u32  samples in this frame
      8  u64  index of the first sample

A publisher may send a frame again, and with a frame refused in between; a reader takes only the sample it expects next.
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
"""Longest frame, one second: what one WebSocket message may hold."""


class AudioFrame(NamedTuple):
    """A stretch of sound as it arrived. `last` closes the job's audio, in band.

    `cut`, with no samples, asks for the open segment to end: at `start` if no sound came since, else only where nobody
    has spoken since `start`. It is in band so that whoever reads the audio again cuts it in the same place.
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
    """Where the stream tells what it has stored of a job's audio."""
    return f"feed.{job}"


def is_sound(data: bytes) -> bool:
    """Whether a frame that is valid is sound and nothing else: it does not ask for anything."""
    return data.startswith(_PLAIN)


def encode_header(start: int, pcm: bytes, generation: int) -> bytes:
    """What comes before the sound in a frame that is nothing but sound, as `encode_audio` has it."""
    return _HEADER.pack(_VERSION, 0, generation, len(pcm) // WIDTH, start)


def encode_audio(frame: AudioFrame) -> bytes:
    """Header and samples in one bytes object."""
    flags = (_LAST if frame.last else 0) | (_CUT if frame.cut else 0)
    return _HEADER.pack(_VERSION, flags, frame.generation, len(frame.pcm) // WIDTH, frame.start) + frame.pcm


def decode_audio(data: bytes) -> AudioFrame:
    """Read a frame; raises ContractError where the header does not agree with itself or with the length."""
    if len(data) < _HEADER.size:
        raise ContractError(f"not an audio frame: {len(data)} bytes, the header alone has {_HEADER.size}")
    version, flags, generation, samples, start = _HEADER.unpack_from(data)
    if version != _VERSION:
        raise ContractError(f"not an audio frame: version {version}, known is {_VERSION}")
    if len(data) - _HEADER.size != samples * WIDTH:
        raise ContractError(f"not an audio frame: {samples} samples said, {len(data) - _HEADER.size} bytes present")
    if flags & _CUT and (samples or flags & _LAST):
        raise ContractError(f"not an audio frame: a cut is neither sound nor its end: {samples} samples, flags {flags}")
    return AudioFrame(start, data[_HEADER.size :], bool(flags & _LAST), generation, bool(flags & _CUT))


def read_audio(data: bytes) -> AudioFrame | None:
    """The frame, or None for bytes that are none: anybody may publish on a subject."""
    try:
        return decode_audio(data)
    except ContractError:
        return None
