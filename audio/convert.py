"""What a live client sends -> mono 16 kHz s16le."""

from __future__ import annotations

from typing import cast

import av
import numpy as np

from audio.resample import Resampler
from audio.samples import RATE, WIDTH, AudioError, check_length

_PCM = {"pcm_s16le": ("pcm_s16le", 2), "pcm_f32le": ("pcm_f32le", 4), "mulaw": ("pcm_mulaw", 1)}
"""FFmpeg's decoder and the bytes of a sample."""

_OPUS_RATE = 48_000
"""Opus is decoded at this rate whatever the microphone's was (RFC 7845, section 5.1)."""

ENCODINGS = (*_PCM, "opus")


class Converter:
    """Stateful: push messages in order, then flush once. How the sound is cut into messages does not change the output.

    encoding: "pcm_s16le", "pcm_f32le" (full scale is 1.0), "mulaw" (G.711) or "opus" (each message is one raw packet).
    sample_rate: of what is pushed, in Hz; Opus packets carry their own. One channel.
    """

    def __init__(self, encoding: str, sample_rate: int) -> None:
        if encoding not in ENCODINGS:
            raise AudioError(f"unknown encoding {encoding!r}: one of {', '.join(ENCODINGS)}")
        codec, self._width = _PCM.get(encoding, ("libopus", 0))
        self._encoding = encoding
        self.passes = encoding == "pcm_s16le" and sample_rate == RATE
        """Whether messages of whole samples come out as they are."""
        self._decoder = cast("av.AudioCodecContext", av.CodecContext.create(codec, "r"))
        self._decoder.sample_rate = sample_rate if self._width else _OPUS_RATE
        self._decoder.layout = "mono"
        self._resampler = Resampler()

    def push(self, data: bytes) -> bytes:
        """The next message. Returns what is ready, perhaps nothing; raises AudioError for bytes that are not sound."""
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
        """What is left when no more will be pushed."""
        return self._resampler.flush()

    def _check(self, data: bytes) -> None:
        if not self._width:
            if not data:  # FFmpeg would take it for the end of the stream
                raise AudioError("not an Opus packet: 0 bytes")
            return
        check_length(data, self._width)
        if self._encoding == "pcm_f32le" and not np.isfinite(np.frombuffer(data, dtype="<f4")).all():
            raise AudioError("not a sound: a sample is infinite or not a number")
