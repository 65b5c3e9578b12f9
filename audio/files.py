"""Audio files and streams: anything that FFmpeg reads, as mono 16 kHz s16le, and FLAC files from that."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np

from audio.channels import channel_choices
from audio.containers import containers, name_of, open_container, opened
from audio.convert import RATE, AudioError, check_length
from audio.decoding import Decoding, broken_file
from audio.tracks import Taken, select

_SMALLEST = {"compression_level": "12"}


def decode(
    source: str | Path | BinaryIO,
    missing: Callable[[float, float], None] = lambda _start, _seconds: None,
    *,
    track: int | None = None,
    channel: str = "mix",
    tell: Callable[[str], None] = lambda _sentence: None,
    taken: Callable[[Taken], None] = lambda _taken: None,
) -> Generator[bytes]:
    """Chunks of mono 16 kHz s16le, in constant memory.

    track: counts from 1; None is the default track, or the first one with sound if that is silent and the source can be
    seeked. channel: left, right, a number from 1 on, or mix, which leaves out channels that would cancel each other
    out. Files that were joined, also as chained Ogg or Matroska, are decoded one behind the other.

    Damage becomes silence of the length that the timestamps show (in an MP3: that its size shows), and so does the time
    before a track that begins later than the picture, so that everything behind it keeps its time. For each damage
    `missing(start, seconds)` is called, with times in the output; `tell` gets a sentence for whatever else is unusual;
    `taken` is called before the first chunk. A stream need not be seekable and is not closed. Raises AudioError, at the
    first step, if it is not audio or has no such track or channel.
    """
    name = name_of(source)
    with opened(source) as file:
        try:
            yield from Decoding(name, file, track, channel, missing, tell, taken).run()
        except AudioError:
            raise
        except ValueError as exc:
            raise AudioError(f"{name}: {exc}") from exc


def channels(path: str | Path, track: int | None = None) -> list[str]:
    """What to choose for each channel of a file, one after the other. Raises AudioError."""
    name = name_of(path)
    with opened(path) as file:
        for container in containers(name, file, lambda _sentence: None):
            try:
                for frame in container.decode(select(container, track)[0]):
                    return channel_choices(frame.layout)
            except av.FFmpegError as exc:
                raise broken_file(name, exc) from exc
            except ValueError as exc:
                raise AudioError(f"{name}: {exc}") from exc
    raise AudioError(f"{name}: no sound in it")


def duration(path: str | Path) -> float | None:
    """Length in seconds according to the file's header; None if that says nothing. Raises AudioError."""
    with opened(path) as file, open_container(str(path), file) as container:
        return None if container.duration is None else container.duration / av.time_base


def write_flac(path: str | Path, pcm: bytes) -> None:
    """Write mono 16 kHz s16le losslessly as FLAC. Raises AudioError on half a sample, OSError from the file."""
    check_length(pcm)
    with Path(path).open("wb") as file, av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16", options=_SMALLEST)
        packets = []
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, dtype="<i2")[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = RATE
            packets += stream.encode(frame)
        container.mux(packets + stream.encode(None))
