"""Chance that can be repeated."""

from __future__ import annotations

from random import Random


def chance(*of: object) -> Random:
    """Draws that follow from what they are drawn for: `chance(seed, "room", 3)` always gives the same ones."""
    return Random(" ".join(map(str, of)))
