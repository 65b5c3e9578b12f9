"""Files with unusual channels: what is heard of them, and what is told."""

import numpy as np
import pytest

from audio import AudioError, channels, read_channel
from tests.audio.sounds import Decoded, encoded, float_wav, level, tone, wav

LEVEL = level(tone(1))


@pytest.mark.parametrize("factor", [-1, -0.9])
@pytest.mark.parametrize("pipe", [False, True])
def test_channels_that_cancel_are_heard(factor: float, pipe: bool) -> None:
    other = (factor * tone(4)).astype(np.int16)
    out = Decoded(wav(np.stack([tone(4), other], axis=1)), pipe=pipe)
    assert out.level(0, 4) == pytest.approx(LEVEL, abs=0.1)
    assert out.told == [
        "its channels cancel each other out for 4.0 s from 0.0 s on: one of them was taken there instead of the mix"
    ]


def test_channels_that_cancel_from_the_middle_on_are_heard() -> None:
    left, right = tone(8), np.concatenate([tone(4), -tone(4)])
    out = Decoded(encoded(np.stack([left, right], axis=1), 16_000, "flac", "flac"))
    for at in np.arange(0, 8, 0.2):
        assert out.level(at, at + 0.2) == pytest.approx(LEVEL, abs=6)
    (told,) = out.told
    assert "cancel each other out for 4.0 s from 4.0 s on" in told


def test_ordinary_stereo_is_the_mean_of_its_channels() -> None:
    noise = np.random.default_rng(0).normal(0, 3_000, (64_000, 2)).astype(np.int16)
    out = Decoded(wav(noise))
    assert np.abs(out.pcm - noise.mean(axis=1)).max() <= 1
    assert out.told == []


@pytest.mark.parametrize("count", [3, 6, 8, 16, 32])
def test_many_channels_keep_their_level(count: int) -> None:
    same = Decoded(wav(np.repeat(tone(2)[:, np.newaxis], count, axis=1)))
    assert same.level(0, 2) == pytest.approx(LEVEL, abs=0.1)
    one = np.zeros((32_000, count), np.int16)
    one[:, 2] = tone(2)
    assert Decoded(wav(one)).level(0, 2) == pytest.approx(LEVEL, abs=0.1)
    assert Decoded(wav(one)).taken[0].channels == count


def test_whoever_speaks_in_turn_on_many_channels_is_heard() -> None:
    turns = np.zeros((64_000, 16), np.int16)
    for turn in range(4):
        turns[turn * 16_000 : (turn + 1) * 16_000, turn * 5] = tone(1, 300 + 100 * turn)
    out = Decoded(wav(turns))
    for turn in range(4):
        assert out.level(turn + 0.1, turn + 1) == pytest.approx(LEVEL, abs=1)
        assert out.pitch(turn + 0.1, turn + 1) == pytest.approx(300 + 100 * turn, abs=5)


@pytest.mark.parametrize(("channel", "hz"), [("left", 300), ("1", 300), ("right", 700), ("2", 700)])
@pytest.mark.parametrize("codec", [("wav", "pcm_s16le"), ("mp4", "aac")], ids=lambda pair: pair[1])
def test_one_channel_is_taken(channel: str, hz: float, codec: tuple[str, str]) -> None:
    both = np.stack([tone(2, 300, 48_000), tone(2, 700, 48_000)], axis=1)
    out = Decoded(encoded(both, 48_000, *codec), channel=channel)
    assert out.pitch(0.5, 1.5) == pytest.approx(hz, abs=5)
    assert out.level(0.5, 1.5) == pytest.approx(LEVEL, abs=0.3)
    assert (out.taken[0].channel, out.taken[0].channels) == (channel, 2)


def test_what_each_channel_is_called(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("sounds") / "sound.wav"
    for count, names in ((1, ["1"]), (2, ["left", "right"]), (3, ["1", "2", "3"])):
        path.write_bytes(wav(np.zeros((1_000, count), np.int16)))
        assert channels(path) == names


@pytest.mark.parametrize(
    ("count", "channel", "accepted"),
    [
        (1, "left", "there is one channel only, neither left nor right; accepted: mix or 1"),
        (2, "3", "there is no channel 3; accepted: left, right, mix, or a number from 1 to 2"),
        (16, "17", "there is no channel 17; accepted: mix, or a number from 1 to 16"),
    ],
)
def test_a_channel_that_is_not_there_is_refused(count: int, channel: str, accepted: str) -> None:
    with pytest.raises(AudioError, match=f"the stream: {accepted}"):
        Decoded(wav(np.zeros((1_000, count), np.int16)), channel=channel)


@pytest.mark.parametrize("text", ["", "0", "-1", "centre", "1.5", "²"])
def test_what_is_no_channel_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a channel; accepted: left, right, mix, each, or a number from 1 on"):
        read_channel(text)


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_nan_and_infinity_become_silence(rate: int) -> None:
    sound = tone(4, rate=rate) / 32_767
    sound[100::3_000] = np.nan
    sound[50::5_000] = -np.inf
    out = Decoded(float_wav(sound, rate))
    assert out.seconds == 4
    assert out.level(0, 4) == pytest.approx(LEVEL, abs=0.2)
    count = len(range(100, 4 * rate, 3_000)) + len(range(50, 4 * rate, 5_000))
    assert out.told == [f"{count} samples are infinite or not a number: they became silence"]


@pytest.mark.parametrize("full_scale", [2**15, 2**31])
def test_integers_stored_as_floats_are_scaled(full_scale: int) -> None:
    sound = np.concatenate([np.zeros(5_000), np.ones(5_000), np.rint(tone(4) / 32_767 * full_scale)])
    out = Decoded(float_wav(sound))
    assert out.level(1, 4) == pytest.approx(LEVEL, abs=0.1)
    assert out.told == ["its samples are integers stored as floats, far above full scale: they were scaled"]


def test_floats_above_full_scale_are_clipped() -> None:
    out = Decoded(float_wav(3 * tone(2) / 32_767))
    assert 32_000 < out.pcm.max() <= 32_767
    assert out.told == []


@pytest.mark.parametrize(
    ("count", "channel", "what"), [(1, "mix", "it is"), (2, "right", "channel right of 2 is")], ids=["file", "channel"]
)
def test_silence_is_told(count: int, channel: str, what: str) -> None:
    sound = np.zeros((32_000, count), np.int16)
    sound[:, 0] = tone(2) if count > 1 else 0
    assert Decoded(wav(sound), channel=channel).told == [f"{what} silent from the beginning to the end"]
