from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.compare import Change, Spoken, compare, spoken
from client.transcript import Segment, Word


def said(text: str, at: float = 0.0) -> list[Spoken]:
    """A word each second."""
    return [Spoken(word, at + index, at + index + 0.5) for index, word in enumerate(text.split())]


def test_case_and_punctuation_are_no_differences() -> None:
    found = compare(said("The budget, stays."), said("the Budget stays"))
    assert (found.changes, found.wer) == ((), 0.0)


def test_what_was_changed_and_when() -> None:
    found = compare(said("we ship on Friday the tests are green"), said("we chip on Friday tests are all green"))
    assert found.changes == (
        Change("replaced", 1, 1.5, "ship", "chip"),
        Change("deleted", 4, 4.5, "the", ""),
        Change("inserted", 6, 6.5, "", "all"),
    )
    assert (found.words, found.replaced, found.inserted, found.deleted) == ((8, 8), 1, 1, 1)
    assert found.wer == pytest.approx(3 / 8)


def test_neighbours_are_one_change() -> None:
    found = compare(said("a b c d"), said("a x y d"))
    assert found.changes == (Change("replaced", 1, 2.5, "b c", "x y"),)
    assert found.replaced == 2


def test_nothing_was_said() -> None:
    assert compare([], []).wer == 0.0
    assert compare(said("a b"), []).wer == 1.0
    found = compare([], said("a b"))
    assert (found.wer, found.inserted, found.changes) == (None, 2, (Change("inserted", 0, 1.5, "", "a b"),))


@given(*(st.lists(st.sampled_from("abc"), max_size=12) for _ in range(2)))
def test_changes_lead_from_one_to_the_other(first: list[str], second: list[str]) -> None:
    found = compare(said(" ".join(first)), said(" ".join(second)))
    replaced = sum(len(change.before.split()) for change in found.changes if change.kind == "replaced")
    assert replaced == found.replaced
    assert len(first) - found.deleted + found.inserted == len(second)
    assert bool(found.changes) == (first != second)


def test_words_of_a_transcript() -> None:
    segments = [
        Segment(index=1, start=5, end=7, text="no words, -"),
        Segment(index=0, start=0, end=2, text="x", words=[Word(word="New York", start=0.5, end=1), _dash()]),
    ]
    assert spoken(segments) == [
        Spoken("New", 0.5, 1),
        Spoken("York", 0.5, 1),
        Spoken("no", 5, 7),
        Spoken("words,", 5, 7),
    ]


def _dash() -> Word:
    return Word(word="–", start=1, end=1)  # noqa: RUF001 - it is meant
