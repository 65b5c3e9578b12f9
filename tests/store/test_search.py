# ruff: noqa: RUF001 - letters that look alike are what this is about
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search import EXCERPT, Search, beginning

LONG = " ".join(f"word{number}" for number in range(200))


@pytest.mark.parametrize(
    ("query", "texts", "expected"),
    [
        ("budget", ["The Budget is short."], True),
        ("BUDGET short", ["The budget", "is short"], True),
        ("budget long", ["The budget is short."], False),
        ("udge", ["The budget"], True),  # part of a word, as scripts without spaces need it
        ("예산", ["이번 분기 예산은 부족합니다"], True),
        (unicodedata.normalize("NFD", "예산"), ["예산은"], True),
        ("예산", [unicodedata.normalize("NFD", "예산은")], True),
        ("strasse", ["Hauptstraße 5"], True),
        ("ＡＢＣ", ["abc"], True),  # full width
        ("abc", ["ＡＢＣ"], True),
        ("ｶﾀｶﾅ", ["カタカナ"], True),  # half width
        ("ガス", ["ｶﾞｽの料金"], True),
        ("ガス　料金", ["ｶﾞｽの料金"], True),  # a space of full width
        ("カス", ["ガス"], False),  # another word
        ("하", ["한국"], False),
        ("cafe", ["Le Café noir"], True),
        ("CAFÉ", ["le cafe"], True),
        (unicodedata.normalize("NFD", "café"), ["café"], True),
        ("istanbul", ["İstanbul'da"], True),
        ("İSTANBUL", ["Istanbul"], True),
        ("ısparta", ["ISPARTA"], True),
        ("lodz smorrebrod", ["Łódź, smørrebrød"], True),
        ("σισυφος", ["ΣΊΣΥΦΟΣ"], True),
        ("елка", ["ёлка"], True),
        ("שלום", ["שָׁלוֹם"], True),
        ("محمد", ["مُحَمَّد"], True),
        ("กา", ["กี"], False),  # these marks are vowels
        ("कि", ["की"], False),
        ("don't co-op", ["They don’t co‑op"], True),
        ("کتابها", ["کتاب\u200cها"], True),  # invisible
        ("5 kg", ["5㎏"], True),
        ("ﬁne", ["Fine"], True),
        ("a´b", ["ab"], True),
        ("", ["anything"], True),
        ("x", [], False),
        (".*", ["no patterns"], False),
    ],
)
def test_all_words_must_occur_somewhere(query: str, texts: list[str], expected: bool) -> None:
    assert Search.of(query).matches(*texts) is expected


def test_a_short_text_is_its_own_excerpt() -> None:
    assert Search.of("short").excerpt("The budget\n  is short.") == "The budget is short."
    assert beginning("Hello\nthere.") == "Hello there."


def test_an_excerpt_is_around_the_first_word_that_occurs() -> None:
    excerpt = Search.of("missing word100").excerpt(LONG)
    assert excerpt is not None
    assert excerpt.startswith("…word9")
    assert " word100 " in excerpt
    assert excerpt.endswith("…")
    assert set(excerpt.strip("…").split()) <= set(LONG.split())  # no word is cut
    assert Search.of("missing").excerpt(LONG) is None


def test_a_beginning_is_cut_between_words() -> None:
    text = beginning(LONG)
    assert text.startswith("word0 word1")
    assert text.endswith("…")
    assert EXCERPT - 20 <= len(text) <= EXCERPT + 1


@pytest.mark.parametrize("around", ["ß" * 300, "ﷺ" * 300, "´" * 300, "ｶﾞ " * 300, "\u200b" * 300, "a " * 300])
@pytest.mark.parametrize("needle", ["needle", "Ｎéedle"])
def test_letters_that_change_in_number_when_folded_do_not_shift_the_excerpt(around: str, needle: str) -> None:
    for space in " ", "":
        excerpt = Search.of("needle").excerpt(around + space + needle + space + around)
        assert excerpt is not None
        assert needle in excerpt


@given(st.text(), st.text(), st.text())
def test_what_a_text_contains_is_found_and_shown(before: str, word: str, after: str) -> None:
    text = before + word + after
    search = Search.of(word)
    # Normalising may join a letter of the word with one beside it.
    if unicodedata.normalize("NFKC", text) == "".join(
        unicodedata.normalize("NFKC", part) for part in (before, word, after)
    ):
        assert search.matches(text)
        excerpt = search.excerpt(text)
        assert (excerpt is None) == (not search.words)
        assert len(excerpt or "") <= EXCERPT + 2
        if search.words and len(search.words[0]) < EXCERPT // 3:
            assert any(Search((one,)).matches(excerpt or "") for one in search.words)


@given(st.text())
def test_a_beginning_is_short_and_one_line(text: str) -> None:
    found = beginning(text)
    assert len(found) <= EXCERPT + 1
    assert "\n" not in found
