import numpy as np
import pytest
from numpy.typing import NDArray

from audio.resample import Resampler
from tests.audio.sounds import frame, level, tone


def resampled(samples: NDArray[np.int16], rate: int, layout: str = "mono") -> NDArray[np.int16]:
    resampler = Resampler()
    return np.frombuffer(resampler.push(frame(samples, rate, layout)) + resampler.flush(), "<i2")


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("hz", [100, 1_000, 3_500])
def test_speech_band_keeps_its_level_and_length(rate: int, hz: int) -> None:
    out = resampled(tone(1, hz, rate), rate)
    assert len(out) == 16_000
    assert level(out) == pytest.approx(level(tone(1, hz)), abs=0.05)


def test_band_is_flat_up_to_7_khz() -> None:
    assert level(resampled(tone(1, 7_000, 48_000), 48_000)) == pytest.approx(level(tone(1)), abs=0.05)


@pytest.mark.parametrize("hz", [8_400, 9_000, 12_000, 20_000])
def test_what_16_khz_cannot_hold_is_removed(hz: int) -> None:
    assert level(resampled(tone(1, hz, 48_000), 48_000)) < -80


def test_channels_are_averaged() -> None:
    left, right = tone(1, 440, peak=0.9), np.zeros(16_000, np.int16)
    out = resampled(np.stack([left, right], axis=1).ravel(), 16_000, "stereo")
    assert level(out) == pytest.approx(level(left) - 6.02, abs=0.05)


def test_output_is_close_behind_input() -> None:
    resampler = Resampler()
    out = resampler.push(frame(tone(0.03, rate=48_000), 48_000))
    assert len(out) // 2 >= 480 - 48  # 3 ms


def test_format_may_change_in_mid_stream() -> None:
    resampler = Resampler()
    out = resampler.push(frame(tone(1, rate=48_000), 48_000))
    out += resampler.push(frame(tone(1, rate=8_000), 8_000))
    out += resampler.flush()
    assert len(out) == 2 * 32_000


def test_flush_leaves_nothing_behind() -> None:
    resampler = Resampler()
    assert resampler.flush() == b""
    resampler.push(frame(tone(1, rate=48_000), 48_000))
    resampler.flush()
    assert resampler.flush() == b""
