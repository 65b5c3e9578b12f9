from pathlib import Path

import numpy as np
import pytest

from audio import AudioError, decode, duration, write_flac


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


def test_no_sound_is_an_empty_file_of_its_kind(tmp_path: Path) -> None:
    write_flac(tmp_path / "empty.flac", b"")
    assert (tmp_path / "empty.flac").read_bytes().startswith(b"fLaC")


def test_half_a_sample_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="odd length"):
        write_flac(tmp_path / "sound.flac", b"abc")
    assert not (tmp_path / "sound.flac").exists()
