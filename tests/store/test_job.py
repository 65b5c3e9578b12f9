from __future__ import annotations

from itertools import pairwise

import pytest

from contract import ActionItem, State, Summary, Transcript
from store.job import digest, earlier, searchable_text
from store.search import Search


def transcript(index: int, text: str, seconds: int = 1, language: str | None = "en") -> Transcript:
    return Transcript(job="j", index=index, start=0, end=seconds * 16_000, text=text, language=language)


SUMMARY = Summary(
    job="j",
    title="Budget",
    summary="They spoke of money.",
    key_points=["It is short."],
    decisions=["Ask again."],
    action_items=[ActionItem(who="Ana", what="writes a letter", due="Monday")],
    language="de",
    engine="ollama",
)


def test_states_have_an_order() -> None:
    order: list[State] = ["created", "streaming", "transcribing", "summarizing", "completed", "deleted"]
    for before, after in pairwise(order):
        assert before in earlier(after)
        assert after not in earlier(before)


@pytest.mark.parametrize(("state", "other"), [("completed", "failed"), ("failed", "completed")])
def test_a_final_state_does_not_replace_another(state: State, other: State) -> None:
    assert other not in earlier(state)
    assert set(earlier(state)) == {"created", "streaming", "transcribing", "summarizing"}


def test_a_digest_of_a_finished_job() -> None:
    found = digest([transcript(1, "Goodbye."), transcript(0, "Hello.")], SUMMARY)
    assert (found.title, found.language, found.segments, found.text) == ("Budget", "de", 2, "Hello. Goodbye.")


def test_a_job_without_text_shows_its_summary() -> None:
    assert digest([], SUMMARY).text == "They spoke of money."
    assert digest([], None).model_dump() == {"title": None, "language": None, "segments": 0, "text": ""}


def test_the_language_is_the_one_that_was_spoken_longest() -> None:
    assert digest([transcript(0, "a", 1, "fr"), transcript(1, "b", 2, "ko")], None).language == "ko"


def test_transcript_and_summary_are_searched() -> None:
    text = searchable_text([transcript(0, "Hello there.")], SUMMARY)
    assert text.startswith("Hello there.\n")
    assert Search.of("hello budget money short again Ana letter Monday").matches(text)
