"""Which texts are known to be made up where nobody speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.stt.phrases import CREDITS, OUTROS, known_phrase


@pytest.mark.parametrize("phrase", CREDITS)
def test_credits_are_known_with_any_name_or_year_or_none(phrase: str) -> None:
    for name in ("", "2020", "이덕영", "索兰娅"):
        assert known_phrase(f" {phrase.replace('*', name)} ") == "credit"


@pytest.mark.parametrize("phrase", OUTROS)
def test_outros_are_known_however_they_are_written(phrase: str) -> None:
    for text in (phrase, f" {phrase}.", phrase.lower(), f"♪ {phrase}! ♪", phrase.replace(" ", "")):
        assert known_phrase(text) == "outro", text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Thank you. Thank you.", "outro"),
        ("THANKS FOR WATCHING", "outro"),
        ("Thank you for watching! Bye.", "outro"),
        ("시청해주셔서 감사합니다!", "outro"),
        ("ご視聴ありがとうございました。ありがとうございました。", "outro"),
        ("MBC 뉴스 이재경입니다.", "credit"),
        ("MBC 뉴스 이덕영입니다. 시청해 주셔서 감사합니다.", "outro"),
        ("Untertitel im Auftrag des ZDF für funk, 2017", "credit"),
        ("Untertitel im Auftrag des ZDF, 2020\nUntertitel der Amara.org-Community", "credit"),
        ("中文字幕志愿者 杨栋梁", "credit"),
        ("Sous-titres réalisés par la communauté d\u2019Amara.org", "credit"),
    ],
)
def test_several_in_a_row_are_one_that_a_person_could_have_said_if_any_is(text: str, kind: str) -> None:
    assert known_phrase(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ... ",
        "Thank you, Anna.",
        "Thank you for watching the build.",
        "Thank you. The budget is over.",
        "I see you next time Frank calls.",
        "We need subtitles by the Amara.org community and a budget.",
        "Untertitel im Auftrag des ZDF sind teuer und werden nicht gebraucht",
        "감사합니다 박 대리님.",
        "MBC 뉴스 이야기는 나중에 합시다",
        "ご視聴ありがとうございましたと書いてください。",
    ],
)
def test_more_than_a_phrase_is_none(text: str) -> None:
    assert known_phrase(text) is None


@given(st.text(max_size=400))
def test_any_text_is_answered(text: str) -> None:
    assert known_phrase(text) in (None, "credit", "outro")


@given(st.sampled_from(OUTROS), st.from_regex("[a-z]{1,12}", fullmatch=True))
def test_a_phrase_with_another_word_is_none(phrase: str, word: str) -> None:
    if known_phrase(word) is None and known_phrase(phrase + word) is None:
        assert known_phrase(f"{phrase} {word}") is None


def test_a_long_text_that_nearly_is_one_does_not_take_long() -> None:
    assert known_phrase("자막 제공 " * 20_000 + "회의") is None
