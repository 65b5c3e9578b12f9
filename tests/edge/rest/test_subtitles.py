"""Subtitles: cues, their times and lines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import RATE, Transcript, Word
from edge.rest.subtitles import COLUMNS, LINES, LONGEST, SHORTEST, Cue, cues, ends_with, one_line, unbreakable, width


class Named(Transcript):
    speaker: str | None = None


def said(text: str, start: float, end: float, index: int = 0, speaker: str | None = None) -> Named:
    """A segment whose words share its time evenly."""
    words = text.split()
    first, last = round(start * RATE), round(end * RATE)
    step = (last - first) / max(len(words), 1)
    timed = [
        Word(word=word, start=first + round(at * step), end=first + round((at + 1) * step), probability=1)
        for at, word in enumerate(words)
    ]
    return Named(job="j", index=index, start=first, end=last, text=text, words=timed, speaker=speaker)


def untimed(text: str, start: float, end: float, index: int = 0) -> Transcript:
    return Transcript(job="j", index=index, start=round(start * RATE), end=round(end * RATE), text=text)


def lines(found: list[Cue]) -> list[tuple[str, ...]]:
    return [cue.lines for cue in found]


def test_a_short_segment_is_one_cue() -> None:
    (cue,) = cues([said("Good morning everyone.", 1.0, 2.5)])
    assert cue == Cue(RATE, round(2.5 * RATE), ("Good morning everyone.",))


def test_no_text_no_cue() -> None:
    assert cues([untimed(" ", 0, 3), untimed("", 3, 4, 1)]) == []


def test_two_lines_are_about_equal() -> None:
    (cue,) = cues([said("The prototype is almost finished, and the contract is blocked.", 0, 5)])
    assert cue.lines == ("The prototype is almost finished,", "and the contract is blocked.")


def test_a_long_segment_is_cut_after_sentences_with_the_times_of_its_words() -> None:
    text = (
        "We start with the budget. It is too small for the lab that we want to build. "
        "So we ask for more, and then we will see what they say about it in the end."
    )
    found = cues([said(text, 0, 16)])
    assert [(round(cue.start / RATE, 1), cue.lines) for cue in found] == [
        (0.0, ("We start with the budget.",)),
        (2.3, ("It is too small for the", "lab that we want to build.")),
        (7.8, ("So we ask for more, and then we", "will see what they say about it")),
        (14.6, ("in the end.",)),
    ]


def test_slow_speech_is_cut_by_time() -> None:
    found = cues([said("one two three four five six", 0, 30)])
    assert lines(found) == [("one",), ("two",), ("three",), ("four",), ("five",), ("six",)]
    assert [cue.start for cue in found] == [at * 5 * RATE for at in range(6)]
    found = cues([said("one", 0, 30)])
    assert found == [Cue(0, LONGEST, ("one",))]


def test_text_without_spaces_is_cut_between_characters() -> None:
    found = cues([untimed("今日は会議を始めます。まず予算について話しましょう。" * 3, 0, 24)])
    shown = "".join("".join(cue.lines) for cue in found)
    assert shown == "今日は会議を始めます。まず予算について話しましょう。" * 3
    assert all(width(line) <= COLUMNS for cue in found for line in cue.lines)
    assert all(not line.startswith(("。", "、")) for cue in found for line in cue.lines)
    assert all(cue.end - cue.start <= LONGEST for cue in found)


def test_korean_words_stay_whole() -> None:
    text = "안녕하세요 여러분 오늘은 이번 분기 예산에 대해서 이야기하겠습니다 준비되셨나요"
    assert " ".join(" ".join(cue.lines) for cue in cues([said(text, 0, 6)])).split() == text.split()


def test_chinese_words_of_the_engine_have_no_spaces_between() -> None:
    words = [Word(word=word, start=at * RATE, end=(at + 1) * RATE, probability=1) for at, word in enumerate("你好世界")]
    segment = Transcript(job="j", index=0, start=0, end=4 * RATE, text="你好世界", words=words)
    assert cues([segment]) == [Cue(0, 4 * RATE, ("你好世界",))]


def test_words_that_are_not_in_the_text_lose_nothing() -> None:
    words = [Word(word=word, start=0, end=RATE, probability=1) for word in ("Hello", "wrong", "there")]
    segment = Transcript(job="j", index=0, start=0, end=2 * RATE, text="Well, Hello out there again", words=words)
    assert lines(cues([segment])) == [("Well, Hello out there again",)]


def test_wrong_word_times_are_not_used() -> None:
    text = "this is a rather long sentence that does not fit into a single cue because it has far too many words in it"
    words = [Word(word=word, start=9 * RATE, end=9 * RATE, probability=1) for word in text.split()]
    found = cues([Transcript(job="j", index=0, start=0, end=10 * RATE, text=text, words=words)])
    assert found[0].start == 0
    assert all(cue.end - cue.start > 2 * RATE for cue in found)


def test_a_cue_can_be_read_and_ends_when_the_next_begins() -> None:
    found = cues([said("Yes.", 1.0, 1.2), said("No.", 1.5, 1.7, 1), said("Well.", 9.0, 9.2, 2)])
    assert [(cue.start, cue.end) for cue in found] == [
        (RATE, round(1.5 * RATE)),
        (round(1.5 * RATE), round(1.5 * RATE) + SHORTEST),
        (9 * RATE, 10 * RATE),
    ]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(1.0, 1.0), (1.0, 3.0)], [(1.0, 1.2), (1.2, 3.0)]),  # no length
        ([(1.0, 1.0), (1.0, 1.1), (4.0, 5.0)], [(1.0, 1.05), (1.05, 2.05), (4.0, 5.0)]),
        ([(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)], [(1.0, 1.001), (1.001, 1.002), (1.002, 2.002)]),
        ([(1.0, 3.0), (2.0, 4.0)], [(1.0, 2.0), (2.0, 4.0)]),
        ([(2.0, 3.0), (1.0, 4.0)], [(2.0, 2.2), (2.2, 4.0)]),  # times that go back
    ],
)
def test_cues_never_overlap(spans: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    found = cues([untimed("One.", start, end, index) for index, (start, end) in enumerate(spans)])
    assert [(cue.start / RATE, cue.end / RATE) for cue in found] == expected


def test_segments_are_in_order_of_index() -> None:
    assert lines(cues([said("b", 2, 3, 1), said("a", 0, 1, 0)])) == [("a",), ("b",)]


def test_a_change_of_speakers_is_labelled() -> None:
    talk = [
        said("Hi.", 0, 1, 0, "Ana"),
        said("Yes?", 1, 2, 1, "Ana"),
        said("No.", 2, 3, 2, "Ben"),
        said("Hm.", 3, 4, 3),
    ]
    assert lines(cues(talk, label=True)) == [("Ana: Hi.",), ("Yes?",), ("Ben: No.",), ("Hm.",)]
    plain = cues(talk)
    assert lines(plain) == [("Hi.",), ("Yes?",), ("No.",), ("Hm.",)]
    assert [cue.speaker for cue in plain] == ["Ana", "Ana", "Ben", None]


def test_a_name_as_long_as_a_line_is_broken_too() -> None:
    found = cues([said("Hi.", 0, 1, 0, "x" * 100)], label=True)
    assert all(width(line) <= COLUMNS for cue in found for line in cue.lines)


@st.composite
def meetings(draw: st.DrawFn) -> list[Transcript]:
    """Segments as an engine may give them, also with times and words that make no sense."""
    alphabet = st.one_of(st.characters(), st.sampled_from("abc .,!?今日は、。「」한국ー\n"))
    found, at = [], 0
    for index in range(draw(st.integers(0, 4))):
        start = at + draw(st.integers(0, 3 * RATE))
        end = at = start + draw(st.integers(0, 30 * RATE))
        text = draw(st.text(alphabet, max_size=200))
        pieces = text.split() if draw(st.booleans()) else draw(st.lists(st.text(alphabet, max_size=5), max_size=20))
        words = []
        for piece in pieces:
            first, second = draw(st.tuples(st.integers(start, end), st.integers(start, end)))
            words.append(Word(word=piece, start=min(first, second), end=max(first, second), probability=1))
        if draw(st.booleans()):
            words.sort(key=lambda word: word.start)
        found.append(Transcript(job="j", index=index, start=start, end=end, text=text, words=words))
    return found


@given(meetings())
def test_all_words_once_in_order_within_the_limits(segments: list[Transcript]) -> None:
    found = cues(segments)
    shown = "".join("".join(cue.lines) for cue in found).replace(" ", "")
    assert shown == "".join(one_line(segment.text) for segment in segments).replace(" ", "")
    for cue in found:
        assert 1 <= len(cue.lines) <= LINES
        assert all(line and line == one_line(line) and width(line) <= COLUMNS for line in cue.lines)
        assert 0 < cue.end - cue.start <= LONGEST
    assert all(sooner.end <= later.start for sooner, later in pairwise(found))


@pytest.mark.parametrize("spaces", [True, False])
@given(st.lists(st.text("abc,.", min_size=1, max_size=12), min_size=1, max_size=80), st.integers(1, 60))
def test_words_stay_whole_and_cues_do_not_overlap(spaces: bool, words: list[str], seconds: int) -> None:
    text = " ".join(words)
    found = cues([said(text, 0, seconds) if spaces else untimed(text, 0, seconds)])
    assert " ".join(" ".join(cue.lines) for cue in found) == text
    assert all(sooner.end <= later.start for sooner, later in pairwise(found))


@pytest.mark.parametrize(
    ("text", "columns"),
    [("", 0), ("abc", 3), ("한국", 4), ("日本", 4), ("e\u0301", 1), ("ｱ", 1), ("👍🏽", 2), ("\u1112\u1161\u11ab", 2)],
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
    found = list(unbreakable(text))
    if found:
        assert found[0][1]  # every word has a space before it, the first one too
    spaced_parts = [(" " if spaced and number else "") + part for number, (part, spaced) in enumerate(found)]
    assert spaced_parts == parts


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
    assert ends_with(text, marks) is expected


@given(st.text())
def test_nothing_is_lost_and_no_part_is_wider_than_a_line(text: str) -> None:
    line = one_line(text)
    parts = list(unbreakable(line))
    assert "".join((" " if spaced else "") + part for part, spaced in parts).strip() == line
    assert all(part and width(part) <= COLUMNS for part, _ in parts)
    assert one_line(line) == line
    assert line.isprintable() or not any(character in line for character in "\n\r\t\x00\x85\u2028")
