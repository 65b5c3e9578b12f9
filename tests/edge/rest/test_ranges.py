import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rest.ranges import Unsatisfiable, byte_range


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
    with pytest.raises(Unsatisfiable):
        byte_range(header, 100)


@given(st.text(), st.integers(1, 1_000))
def test_whatever_is_asked_the_answer_lies_within(header: str, size: int) -> None:
    for asked in (header, f"bytes={header}"):
        try:
            found = byte_range(asked, size)
        except Unsatisfiable:
            continue
        assert found is None or 0 <= found[0] < found[1] <= size
