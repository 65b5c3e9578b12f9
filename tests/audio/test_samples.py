import numpy as np
import pytest

from audio import AudioError, to_float32


def test_full_scale_is_one() -> None:
    pcm = np.array([0, 16_384, -32_768, 32_767], "<i2").tobytes()
    vector = to_float32(pcm)
    assert vector.dtype == np.float32
    assert vector.tolist() == [0.0, 0.5, -1.0, 32_767 / 32_768]


def test_nothing_is_nothing() -> None:
    assert to_float32(b"").shape == (0,)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="odd length: 3 bytes are not a whole number of 16-bit samples"):
        to_float32(b"abc")
