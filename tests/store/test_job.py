from itertools import pairwise

import pytest

from contract import State, Transcript, transcript_text
from store.job import earlier


def said(index: int, text: str) -> Transcript:
    return Transcript(job="j", index=index, start=index, end=index + 1, text=text)


def test_progress_has_an_order() -> None:
    order: list[State] = ["created", "streaming", "transcribing", "summarizing", "completed", "deleted"]
    for before, after in pairwise(order):
        assert before in earlier(after)
        assert after not in earlier(before)


@pytest.mark.parametrize(("state", "other"), [("completed", "failed"), ("failed", "completed")])
def test_the_two_ends_do_not_replace_each_other(state: State, other: State) -> None:
    assert other not in earlier(state)
    assert set(earlier(state)) == {"created", "streaming", "transcribing", "summarizing"}


def test_text_is_in_order_of_index_without_empty_lines() -> None:
    segments = [said(2, " three "), said(0, "one"), said(1, "  "), said(3, "넷")]
    assert transcript_text(segments) == "one\nthree\n넷"


def test_no_segments_no_text() -> None:
    assert transcript_text([]) == ""
