from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from client.times import read_since


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("10m", timedelta(minutes=10)),
        ("1h30m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(days=7)),
        ("0s", timedelta()),
        ("2025-03-04T14:30Z", datetime(2025, 3, 4, 14, 30, tzinfo=UTC)),
        ("2025-03-04T14:30+09:00", datetime(2025, 3, 4, 5, 30, tzinfo=UTC)),
        ("2025-03-04 14:30", datetime(2025, 3, 4, 14, 30).astimezone()),
        ("2025-03-04", datetime(2025, 3, 4).astimezone()),
    ],
)
def test_times_that_are_taken(text: str, expected: datetime | timedelta) -> None:
    found = read_since(text)
    assert found == expected
    assert not isinstance(found, datetime) or found.tzinfo is not None


@pytest.mark.parametrize("text", ["", "yesterday", "10", "10 m", "m", "-5m", "1h30", "2025-13-01", "10m2025-03-04"])
def test_times_that_are_not(text: str) -> None:
    with pytest.raises(
        ValueError, match="is no time; accepted: so long ago, as 90s, 10m, 1h30m, 2d, or a time as 2025"
    ):
        read_since(text)


def test_too_long_ago() -> None:
    with pytest.raises(ValueError, match="too long ago"):
        read_since("9" * 12 + "w")
