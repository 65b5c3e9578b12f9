"""WAV headers, byte ranges and peaks."""

from __future__ import annotations

import io
import wave
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rest.wav import HEADER_SIZE, Peaks, RangeNotSatisfiable, byte_range, wav_header


def test_the_header_can_be_read() -> None:
    header = wav_header(1_000)
    assert len(header) == HEADER_SIZE
    with wave.open(io.BytesIO(header + bytes(2_000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        assert file.getnframes() == 1_000


def test_a_file_above_the_largest_size() -> None:
    assert len(wav_header(16_000 * 3_600 * 48)) == HEADER_SIZE


def test_peaks_of_a_few_samples() -> None:
    peaks = Peaks(2, 4)
    peaks.take(np.array([1, -16_384, 32_767, 8_192], "<i2").tobytes())
    assert (peaks.low, peaks.high) == ([-0.5, 0.25], [0.0, 1.0])


def test_no_audio_has_no_peaks() -> None:
    peaks = Peaks(1_000, 0)
    assert (peaks.low, peaks.high) == ([], [])


@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=300), st.integers(1, 400), st.data())
def test_peaks_do_not_depend_on_the_chunks(values: list[int], points: int, data: st.DataObject) -> None:
    peaks = Peaks(points, len(values))
    at = 0
    while at < len(values):
        length = data.draw(st.integers(1, len(values) - at))
        peaks.take(np.array(values[at : at + length], "<i2").tobytes())
        at += length
    count = min(points, len(values))
    edges = [number * len(values) // count for number in range(count + 1)]
    stretches = [values[first:last] for first, last in pairwise(edges)]
    assert peaks.low == [round(min(stretch) / 32_768, 4) for stretch in stretches]
    assert peaks.high == [round(max(stretch) / 32_768, 4) for stretch in stretches]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-", (0, 100)),
        ("bytes=0-0", (0, 1)),
        ("bytes=10-19", (10, 20)),
        ("Bytes= 10-19 ", (10, 20)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=" + "9" * 5_000 + "-", None),
    ],
)
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        byte_range(header, 100)


@given(st.text(), st.integers(1, 1_000))
def test_any_header_gives_a_range_within_the_file(header: str, size: int) -> None:
    for asked in (header, f"bytes={header}"):
        try:
            found = byte_range(asked, size)
        except RangeNotSatisfiable:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size
