"""Live audio to mono 16 kHz s16le."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from audio import AudioError, Converter, to_float32
from audio.convert import Resampler
from tests.audio.sounds import frame, level, opus_packets, tone

WIDTHS = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1}
SPEECH_LIKE = np.random.default_rng(1).normal(0, 0.2, 9_600).clip(-1, 1)


def raw(encoding: str) -> bytes:
    if encoding == "pcm_s16le":
        return (SPEECH_LIKE * 32_767).astype("<i2").tobytes()
    if encoding == "pcm_f32le":
        return SPEECH_LIKE.astype("<f4").tobytes()
    return np.random.default_rng(2).integers(0, 256, len(SPEECH_LIKE), dtype=np.uint8).tobytes()


def convert(encoding: str, rate: int, pieces: list[bytes]) -> bytes:
    converter = Converter(encoding, rate)
    return b"".join(map(converter.push, pieces)) + converter.flush()


@given(
    encoding=st.sampled_from(sorted(WIDTHS)),
    rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]),
    cuts=st.lists(st.integers(0, len(SPEECH_LIKE)), max_size=30),
)
@settings(max_examples=60)
def test_output_does_not_depend_on_chunking(encoding: str, rate: int, cuts: list[int]) -> None:
    data, width = raw(encoding), WIDTHS[encoding]
    edges = [0, *sorted(cuts), len(SPEECH_LIKE)]
    pieces = [data[a * width : b * width] for a, b in pairwise(edges)]
    assert convert(encoding, rate, pieces) == convert(encoding, rate, [data])


def test_our_own_format_is_returned_uncopied() -> None:
    converter = Converter("pcm_s16le", 16_000)
    data = tone(0.03).tobytes()
    assert converter.push(data) is data
    assert converter.flush() == b""


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_rate_is_converted(rate: int) -> None:
    out = np.frombuffer(convert("pcm_s16le", rate, [tone(1, rate=rate).tobytes()]), "<i2")
    assert len(out) == 16_000
    assert level(out) == pytest.approx(level(tone(1)), abs=0.05)


def test_float_full_scale_is_one_and_more_is_clipped() -> None:
    data = np.array([0, 0.5, -0.5, 1, -1, 3, -3], "<f4").tobytes()
    out = np.frombuffer(convert("pcm_f32le", 16_000, [data]), "<i2")
    assert out.tolist() == [0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768]


def test_mulaw_is_g711() -> None:
    # ITU-T G.711: 0xFF and 0x7F are zero, 0x80 and 0x00 full scale: 8031 on its 14-bit scale, so 32124 on ours.
    out = np.frombuffer(convert("mulaw", 16_000, [bytes([0xFF, 0x7F, 0x80, 0x00])]), "<i2")
    assert out.tolist() == [0, 0, 32_124, -32_124]


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_opus_packets_are_decoded_whatever_the_stated_rate(rate: int) -> None:
    packets = opus_packets(tone(2, rate=48_000))
    out = np.frombuffer(convert("opus", rate, packets), "<i2")
    assert len(out) == len(packets) * 320
    assert level(out) == pytest.approx(level(tone(2)), abs=0.3)


def test_opus_gives_each_packet_at_once() -> None:
    converter = Converter("opus", 48_000)
    sizes = [len(converter.push(packet)) // 2 for packet in opus_packets(tone(1, rate=48_000))]
    assert all(size >= 320 - 48 for size in sizes)


@pytest.mark.parametrize(("encoding", "size", "bits"), [("pcm_s16le", 961, 16), ("pcm_f32le", 1_922, 32)])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_part_of_a_sample_is_refused(encoding: str, size: int, bits: int, rate: int) -> None:
    message = f"odd length: {size} bytes are not a whole number of {bits}-bit samples"
    with pytest.raises(AudioError, match=message):
        Converter(encoding, rate).push(bytes(size))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    with pytest.raises(AudioError, match="infinite or not a number"):
        Converter("pcm_f32le", 16_000).push(np.array([0, value], "<f4").tobytes())


@pytest.mark.parametrize("packet", [b"", b"\xff\xff\xff", b"OggS not a raw packet", bytes(5_000)])
def test_invalid_opus_is_refused(packet: bytes) -> None:
    converter = Converter("opus", 48_000)
    with pytest.raises(AudioError, match=f"not an Opus packet: {len(packet)} bytes"):
        converter.push(packet)


def test_valid_opus_is_decoded_after_invalid() -> None:
    converter = Converter("opus", 48_000)
    with pytest.raises(AudioError):
        converter.push(b"\xff\xff\xff")
    assert converter.push(opus_packets(tone(1, rate=48_000))[0])


def test_an_empty_message_is_allowed() -> None:
    for encoding in WIDTHS:
        assert Converter(encoding, 48_000).push(b"") == b""


def test_unknown_encoding_names_the_known_ones() -> None:
    with pytest.raises(AudioError, match="unknown encoding 'g729': one of pcm_s16le, pcm_f32le, mulaw, opus"):
        Converter("g729", 8_000)


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
def test_frequencies_above_8_khz_are_removed(hz: int) -> None:
    assert level(resampled(tone(1, hz, 48_000), 48_000)) < -80


def test_channels_are_averaged() -> None:
    left, right = tone(1, 440, peak=0.9), np.zeros(16_000, np.int16)
    out = resampled(np.stack([left, right], axis=1).ravel(), 16_000, "stereo")
    assert level(out) == pytest.approx(level(left) - 6.02, abs=0.05)


def test_the_delay_is_at_most_3_ms() -> None:
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


def test_full_scale_is_one() -> None:
    pcm = np.array([0, 16_384, -32_768, 32_767], "<i2").tobytes()
    vector = to_float32(pcm)
    assert vector.dtype == np.float32
    assert vector.tolist() == [0.0, 0.5, -1.0, 32_767 / 32_768]


def test_no_bytes_are_an_empty_vector() -> None:
    assert to_float32(b"").shape == (0,)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(AudioError, match="odd length: 3 bytes are not a whole number of 16-bit samples"):
        to_float32(b"abc")
