"""Sound -> a file."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from audio.samples import RATE, check_length

_SMALLEST = {"compression_level": "12"}


def write_flac(path: str | Path, pcm: bytes) -> None:
    """Write mono 16 kHz s16le as FLAC, losslessly. Raises AudioError on half a sample, OSError from the file."""
    check_length(pcm)
    with Path(path).open("wb") as file, av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16", options=_SMALLEST)
        packets = []
        if pcm:
            frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, dtype="<i2")[np.newaxis], format="s16", layout="mono")
            frame.sample_rate = RATE
            packets += stream.encode(frame)
        container.mux(packets + stream.encode(None))
