from contract import ActionItem, Summary, Transcript, language_of
from store.digest import digest, searchable
from store.search import Search


def said(index: int, text: str, seconds: int = 1, language: str | None = "en") -> Transcript:
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


def test_a_finished_job_in_a_few_words() -> None:
    found = digest([said(1, "Goodbye."), said(0, "Hello.")], SUMMARY)
    assert (found.title, found.language, found.segments, found.text) == ("Budget", "de", 2, "Hello. Goodbye.")


def test_a_job_without_words_shows_what_the_summary_says() -> None:
    assert digest([], SUMMARY).text == "They spoke of money."
    assert digest([], None).model_dump() == {"title": None, "language": None, "segments": 0, "text": ""}


def test_the_language_is_the_one_that_was_spoken_longest() -> None:
    assert language_of([said(0, "a", 2), said(1, "b", 3, "ko"), said(2, "c", 2)]) == "en"
    assert language_of([said(0, " ", 9), said(1, "b", 1, "ko"), said(2, "c", 5, None)]) == "ko"
    assert language_of([]) is None
    assert digest([said(0, "a", 1, "fr")], None).language == "fr"


def test_everything_that_was_said_or_written_is_searched() -> None:
    text = searchable([said(0, "Hello there.")], SUMMARY)
    assert text.startswith("Hello there.\n")
    assert Search.of("hello budget money short again Ana letter Monday").matches(text)
