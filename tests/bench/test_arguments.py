from __future__ import annotations

import argparse

import pytest

from bench.arguments import numbers, within


def test_numbers_come_once_and_in_order() -> None:
    assert numbers("8,2,8,4096") == (2, 8, 4_096)


@pytest.mark.parametrize("text", ["", "2,", "2,x", "0", "4097", "1.5"])
def test_what_is_no_number_of_streams_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a number from 1 to 4096"):
        numbers(text)


@pytest.mark.parametrize("text", ["0.5", "60", "1e1"])
def test_both_ends_are_within(text: str) -> None:
    assert within(float, 0.5, 60)(text) == float(text)


@pytest.mark.parametrize("text", ["0.49", "60.1", "nan", "soon", ""])
def test_what_is_not_within_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=rf"'{text}' is not a number from 0.5 to 60"):
        within(float, 0.5, 60)(text)
