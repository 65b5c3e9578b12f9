"""Byte ranges of HTTP, RFC 9110 section 14. Pure."""

from __future__ import annotations

import re

_ONE = re.compile(r"bytes=\s*([0-9]{0,18})-([0-9]{0,18})\s*", re.IGNORECASE)


class Unsatisfiable(ValueError):
    """The range is behind the end."""


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte, and the one after the last, that a Range header asks for of `size` bytes; None: all of them.

    None also for several ranges, other units and what cannot be read, as the RFC allows. Raises Unsatisfiable.
    """
    found = _ONE.fullmatch(header.strip()) if header else None
    if found is None or (not found[1] and not found[2]):
        return None
    if not found[1]:
        length = int(found[2])
        if length == 0:
            raise Unsatisfiable(f"none of {size} bytes")
        return max(0, size - length), size
    first = int(found[1])
    last = min(int(found[2]), size - 1) if found[2] else size - 1
    if found[2] and int(found[2]) < first:
        return None
    if first >= size:
        raise Unsatisfiable(f"byte {first} of {size}")
    return first, last + 1
