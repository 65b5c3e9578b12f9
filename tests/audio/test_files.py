"""Reading and writing audio files and streams."""

import io
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio import AudioError, decode, duration, write_flac
from tests.audio.sounds import Pipe, encoded, frame, level, tone, video_only, wav

KINDS = {
    "wav": (16_000, "wav", "pcm_s16le"),
    "wav-8k-mulaw": (8_000, "wav", "pcm_mulaw"),
    "aiff": (44_100, "aiff", "pcm_s16be"),
    "flac": (44_100, "flac", "flac"),
    "mp3": (44_100, "mp3", "mp3"),
    "m4a": (48_000, "mp4", "aac"),
    "ogg-opus": (48_000, "ogg", "libopus"),
    "webm": (48_000, "webm", "libopus"),
    "mkv": (48_000, "matroska", "aac"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_audio_file_is_decoded(tmp_path: Path, kind: str) -> None:
    rate, container, codec = KINDS[kind]
    path = tmp_path / kind
    path.write_bytes(encoded(tone(2, rate=rate), rate, container, codec))
    out = np.frombuffer(b"".join(decode(path)), "<i2")
    assert len(out) / 16_000 == pytest.approx(2, abs=0.1)
    assert level(out) == pytest.approx(level(tone(2)), abs=0.6)  # some codecs pad with silence
    length = duration(path)
    assert length is None or length == pytest.approx(2, abs=0.1)


# Not m4a and aiff, whose index is behind the sound, nor mp3, whose padding is known only with the length of the file.
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"m4a", "aiff", "mp3"}))
def test_pipe_gives_the_same_as_file(kind: str) -> None:
    rate, container, codec = KINDS[kind]
    data = encoded(tone(2, rate=rate), rate, container, codec)
    piped = b"".join(decode(io.BufferedReader(Pipe(data))))
    assert piped == b"".join(decode(io.BytesIO(data)))


@pytest.mark.parametrize(("container", "codec", "most"), [("au", "pcm_s16be", 0.6), ("mp3", "mp3", 0.8)])
def test_a_live_pipe_is_decoded_soon(container: str, codec: str, most: float) -> None:
    data = encoded(tone(20, rate=48_000), 48_000, container, codec)
    pipe = Pipe(data)
    chunks = decode(io.BufferedReader(pipe))
    assert next(chunks)
    assert pipe.taken / len(data) * 20 <= most  # seconds of sound
    chunks.close()


def test_a_live_wav_is_decoded_after_the_64_kib_that_ffmpeg_analyses() -> None:
    pipe = Pipe(wav(tone(20)))
    chunks = decode(io.BufferedReader(pipe))
    assert next(chunks)
    assert pipe.taken <= 70_000
    chunks.close()


def test_audio_in_our_own_format_is_unchanged(tmp_path: Path) -> None:
    pcm = os.urandom(50_000)
    assert b"".join(decode(io.BytesIO(wav(np.frombuffer(pcm, "<i2").astype(np.int16))))) == pcm


def test_stereo_is_mixed_down() -> None:
    stereo = np.stack([tone(1), tone(1)], axis=1)
    out = np.frombuffer(b"".join(decode(io.BytesIO(wav(stereo)))), "<i2")
    assert np.abs(out - tone(1)).max() <= 1


def test_stream_is_left_open() -> None:
    stream = io.BytesIO(wav(tone(1)))
    list(decode(stream))
    assert not stream.closed


def test_memory_does_not_grow_with_length() -> None:
    def peak(seconds: float) -> int:
        stream = Pipe(wav(tone(seconds)))
        tracemalloc.start()
        for _ in decode(io.BufferedReader(stream)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1)  # whatever is allocated once
    assert peak(60) < peak(5) + 100_000


def marked(rate: int) -> NDArray[np.int16]:
    """10 s of noise, but a tone of 1 kHz from 7 to 8 s."""
    sound = np.random.default_rng(0).normal(0, 0.05, 10 * rate) * 32_767
    sound[7 * rate : 8 * rate] = tone(1, 1_000, rate)
    return sound.astype(np.int16)


