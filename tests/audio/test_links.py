"""Files that were joined, and WAV files whose header is wrong about their length."""

import io
import re

import numpy as np
import pytest

from audio import decode
from tests.audio.sounds import Decoded, Pipe, encoded, le32, level, tone, wav

LOW, HIGH = tone(3, 300, 48_000), tone(3, 700, 24_000)
STEREO = np.stack([HIGH, HIGH], axis=1)
KINDS = [
    ("ogg", "libopus"),
    ("webm", "libopus"),
    ("matroska", "aac"),
    ("wav", "pcm_s16le"),
    ("flac", "flac"),
    ("aiff", "pcm_s16be"),
    ("mp3", "mp3"),
]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(("container", "codec"), KINDS)
def test_rate_and_channels_may_change_where_files_were_joined(container: str, codec: str, pipe: bool) -> None:
    files = [encoded(LOW, 48_000, container, codec), encoded(STEREO, 24_000, container, codec)]
    out = Decoded(files[0] + files[1] + files[0], pipe=pipe)
    assert out.seconds == pytest.approx(9, abs=0.2)
    for at, hz in ((0, 300), (3, 700), (6, 300)):
        assert out.pitch(at + 0.5, at + 2.5) == pytest.approx(hz, abs=1)
    if container != "mp3":  # has no header that would say where a file begins
        assert out.told == ["it consists of 3 files that were joined: all were taken"]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(("container", "codec"), [("ogg", "libopus"), ("matroska", "aac")])
def test_a_file_may_be_joined_to_one_that_was_cut_off(container: str, codec: str, pipe: bool) -> None:
    files = [encoded(LOW, 48_000, container, codec), encoded(STEREO, 24_000, container, codec)]
    out = Decoded(files[0][: int(0.9 * len(files[0]))] + files[1], pipe=pipe)
    assert out.pitch(0.2, 1.2) == pytest.approx(300, abs=2)
    assert out.pitch(out.seconds - 2.5, out.seconds - 0.5) == pytest.approx(700, abs=2)
    assert out.told[-1] == "it consists of 2 files that were joined: all were taken"
    assert ("the file, or a part of it, is cut off: its last page is not complete" in out.told) == (container == "ogg")


def test_an_ogg_file_that_was_cut_off_is_told() -> None:
    data = encoded(LOW, 48_000, "ogg", "libopus")
    told = "the file, or a part of it, is cut off: its last page is not complete"
    assert Decoded(data[: len(data) // 2]).told == [told]


def test_a_part_that_cannot_be_read_is_told() -> None:
    good = encoded(LOW, 48_000, "ogg", "libopus")
    bad = bytearray(good)
    bad[28:36] = b"nonsense"  # instead of OpusHead
    out = Decoded(good + bytes(bad) + good)
    assert out.seconds == pytest.approx(6, abs=0.1)
    assert any(told.startswith("part 2 of the file was left out: ") for told in out.told)


SOUND = wav(tone(10))


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("promised", [160_000, 80_001, 2, 0])
def test_a_wav_header_that_promises_too_little_is_not_believed(promised: int, pipe: bool) -> None:
    out = Decoded(SOUND[:40] + le32(promised) + SOUND[44:], pipe=pipe)
    assert out.pcm.tolist() == tone(10).tolist()
    seconds = f"{promised / 32_000:.1f}"
    assert out.told == [f"the header of the file promises {seconds} s, but there are 10.0 s: all were taken"]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("promised", [480_008, 20_001, 8, 0])
def test_an_aiff_header_that_promises_too_little_is_not_believed(promised: int, pipe: bool) -> None:
    data = encoded(tone(10, rate=48_000), 48_000, "aiff", "pcm_s16be")
    at = data.index(b"SSND") + 4
    out = Decoded(data[:at] + promised.to_bytes(4) + data[at + 4 :], pipe=pipe)
    assert out.seconds == 10
    assert out.level(0, 10) == pytest.approx(level(tone(10)), abs=0.1)
    (told,) = out.told
    assert told == f"the header of the file promises {promised / 96_000:.1f} s, but there are 10.0 s: all were taken"


@pytest.mark.parametrize("pipe", [False, True])
def test_a_wav_file_that_was_cut_off_is_told(pipe: bool) -> None:
    out = Decoded(SOUND[: 44 + 160_000], pipe=pipe)
    assert out.pcm.tolist() == tone(10)[:80_000].tolist()
    assert out.told == ["the file is cut off: its header promises 10.0 s, and 5.0 s are there"]


@pytest.mark.parametrize(("container", "codec"), [("flac", "flac"), ("matroska", "aac"), ("aiff", "pcm_s16be")])
def test_other_files_that_were_cut_off_are_told(container: str, codec: str) -> None:
    data = encoded(tone(10, rate=48_000), 48_000, container, codec)
    out = Decoded(data[: len(data) // 2])
    assert out.told[0].startswith("the file is cut off: its header promises 10.0 s, and ")
    assert 3 < out.seconds < 7


@pytest.mark.parametrize("promised", [0xFFFFFFFF, 0x7FFFFFFF, 0x80000000])
def test_a_wav_header_that_does_not_know_the_length_is_nothing_unusual(promised: int) -> None:
    out = Decoded(SOUND[:40] + le32(promised) + SOUND[44:], pipe=True)
    assert out.pcm.tolist() == tone(10).tolist()
    assert out.told == []


@pytest.mark.parametrize("tag", [b"LIST" + le32(4) + b"INFO", b"id3 " + le32(5) + b"ID3\4\0\0" + bytes(100), b"\0\n"])
def test_tags_behind_the_samples_are_no_sound(tag: bytes) -> None:
    out = Decoded(SOUND + tag)
    assert out.pcm.tolist() == tone(10).tolist()
    assert out.told == []


def test_a_wav_file_longer_than_4_gib_by_its_header_is_read() -> None:
    head = b"RF64" + le32(0xFFFFFFFF) + b"WAVEds64" + le32(28) + bytes(8) + (320_000).to_bytes(8, "little") + bytes(12)
    out = Decoded(head + SOUND[12:40] + le32(0xFFFFFFFF) + SOUND[44:] + b"LIST" + le32(4) + b"INFO")
    assert out.pcm.tolist() == tone(10).tolist()
    assert out.told == []


@pytest.mark.parametrize(("container", "codec"), [("caf", "pcm_s16be"), ("mp4", "aac")])
def test_what_is_not_used_behind_the_sound_is_told(container: str, codec: str) -> None:
    data = encoded(np.tile(LOW, 4), 48_000, container, codec)
    (told,) = Decoded(data + data).told
    assert re.fullmatch(r"5\d% of the file, behind the last sound, was not used", told)


def test_another_file_behind_an_mp3_is_told() -> None:
    mp3 = encoded(LOW, 48_000, "mp3", "mp3")
    (told,) = Decoded(mp3 + SOUND).told
    assert re.fullmatch(r"\d\d% of the file, behind the last sound, was not used", told)


def test_a_joined_file_is_decoded_as_it_comes() -> None:
    data = encoded(tone(20, rate=48_000), 48_000, "ogg", "libopus")
    pipe = Pipe(data + data)
    chunks = decode(io.BufferedReader(pipe))
    assert next(chunks)
    assert pipe.taken < len(data)
    chunks.close()
