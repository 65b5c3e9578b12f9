"""What of an interim hypothesis stays: values in, values out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Partial
from processors.stt.agreement import agree


def said(text: str, *, index: int = 0, start: int = 0, end: int = 16_000) -> Partial:
    return Partial(job="j", index=index, start=start, end=end, text=text, language="en")


def shown(*hypotheses: str) -> list[str]:
    """What is shown after each hypothesis of one segment; a bar stands behind what is stable."""
    previous, lines = None, []
    for number, text in enumerate(hypotheses, 1):
        previous = agree(previous, said(text, end=number * 8_000))
        assert previous.end == number * 8_000
        lines.append(previous.text[: previous.stable] + "|" + previous.text[previous.stable :])
    return lines


@pytest.mark.parametrize(
    ("hypotheses", "lines"),
    [
        pytest.param(["Good"], ["|Good"], id="the first is nothing but a guess"),
        pytest.param(
            ["Good", "Good morning", "Good morning everyone."],
            ["|Good", "Good| morning", "Good morning| everyone."],
            id="what two in a row say is stable",
        ),
        pytest.param(
            ["Could mourning", "Good morning", "Good morning all"],
            ["|Could mourning", "|Good morning", "Good morning| all"],
            id="a guess that nobody repeats goes",
        ),
        pytest.param(
            ["We need two", "We need two", "We heed three testers", "We heed three testers"],
            ["|We need two", "We need two|", "We need two| testers", "We need two testers|"],
            id="what is stable is not taken back",
        ),
        pytest.param(
            ["that sounds", "That, sounds good!", "that sounds good"],
            ["|that sounds", "That, sounds| good!", "That, sounds good|"],
            id="case and punctuation make no other word",
        ),
        pytest.param(
            ["I agree.", "I agree with you.", "I agree with you."],
            ["|I agree.", "I agree| with you.", "I agree with you.|"],
            id="the newer of two spellings is kept",
        ),
        pytest.param(
            ["Good morning everyone", "Good morning everyone", "Good", "Good morning everyone again"],
            [
                "|Good morning everyone",
                "Good morning everyone|",
                "Good morning everyone|",
                "Good morning everyone| again",
            ],
            id="a shorter hypothesis leaves what is stable",
        ),
        pytest.param(
            ["会議を", "会議を始め", "会議を始めます。"],
            ["|会議を", "会議を|始め", "会議を始め|ます。"],
            id="Japanese goes by character",
        ),
        pytest.param(
            ["我们开会", "我们开始 meeting", "我们开始 meeting 吧"],
            ["|我们开会", "我们开|始 meeting", "我们开始 meeting| 吧"],
            id="Chinese with a word of English",
        ),
        pytest.param(
            ["회의를", "회의를 시작", "회의를 시작 하겠습니다."],
            ["|회의를", "회의를| 시작", "회의를 시작| 하겠습니다."],
            id="Korean goes by word",
        ),
        pytest.param(["", "Good", ""], ["|", "|Good", "|"], id="nothing is understood for a while"),
        pytest.param(["- so", "... so", "so"], ["|- so", "... so|", "... so|"], id="marks alone"),
    ],
)
def test_traces(hypotheses: list[str], lines: list[str]) -> None:
    assert shown(*hypotheses) == lines


@pytest.mark.parametrize("other", [said("Good morning", index=1), said("Good morning", start=480)])
def test_another_segment_begins_with_nothing_stable(other: Partial) -> None:
    before = agree(said("Good morning"), said("Good morning"))
    assert before.stable == len("Good morning")
    after = agree(before, other)
    assert after == other
    assert after.stable == 0


def test_what_a_hypothesis_says_of_its_own_stability_does_not_count() -> None:
    assert agree(None, said("Good").model_copy(update={"stable": 4})).stable == 0


def test_all_else_is_that_of_the_newer_one() -> None:
    newer = said("Good night", end=32_000).model_copy(update={"language": "ko"})
    assert agree(said("Good"), newer) == newer.model_copy(update={"stable": len("Good")})


words = st.sampled_from(
    ["good", "Good", "good,", "morning", " morning.", "회의를", "会議", "を", "。", "...", "\u3000", "a"]
)
texts = st.lists(words, max_size=8).map(" ".join) | st.lists(words, max_size=8).map("".join) | st.text(max_size=12)


@given(st.lists(texts, min_size=1, max_size=12))
def test_what_is_stable_never_changes_and_never_shrinks(hypotheses: list[str]) -> None:
    previous = None
    for text in hypotheses:
        found = agree(previous, said(text))
        assert 0 <= found.stable <= len(found.text)
        if previous is not None:
            assert found.stable >= previous.stable
            assert found.text.startswith(previous.text[: previous.stable])
        previous = found


@given(texts.map(lambda text: " ".join(text.split())))
def test_what_is_said_twice_is_stable(text: str) -> None:
    found = agree(agree(None, said(text)), said(text))
    assert (found.text, found.stable) == (text, len(text))


@given(st.lists(st.sampled_from(["we", "need", "two", "testers", "now"]), min_size=1, max_size=20))
def test_a_hypothesis_that_only_grows_is_shown_as_it_is_and_is_stable_but_for_the_newest_words(
    spoken: list[str],
) -> None:
    previous = None
    for count in range(1, len(spoken) + 1):
        previous = agree(previous, said(" ".join(spoken[:count])))
        assert previous.text == " ".join(spoken[:count])
        assert previous.text[: previous.stable] == " ".join(spoken[: count - 1])
