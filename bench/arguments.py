"""Numbers on the command lines of the benches; a bad one is named, with what is accepted."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def within(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    """A `type` for argparse: a number from `least` to `most`."""

    def read(text: str) -> Any:
        try:
            number = kind(text)
        except ValueError:
            number = None
        if number is None or not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least:g} to {most:g}")
        return number

    return read


def numbers(text: str) -> tuple[int, ...]:
    """A `type` for argparse: numbers of streams with commas between, each once, in order."""
    read = within(int, 1, 4_096)
    return tuple(sorted({read(part) for part in text.split(",")}))
