from __future__ import annotations

import pytest

from contract import Partial
from processors.vad.core import OpenSegment
from processors.vad.endpointing import Endpointing, Hangover, ends_sentence

HANGOVER = Hangover(least=300, usual=600, most=900)


@pytest.mark.parametrize(
    "text",
    [
        "We are done.",
        "Done?  ",
        "Done!",
        "Well…",
        "“Done.”",
        'He said "done." ',
        "(They were done.)",
        "[Fertig.] »",
        "Er sagte: »Fertig.«",
        "끝났습니다.",
        "終わりました。",
        "「終わりました。」",
        "終わった？",  # noqa: RUF001 - as it is written there
        "終わった！）",  # noqa: RUF001 - as it is written there
    ],
)
def test_where_a_sentence_may_stop(text: str) -> None:
    assert ends_sentence(text)


@pytest.mark.parametrize(
    "text", ["", "   ", '"', "and then", "then,", "then, ", "there:", "3.5 per cent", "(well", "그리고"]
)
def test_where_it_goes_on(text: str) -> None:
    assert not ends_sentence(text)


def speech(silence: int, voiced_end: int = 10_000) -> OpenSegment:
    return OpenSegment(1_000, 1_500, voiced_end, voiced_end + silence)


def partial(text: str, end: int = 10_000, index: int = 3) -> Partial:
    return Partial(job="a", index=index, start=1_000, end=end, text=text)


def enough(*partials: Partial) -> int:
    """The least silence that ends utterance 3."""
    for silence in range(0, 1_500, 50):
        endpointing = Endpointing(HANGOVER)
        for one in partials:
            endpointing.on_partial(one)
        if endpointing.ends(3, speech(silence)):
            return silence
    raise AssertionError("no silence is enough")


def test_how_much_silence_is_enough() -> None:
    assert enough() == 600
    assert enough(partial("Done.")) == 300
    assert enough(partial("and then")) == 900
    assert enough(partial("")) == 900


def test_a_hypothesis_of_less_than_was_said_says_nothing() -> None:
    assert enough(partial("Done.", end=9_999)) == 600
    assert enough(partial("and then", end=9_999)) == 600
    assert enough(partial("Done.", index=2)) == 600


def test_the_newest_hypothesis_counts() -> None:
    assert enough(partial("Done."), partial("Done. And", end=10_050)) == 900
    assert enough(partial("Done. And", end=10_050), partial("Done.")) == 900
    assert enough(partial("Done."), partial("Well.", index=2, end=11_000)) == 300
    assert enough(partial("Don"), partial("Done.")) == 300


def test_a_pause_ends_once_and_the_next_one_again() -> None:
    endpointing = Endpointing(HANGOVER)
    assert endpointing.ends(3, speech(600))
    assert not endpointing.ends(3, speech(700))
    endpointing.on_partial(partial("Done."))
    assert not endpointing.ends(3, speech(800))
    assert not endpointing.ends(3, speech(500, voiced_end=12_000))
    assert endpointing.ends(3, speech(600, voiced_end=12_000))
    assert endpointing.ends(4, speech(600, voiced_end=12_000))
