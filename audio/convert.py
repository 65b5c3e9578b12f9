"""Live audio in any of the accepted encodings to mono 16 kHz s16le, the only format behind this package."""

from __future__ import annotations

from typing import cast

import av
import numpy as np
from numpy.typing import NDArray

from audio.channels import Mixer

RATE = 16_000
"""Samples per second."""

WIDTH = 2
"""Bytes per sample."""

_PCM = {"pcm_s16le": ("pcm_s16le", 2), "pcm_f32le": ("pcm_f32le", 4), "mulaw": ("pcm_mulaw", 1)}
"""FFmpeg's decoder, and bytes per sample."""

_OPUS_RATE = 48_000
"""Opus is decoded at this rate whatever the rate of the microphone was (RFC 7845, section 5.1)."""

ENCODINGS = (*_PCM, "opus")

# libswresample with a filter twice as long as its default. Measured from 44.1 and 48 kHz: flat within 0.01 dB to 7 kHz,
# aliases below -88 dB (default: -19 dB at 8.3 kHz), 2 ms delay. soxr has 36-116 ms delay, too much for live audio.
_FILTER = {"filter_size": "64", "phase_shift": "12", "cutoff": "0.95"}


class AudioError(ValueError):
    """Audio that cannot be read; the message says which and why."""


def check_length(data: bytes, width: int = WIDTH) -> None:
    """Raise AudioError unless the bytes are a whole number of samples of `width` bytes."""
    if len(data) % width:
        raise AudioError(f"odd length: {len(data)} bytes are not a whole number of {8 * width}-bit samples")


def to_float32(pcm: bytes) -> NDArray[np.float32]:
    """Convert s16le to a vector in [-1, 1), as speech engines expect it. Raises AudioError on half a sample."""
    check_length(pcm)
    return np.frombuffer(pcm, dtype="<i2").astype(np.float32) / np.float32(32_768)


class Resampler:
    """Decoded frames of any format to mono 16 kHz s16le."""

    def __init__(self, mixer: Mixer | None = None) -> None:
        self._mixer = mixer or Mixer()
        self._input: tuple[str, int] | None = None
        self._swr: av.AudioResampler | None = None

    def push(self, frame: av.AudioFrame) -> bytes:
        """Take the next frame. Its format may differ from the one before, as in chained streams."""
        frame = self._mixer.mono(frame)
        kind = (frame.format.name, frame.sample_rate)
        done = b""
        if kind != self._input:
            done = self.flush()
            self._input = kind
            self._swr = av.AudioResampler("s16", "mono", RATE, options=_FILTER)
        frame.pts = None  # otherwise libswresample would insert or drop samples to match the timestamps
        return done + self._run(frame)

    def flush(self) -> bytes:
        """Return what is left in the filter; the next frame starts from silence."""
        rest = self._run(None)
        self._input = self._swr = None
        return rest

    def _run(self, frame: av.AudioFrame | None) -> bytes:
        if self._swr is None:
            return b""
        # A plane may be padded behind its samples.
        return b"".join(bytes(out.planes[0])[: out.samples * WIDTH] for out in self._swr.resample(frame))


class Converter:
    """Converts a stream: push all messages in order, then flush. How it is split into messages does not matter.

    encoding: "pcm_s16le", "pcm_f32le" (full scale is 1.0), "mulaw" (G.711) or "opus" (each message is one raw packet).
    sample_rate: of the input, in Hz; ignored for Opus. One channel.
    """

    def __init__(self, encoding: str, sample_rate: int) -> None:
        if encoding not in ENCODINGS:
            raise AudioError(f"unknown encoding {encoding!r}: one of {', '.join(ENCODINGS)}")
        codec, self._width = _PCM.get(encoding, ("libopus", 0))
        self._encoding = encoding
        self.passes = encoding == "pcm_s16le" and sample_rate == RATE
        """Whether messages of whole samples are returned unchanged."""
        self._decoder = cast("av.AudioCodecContext", av.CodecContext.create(codec, "r"))
        self._decoder.sample_rate = sample_rate if self._width else _OPUS_RATE
        self._decoder.layout = "mono"
        self._resampler = Resampler()

    def push(self, data: bytes) -> bytes:
        """Take the next message. Returns what is ready, possibly nothing; raises AudioError if it is not audio."""
        if self.passes and not len(data) % WIDTH:  # nothing else can be wrong with it
            return data
        self._check(data)
        if not data:
            return data
        try:
            frames = self._decoder.decode(av.Packet(data))
        except av.InvalidDataError as exc:
            raise AudioError(f"not an Opus packet: {len(data)} bytes") from exc
        return b"".join(self._resampler.push(frame) for frame in frames)

    def flush(self) -> bytes:
        """Return what is left, after the last message."""
        return self._resampler.flush()

    def _check(self, data: bytes) -> None:
        if not self._width:
            if not data:  # FFmpeg would take it as the end of the stream
                raise AudioError("not an Opus packet: 0 bytes")
            return
        check_length(data, self._width)
        if self._encoding == "pcm_f32le" and not np.isfinite(np.frombuffer(data, dtype="<f4")).all():
            raise AudioError("not a sound: a sample is infinite or not a number")