def mark(pcm: bytes) -> float:
    """Where that tone begins, in seconds: the first 10 ms that consist of it."""
    frames = np.frombuffer(pcm, "<i2")[: len(pcm) // 320 * 160].reshape(-1, 160) / 32_767
    at_1_khz = np.abs(frames @ np.exp(2j * np.pi * 1_000 * np.arange(160) / 16_000)) ** 2 / 80
    return float(np.argmax(at_1_khz > 0.8 * (frames**2).sum(axis=1) + 1e-9)) / 100


@pytest.mark.parametrize("damage", [bytes, np.random.default_rng(1).bytes], ids=["zeros", "garbage"])
@pytest.mark.parametrize(
    ("kind", "tolerance"), [("wav", 0), ("flac", 0), ("mp3", 0.04), ("m4a", 0.03), ("ogg-opus", 0), ("mkv", 0.01)]
)
def test_audio_behind_damage_keeps_its_time(kind: str, tolerance: float, damage: Callable[[int], bytes]) -> None:
    rate, container, codec = KINDS[kind]
    data = bytearray(encoded(marked(rate), rate, container, codec))
    start, length = int(len(data) * 0.35), len(data) // 15
    data[start : start + length] = damage(length)
    gaps: list[tuple[float, float]] = []
    out = b"".join(decode(io.BytesIO(data), lambda *gap: gaps.append(gap)))
    assert mark(out) == pytest.approx(7, abs=tolerance)
    assert len(out) / 32_000 == pytest.approx(10, abs=0.05)
    if kind == "wav":  # has no packets that could be bad: damage is noise
        assert gaps == []
        return
    ((at, seconds),) = gaps
    assert 2.8 < at < 3.7  # damage is from 3.5 to 4.17 s; where packets lie in pages or clusters, all of these are lost
    assert 0.6 < seconds < 2.1
    silence = np.frombuffer(out, "<i2")[int((at + 0.1) * 16_000) : int((at + seconds - 0.1) * 16_000)]
    assert not silence.any()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missing_in_a_good_file(kind: str) -> None:
    rate, container, codec = KINDS[kind]
    gaps: list[float] = []
    for _ in decode(io.BytesIO(encoded(marked(rate), rate, container, codec)), lambda _at, length: gaps.append(length)):
        pass
    assert gaps == []


@pytest.mark.parametrize(("jump", "gaps"), [(5, [(2, 5), (8, 1)]), (3_600, [(3, 1)])], ids=["gap", "clock reset"])
def test_gaps_and_jumps_of_the_timestamps(jump: int, gaps: list[tuple[float, float]]) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for at in (100, 101, 102 + jump, 104 + jump):
            piece = frame(tone(1), 16_000)
            piece.pts = at * 16_000
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    found: list[tuple[float, float]] = []
    out = b"".join(decode(io.BytesIO(file.getvalue()), lambda *gap: found.append(gap)))
    assert np.array(found) == pytest.approx(np.array(gaps))
    assert len(out) == (4 + sum(length for _, length in gaps)) * 32_000


@pytest.mark.parametrize("kind", ["mp3", "ogg-opus"])
def test_nothing_is_missing_between_files_that_were_joined(kind: str) -> None:
    rate, container, codec = KINDS[kind]
    gaps: list[float] = []
    data = encoded(marked(rate), rate, container, codec) * 2
    out = b"".join(decode(io.BytesIO(data), lambda _at, length: gaps.append(length)))
    assert len(out) / 32_000 == pytest.approx(20, abs=0.1)
    assert sum(gaps) < 0.06  # the header of the second one


def test_truncated_file_gives_what_it_has() -> None:
    data = encoded(tone(4), 16_000, "flac", "flac")
    out = b"".join(decode(io.BytesIO(data[: len(data) // 2])))
    assert 1 < len(out) / 32_000 < 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an audio file"),
        (np.random.default_rng(0).bytes(50_000), "not an audio file"),
        (b"Dear diary, today nobody spoke.\n" * 100, "no audio stream"),
        (video_only(), "no audio stream"),
        (wav(np.zeros(0, np.int16)), "no sound in it"),
        (encoded(tone(1, rate=48_000), 48_000, "matroska", "aac")[:60], "not an audio file"),
    ],
    ids=["empty", "bytes", "text", "video", "no samples", "header only"],
)
def test_input_without_audio_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "input.bin"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=rf"input\.bin: {message}"):
        list(decode(path))


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"nowhere\.wav: no such file"):
        list(decode(tmp_path / "nowhere.wav"))
    with pytest.raises(AudioError, match="is a directory"):
        duration(tmp_path)


def test_a_stream_without_a_name_is_called_the_stream() -> None:
    with pytest.raises(AudioError, match="the stream: not an audio file"):
        list(decode(io.BytesIO()))


def test_playlist_opens_nothing_else(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(tone(1)))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:1,\nfile://{secret}\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match=r"list\.m3u8"):
        list(decode(playlist))


def test_fault_of_the_stream_itself_is_not_hidden() -> None:
    class Broken(Pipe):
        def readinto(self, buffer: object) -> int:
            if self.taken > 100_000:
                raise ConnectionResetError("the other side is gone")
            return super().readinto(buffer)

    with pytest.raises(ConnectionResetError, match="the other side is gone"):
        list(decode(io.BufferedReader(Broken(wav(tone(20))))))


@pytest.mark.parametrize("samples", [1, 4_095, 4_096, 100_001])
def test_flac_is_lossless(tmp_path: Path, samples: int) -> None:
    pcm = np.random.default_rng(samples).integers(-32_768, 32_768, samples, dtype="<i2").tobytes()
    write_flac(tmp_path / "sound.flac", pcm)
    assert b"".join(decode(tmp_path / "sound.flac")) == pcm
    assert duration(tmp_path / "sound.flac") == pytest.approx(samples / 16_000, abs=1e-4)


def test_same_sound_same_file(tmp_path: Path) -> None:
    pcm = np.arange(20_000, dtype="<i2").tobytes()
    for name in ("a", "b"):
        write_flac(tmp_path / name, pcm)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_audio_is_an_empty_flac_file(tmp_path: Path) -> None:
    write_flac(tmp_path / "empty.flac", b"")
    assert (tmp_path / "empty.flac").read_bytes().startswith(b"fLaC")


def test_half_a_sample_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="odd length"):
        write_flac(tmp_path / "sound.flac", b"abc")
    assert not (tmp_path / "sound.flac").exists()
