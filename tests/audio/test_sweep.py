"""Everything that PyAV can write, at many rates and with many channels, cut off, with junk in front, and as a pipe.

Each file gives its sound or one clear sentence, and no silence of which nobody is told.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from itertools import product
from typing import Any

import av
import numpy as np
import pytest
from av.format import formats_available

from audio import AudioError
from tests.audio.sounds import Decoded, tone

pytestmark = pytest.mark.slow

RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
SECONDS = 1.5

NO_FILES = (
    {"alsa", "oss", "pulse", "fbdev", "xv", "opengl", "sdl", "sdl2", "caca", "rtp", "rtsp", "sap", "rtp_mpegts"}
    | {
        "hls",
        "dash",
        "hds",
        "smoothstreaming",
        "segment",
        "stream_segment",
        "ssegment",
        "tee",
        "fifo",
        "whip",
        "image2",
    }
    | {"null", "md5", "crc", "hash", "framecrc", "framehash", "framemd5", "streamhash"}
)
"""Devices, networks, several files, and sums."""

WRONG = {
    ("asf", "flac"): "FFmpeg reads a wrong time for its second packet",
    ("wtv", "flac"): "FFmpeg reads a wrong time for its second packet",
    ("flv", "pcm_alaw"): "the header has no such rate",
    ("flv", "pcm_mulaw"): "the header has no such rate",
    ("flv", "pcm_s16be"): "the header has no such rate",
    ("flv", "pcm_s16le"): "the header has no such rate",
    ("flv", "pcm_u8"): "the header has no such rate",
    ("nut", "comfortnoise"): "no sound, but its description",
}
"""Container and codec whose file is written or read wrongly by FFmpeg itself."""


def encoders() -> dict[str, av.Codec]:
    found = {}
    for name in sorted(av.codecs_available):
        try:
            codec = av.Codec(name, "w")
        except ValueError:
            continue
        if codec.type == "audio":
            found[codec.name] = codec
    return found


ENCODERS = encoders()


def formats() -> Iterator[str]:
    for name in sorted(formats_available - NO_FILES):
        if av.ContainerFormat(name).is_output and any(codecs_of(name)):
            yield name


def codecs_of(name: str) -> Iterator[str]:
    try:
        with av.open(io.BytesIO(), "w", format=name) as output:
            names = {*output.supported_codecs, output.default_audio_codec}
    except (av.FFmpegError, ValueError):
        return
    for encoder in ENCODERS.values():
        if names & {encoder.name, encoder.canonical_name}:
            yield encoder.name


def made(container: str, codec: str, rate: int, layout: str) -> bytes | None:
    """A tone of 440 Hz on each channel; None if container or codec do not allow it."""
    file = io.BytesIO()
    try:
        with av.open(file, "w", format=container) as output:
            stream: Any = output.add_stream(codec, rate=rate, layout=layout)
            count = av.AudioLayout(layout).nb_channels
            sound = np.repeat(tone(SECONDS, 440, rate), count)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(sound, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                output.mux(packet)
    except (av.FFmpegError, ValueError):
        return None
    data = file.getvalue()
    return data if len(data) > 500 else None


def decoded(data: bytes, *, pipe: bool) -> Decoded | None:
    """What it gives, None for a refusal; both are checked for what holds whatever the data are."""
    refusal, out = "", None
    try:
        out = Decoded(data, pipe=pipe)
    except AudioError as exc:
        refusal = str(exc)
    if out is None:
        assert re.fullmatch("the stream: .{10,}", refusal)
        return None
    told = " ".join(out.told)
    known = [(at, at + length) for at, length in out.gaps]
    if "after the start of the file: silence was put before it" in told:
        known.append((0, float(told.split("begins ")[1].split(" s")[0])))
    blocks = out.pcm[: len(out.pcm) // 1_600 * 1_600].reshape(-1, 1_600)
    for at in np.flatnonzero(~blocks[:-1].any(axis=1)) / 10:  # digital silence, but that of the end of the last packet
        covered = any(start - 0.1 <= at <= end for start, end in known)
        assert covered or "silent from the beginning to the end" in told, f"silence at {at} s: {out.told} {out.gaps}"
    return out


def is_right(out: Decoded | None) -> bool:
    """Some encoders pad their last block, and some leave out a channel, which makes the mean quieter."""
    if out is None or not SECONDS - 0.2 < out.seconds < SECONDS + 0.4 or out.told or out.gaps:
        return False
    return abs(out.pitch(0.2, 1.2) - 440) < 5 and -13 < out.level(0.2, 1.2) < -4


@pytest.mark.parametrize("container", list(formats()))
def test_every_container_and_codec(container: str) -> None:
    junk = np.random.default_rng(0).bytes(1_000)
    written = 0
    for codec in codecs_of(container):
        data = next(filter(None, (made(container, codec, *kind) for kind in KINDS)), None)
        if data is None:
            continue
        written += 1
        whole = {pipe: decoded(data, pipe=pipe) for pipe in (False, True)}
        assert (whole[False] is None) == (whole[True] is None), f"{codec}: a pipe is not read as the file is"
        if whole[False] is not None and (container, codec) not in WRONG:
            assert all(map(is_right, whole.values())), codec
        for part, pipe in product((0.25, 0.5, 0.9), (False, True)):
            cut = decoded(data[: int(part * len(data))], pipe=pipe)
            assert cut is None or cut.seconds < SECONDS + 0.2 or cut.told or (container, codec) in WRONG, codec
        decoded(junk + data, pipe=bool(written % 2))


KINDS = ((48_000, "stereo"), (16_000, "mono"), (8_000, "mono"))


@pytest.mark.parametrize("codec", sorted({*ENCODERS} - {"comfortnoise", "anull"}))
def test_every_rate_and_number_of_channels(codec: str) -> None:
    for container in ("matroska", "wav", "nut", "mov", "ogg", "caf"):
        if codec in codecs_of(container):
            break
    else:
        return
    for rate, layout in product(RATES, LAYOUTS):
        if (data := made(container, codec, rate, layout)) is not None:
            assert is_right(decoded(data, pipe=False)), (container, rate, layout)
