import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.rest.breaking import COLUMNS, breakable, ends, one_line, width


@pytest.mark.parametrize(
    ("text", "columns"), [("", 0), ("abc", 3), ("한국", 4), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("👍🏽", 4)]
)
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("well known words.", ["well", " known", " words."]),
        ("예산은 부족합니다.", ["예산은", " 부족합니다."]),
        ("今日は、晴れ。", ["今", "日", "は、", "晴", "れ。"]),
        ("「はい」と言う", ["「は", "い」", "と", "言", "う"]),
        ("きょう", ["きょ", "う"]),
        ("AIは良い", ["AI", "は", "良", "い"]),
        ("好！你呢", ["好！", "你", "呢"]),  # noqa: RUF001
        ("a" * 50, ["a" * 42, "a" * 8]),
        ("", []),
    ],
)
def test_where_a_text_may_be_broken(text: str, parts: list[str]) -> None:
    found = list(breakable(text))
    if found:
        assert found[0][1]  # every word has a space before it, the first one too
    told = [(" " if spaced and number else "") + part for number, (part, spaced) in enumerate(found)]
    assert told == parts


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("end.", ".!?。", True),
        ("end.”", ".!?。", True),
        ("（終わり。）」", ".!?。", True),  # noqa: RUF001
        ("そう？", ".!?。", True),  # noqa: RUF001
        ("wait…", ".!?。", True),
        ("and,", ".!?。", False),
        ("and,", ",;:、", True),
        ("そして、", ",;:、", True),
        ("\"'", ".!?。", False),
        ("", ".!?。", False),
    ],
)
def test_how_a_text_ends(text: str, marks: str, expected: bool) -> None:
    assert ends(text, marks) is expected


@given(st.text())
def test_nothing_is_lost_and_no_part_is_wider_than_a_line(text: str) -> None:
    line = one_line(text)
    parts = list(breakable(line))
    assert "".join((" " if spaced else "") + part for part, spaced in parts).strip() == line
    assert all(part and width(part) <= COLUMNS for part, _ in parts)
    assert one_line(line) == line
    assert line.isprintable() or not any(character in line for character in "\n\r\t\x00\x85\u2028")
