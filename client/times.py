"""Times as a person writes them. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_ACCEPTED = "accepted: so long ago, as 90s, 10m, 1h30m, 2d, or a time as 2025-03-04T14:30"


def read_since(text: str) -> datetime | timedelta:
    """Read a time, or how long ago it is; raises ValueError that says what is accepted. Without a zone it is local."""
    if re.fullmatch(r"(\d+(\.\d+)?[smhdw])+", text):
        try:
            parts = re.findall(r"([\d.]+)([smhdw])", text)
            return sum((timedelta(**{_UNITS[unit]: float(number)}) for number, unit in parts), timedelta())
        except OverflowError as exc:
            raise ValueError(f"{text!r} is too long ago") from exc
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError as exc:
        raise ValueError(f"{text!r} is no time; {_ACCEPTED}") from exc
