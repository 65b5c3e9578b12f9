"""Sounds with a known content, and containers around them."""

import io
import struct
import wave
from collections.abc import Sequence
from fractions import Fraction
from typing import IO, Any, NamedTuple, cast

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from audio import Taken, decode


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


def float_wav(samples: NDArray[Any], rate: int = 16_000) -> bytes:
    """samples: (n,), full scale is 1."""
    data = samples.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, 4 * rate, 4, 32)
    return b"".join([b"RIFF", le32(36 + len(data)), b"WAVEfmt ", le32(16), form, b"data", le32(len(data)), data])


def le32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def encoded(samples: NDArray[np.int16], rate: int, container: str, codec: str) -> bytes:
    """samples: (n,) or (n, 2)."""
    layout = "mono" if samples.ndim == 1 else "stereo"
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = cast("av.AudioStream", output.add_stream(codec, rate=rate, layout=layout))
        output.mux(stream.encode(frame(samples.ravel(), rate, layout)))
        output.mux(stream.encode(None))
    return file.getvalue()


class Track(NamedTuple):
    samples: NDArray[np.int16]
    default: bool = False
    language: str = "und"


def movie(container: str, codec: str, tracks: Sequence[Track], late: float = 0) -> bytes:
    """Eight seconds of picture, and tracks of sound at 48 kHz that begin `late` seconds after it."""
    file = io.BytesIO()
    packets: list[av.Packet[Any]] = []
    with av.open(file, "w", format=container) as output:
        video = output.add_stream("mpeg2video" if container.startswith("mpeg") else "mpeg4", rate=25)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        streams = [cast("av.AudioStream", output.add_stream(codec, rate=48_000, layout="mono")) for _ in tracks]
        for stream, track in zip(streams, tracks, strict=True):
            stream.disposition = Disposition.default if track.default else Disposition(0)
            stream.metadata["language"] = track.language
        for index in range(200):
            image = av.VideoFrame.from_ndarray(np.full((96, 64), index, np.uint8), format="yuv420p")
            image.pts, image.time_base = index, Fraction(1, 25)
            packets += video.encode(image)
        packets += video.encode(None)
        for stream, track in zip(streams, tracks, strict=True):
            sound = frame(track.samples, 48_000)
            sound.pts, sound.time_base = round(late * 48_000), Fraction(1, 48_000)
            packets += [*stream.encode(sound), *stream.encode(None)]
        for packet in sorted(packets, key=lambda packet: float((packet.dts or 0) * (packet.time_base or 0))):
            output.mux(packet)
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


class Decoded:
    """Everything that decoding gave, of a file or of a pipe."""

    def __init__(self, data: bytes, *, pipe: bool = False, track: int | None = None, channel: str = "mix") -> None:
        self.told: list[str] = []
        self.gaps: list[tuple[float, float]] = []
        self.taken: list[Taken] = []
        source = io.BufferedReader(Pipe(data)) if pipe else io.BytesIO(data)
        chunks = decode(
            source,
            lambda *gap: self.gaps.append(gap),
            track=track,
            channel=channel,
            tell=self.told.append,
            taken=self.taken.append,
        )
        self.pcm = np.frombuffer(b"".join(chunks), "<i2")

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 16_000

    def level(self, start: float, end: float) -> float:
        """As `level`, of a part in seconds."""
        return level(self.pcm[round(start * 16_000) : round(end * 16_000)])

    def pitch(self, start: float, end: float) -> float:
        """The strongest frequency of a part, in Hz."""
        part = self.pcm[round(start * 16_000) : round(end * 16_000)].astype(np.float64)
        return float(np.argmax(np.abs(np.fft.rfft(part))) * 16_000 / len(part))
