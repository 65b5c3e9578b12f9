from __future__ import annotations

import argparse

import pytest

from bench.program import numbers, within


def test_numbers_are_sorted_and_unique() -> None:
    assert numbers("8,2,8,4096") == (2, 8, 4_096)
    with pytest.raises(argparse.ArgumentTypeError, match="'x' is not a number from 1 to 4096"):
        numbers("2,x")


@pytest.mark.parametrize("text", ["0.49", "60.1", "nan", "soon", ""])
def test_a_number_out_of_bounds_is_refused(text: str) -> None:
    assert [within(float, 0.5, 60)(end) for end in ("0.5", "60")] == [0.5, 60.0]
    with pytest.raises(argparse.ArgumentTypeError, match=rf"'{text}' is not a number from 0.5 to 60"):
        within(float, 0.5, 60)(text)
