"""Sounds with a known content, and containers around them."""

import io
import wave
from typing import IO, Any, cast

import av
import numpy as np
from numpy.typing import NDArray


def tone(seconds: float, hz: float = 440, rate: int = 16_000, peak: float = 0.5) -> NDArray[np.int16]:
    time = np.arange(round(seconds * rate)) / rate
    return np.rint(peak * 32_767 * np.sin(2 * np.pi * hz * time)).astype(np.int16)


def level(samples: NDArray[Any]) -> float:
    """Power in dB relative to a full-scale sine. The ends, where a filter settles, are left out."""
    inner = samples[800:-800].astype(np.float64) / 32_767
    return float(10 * np.log10(np.mean(inner**2) * 2 + 1e-12))


def wav(samples: NDArray[np.int16], rate: int = 16_000) -> bytes:
    """samples: (n,) or (n, channels)."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def encoded(samples: NDArray[np.int16], rate: int, container: str, codec: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast("av.AudioStream", output.add_stream(codec, rate=rate, layout="mono"))
        output.mux(stream.encode(frame(samples, rate)))
        output.mux(stream.encode(None))
    return file.getvalue()


def video_only() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((96, 64), np.uint8), format="yuv420p")))
        output.mux(stream.encode(None))
    return file.getvalue()


def frame(samples: NDArray[Any], rate: int, layout: str = "mono") -> av.AudioFrame:
    """samples: (n,), or interleaved for more channels; int16 or float32."""
    kind = "s16" if samples.dtype == np.int16 else "flt"
    made = av.AudioFrame.from_ndarray(samples[np.newaxis], format=kind, layout=layout)
    made.sample_rate = rate
    return made


def opus_packets(samples: NDArray[np.int16], rate: int = 48_000) -> list[bytes]:
    """20 ms of sound each."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = rate, "mono", "s16"
    return [bytes(packet) for packet in (*encoder.encode(frame(samples, rate)), *encoder.encode(None))]


class Pipe(io.RawIOBase):
    """What a process reads from a pipe: not seekable, in pieces. Counts what has been taken."""

    def __init__(self, data: bytes, piece: int = 1_000) -> None:
        self._data: IO[bytes] = io.BytesIO(data)
        self._piece = piece
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._data.read(min(len(buffer), self._piece))
        buffer[: len(data)] = data
        self.taken += len(data)
        return len(data)
