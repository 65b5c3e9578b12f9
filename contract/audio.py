"""Audio on the bus: the frame, and go-back-N on both sides of the stream. Pure.

Audio frames are the one message that is not a msgpack map, because each live job sends 33 a second.

    audio.<job>    16 bytes, little-endian, then mono s16le samples at 16 kHz
      0  u8   version, 1
      1  u8   flags: bit 0 = last, no audio comes after this frame; bit 1 = cut, see `AudioFrame`
      2  u16  generation, 1 for live audio
      4  u32  samples in this frame
      8  u64  index of the first sample

The publisher does not wait for one frame's ack before it sends the next, so frame n can be refused and n + 1 stored.
Therefore only the contiguous watermark counts, and after a refusal or silence everything from there is sent again
(`Window`). A reader may find frames repeated and out of order, and accepts only the sample that it expects next
(`Reassembler`).
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Sequence, Set
from itertools import accumulate
from typing import NamedTuple

from contract import RATE, WIDTH, ContractError

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


MAX_MESSAGES = 32
"""Messages of one job that may be under way: one second of 30 ms frames."""

MAX_BYTES = 32_768
"""Bytes of audio in them; the last message may exceed it."""

MAX_MESSAGE_BYTES = 7_680
"""Bytes of audio in one message, 240 ms: a longer one costs hardly less per second of audio, and would make readers
advance in larger steps. A single longer piece is not divided."""


Sending = tuple[int, int, bytes]
"""Its token, the index of the first sample after it, its audio."""

_NONE: Set[int] = frozenset()


class Window:
    """Unacknowledged audio of one job, in order, bounded in messages and bytes.

    Audio that is pushed together becomes one message, because the cost of a message hardly depends on its length. Each
    sending of a message has its own token, so an ack of an earlier sending says nothing about the current one. Tokens
    are consecutive after each `resend`: a message's place follows from its token. The window stores nothing that it can
    derive, because with many jobs each further object is another cache miss.
    """

    __slots__ = (
        "_early",
        "_first",
        "_max_messages",
        "_max_samples",
        "_sounds",
        "refused",
        "sent",
        "stored",
    )

    def __init__(self, start: int, max_messages: int = MAX_MESSAGES, max_bytes: int = MAX_BYTES) -> None:
        self.stored = start
        """All audio below this sample index is stored."""
        self.sent = start
        """Index of the first sample that was not pushed yet."""
        self.refused = False
        """A message was refused: the watermark stands still until `resend`."""
        self._max_messages = max_messages
        self._max_samples = max_bytes // WIDTH
        self._sounds: deque[bytes] = deque()  # of each message
        self._first = 0  # token of the oldest message
        self._early = _NONE  # tokens of messages that were stored before an earlier one

    @property
    def full(self) -> bool:
        """Whether `push` must wait."""
        return self.sent - self.stored >= self._max_samples or len(self._sounds) >= self._max_messages

    @property
    def empty(self) -> bool:
        """Whether everything that was pushed is stored."""
        return not self._sounds

    def push(self, sound: Sequence[bytes]) -> tuple[list[Sending], Sequence[bytes]]:
        """Make messages, usually one, of the next audio; also returns the pieces that there was no room for."""
        messages: list[Sending] = []
        while sound:
            room = self._max_samples - (self.sent - self.stored)
            if room <= 0 or len(self._sounds) >= self._max_messages:
                break
            pcm, rest = b"".join(sound), sound[:0]
            most = min(MAX_MESSAGE_BYTES, WIDTH * room)
            if len(pcm) > most:
                pieces = max(1, sum(total <= most for total in accumulate(map(len, sound))))
                pcm, rest = b"".join(sound[:pieces]), sound[pieces:]
            sound = rest
            if pcm:
                self.sent += len(pcm) // WIDTH
                messages.append((self._first + len(self._sounds), self.sent, pcm))
                self._sounds.append(pcm)
        return messages, sound

    def ack(self, token: int) -> bool:
        """Note that a message was stored; returns whether the watermark moved."""
        sounds = self._sounds
        if token != self._first or self.refused or not sounds:
            if not self.refused and self._first < token < self._first + len(sounds):
                self._early |= {token}
            return False
        while True:
            self.stored += len(sounds.popleft()) // WIDTH
            self._first += 1
            if not self._early or self._first not in self._early:
                return True
            self._early -= {self._first}

    def refuse(self, token: int) -> None:
        """Note that a message was refused; earlier sendings are ignored."""
        if self._first <= token < self._first + len(self._sounds):
            self.refused = True

    def mark_lost(self) -> None:
        """Note that all messages under way may have been lost."""
        self.refused = not self.empty

    def resend(self) -> list[Sending]:
        """All messages from the watermark on, with new tokens, to be published in this order."""
        self.refused = False
        self._early = _NONE
        self._first += len(self._sounds)
        ends = accumulate((len(pcm) // WIDTH for pcm in self._sounds), initial=self.stored)
        next(ends)
        return list(zip(range(self._first, self._first + len(self._sounds)), ends, self._sounds, strict=True))


class Gap(Exception):
    """The audio before `sample` is not in the stream any more; reading goes on with message `seq`."""

    def __init__(self, sample: int, seq: int) -> None:
        super().__init__(f"sound before sample {sample} is gone")
        self.sample = sample
        self.seq = seq


_MAX_AHEAD = MAX_BYTES // WIDTH
"""A frame further ahead cannot have been sent while the audio before it was unacknowledged: that audio is gone."""


class Reassembler:
    """Puts stored frames together to one contiguous stretch of samples, each taken once and in order.

    Also knows from which message on a sample can be read again.
    """

    def __init__(self, start: int) -> None:
        self.expected = start
        """The sample that comes next."""
        self._ahead: tuple[int, int] | None = None
        self._messages: deque[tuple[int, int]] = deque()  # first sample and sequence of one message per second
        self._oldest = 1  # sequence to read from while no message is remembered

    def take(self, seq: int, frame: AudioFrame) -> bytes:
        """The new samples of a stored frame; empty if it is a repeat or comes too early.

        A first frame that begins before `start` is taken whole: reading began early to warm a detector up.
        Raises Gap once it is certain that the expected sample will not come.
        """
        if frame.cut:
            return b""  # it names a sample, but says nothing about what is stored: see `cuts`
        start, expected = frame.start, self.expected
        if start < expected and not self._messages:
            expected = start
        if start > expected:
            self._ahead = self._ahead or (start, seq)
            # The end mark is only sent when all audio before it is stored.
            if frame.last or start - expected > _MAX_AHEAD:
                raise Gap(*self._ahead)
            return b""
        pcm = frame.pcm[(expected - start) * WIDTH :]
        self.expected = expected + len(pcm) // WIDTH
        if pcm:
            self._ahead = None
            if not self._messages or start - self._messages[-1][0] >= RATE:
                self._messages.append((start, seq))
        return pcm

    @property
    def gap(self) -> Gap | None:
        """Where there is audio that cannot be taken yet, because the audio before it has not come."""
        return None if self._ahead is None else Gap(*self._ahead)

    def cuts(self, frame: AudioFrame) -> bool:
        """Whether a frame requests a cut in audio that was taken; a request that comes too early is ignored."""
        return frame.cut and frame.start <= self.expected

    def skip(self, gap: Gap) -> None:
        """Go on behind a gap."""
        self.expected, self._ahead, self._oldest = gap.sample, None, gap.seq
        self._messages.clear()  # the next owner must not begin before the gap

    def sequence_of(self, sample: int) -> int:
        """Sequence of a message at most one second before this sample, or of the oldest one that is remembered."""
        found = self._messages[0][1] if self._messages else self._oldest
        for start, seq in self._messages:
            if start > sample:
                break
            found = seq
        return found

    def forget(self, sample: int) -> None:
        """Drop what `sequence_of` needs for samples before this one."""
        while len(self._messages) > 1 and self._messages[1][0] <= sample:
            self._messages.popleft()
