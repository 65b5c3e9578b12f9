from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import Closed, JobOptions, Message, Opened, Segmented, Transcript
from processors.summary import core
from processors.summary.core import Answer, BadAnswer, Item

GOOD = {
    "title": "Release",
    "summary": "The release moves to Friday.",
    "key_points": ["Tests are slow."],
    "decisions": ["Release on Friday."],
    "action_items": [{"who": "Mina", "what": "tell the customers", "due": None}],
}


def transcript(index: int, text: str = "text", **fields: object) -> Transcript:
    place = {"job": "m1", "index": index, "start": index * 16_000, "end": (index + 1) * 16_000}
    return Transcript.model_validate(place | {"text": text} | fields)


def count(segments: int) -> Segmented:
    return Segmented(job="m1", segments=segments, samples=segments * 16_000)


def test_a_meeting_is_complete_with_its_count() -> None:
    meeting = core.Meeting()
    meeting.add(transcript(0))
    assert not meeting.complete()
    meeting.add(count(1))
    assert meeting.complete()


def test_a_meeting_without_speech_is_complete_with_its_count() -> None:
    meeting = core.Meeting()
    meeting.add(count(0))
    assert meeting.complete()
    assert meeting.transcripts() == []


OPTIONS = JobOptions(title="Weekly")
EVENTS: list[Message] = [
    Opened(job="m1", options=OPTIONS),
    count(9),
    *map(transcript, range(8)),
    *map(transcript, range(8)),
]


@given(st.permutations(EVENTS))
def test_order_and_repeats_do_not_matter(events: list[Message]) -> None:
    meeting = core.Meeting()
    for event in events:
        meeting.add(event)
        assert not meeting.complete()
    meeting.add(transcript(8))
    assert meeting.complete()
    assert meeting.transcripts() == [transcript(index) for index in range(9)]
    assert meeting.options == OPTIONS


def test_other_events_and_replays_do_not_count() -> None:
    meeting = core.Meeting()
    for event in (count(1), None, Closed(job="m1", samples=1, reason="stop"), transcript(0, "again", generation=2)):
        meeting.add(event)
    assert not meeting.complete()
    meeting.add(transcript(0, "first"))
    meeting.add(transcript(0, "again", generation=2))
    assert [found.text for found in meeting.transcripts()] == ["first"]


CORRECTED = JobOptions(correct=True)


def corrected(options: JobOptions, first: Sequence[str | None], second: Sequence[str | None]) -> core.Meeting:
    """A meeting with the texts of both generations; None: that one failed."""
    meeting = core.Meeting(options, count(len(first)))
    for generation, texts in enumerate((first, second), 1):
        for index, text in enumerate(texts):
            error = "out of memory" if text is None else None
            meeting.add(transcript(index, text or "", generation=generation, error=error))
    return meeting


@pytest.mark.parametrize(
    ("options", "first", "second", "best"),
    [
        (CORRECTED, ["a", "b"], ["A", "B"], 2),
        (CORRECTED, ["a", "b"], ["A"], 1),
        (CORRECTED, ["a", "b"], ["A", None], 1),
        (CORRECTED, [None, "b"], [None, "B"], 2),
        (CORRECTED, [None, "b"], ["A", None], 1),
        (CORRECTED, [], [], 1),
        (JobOptions(), ["a"], ["A"], 1),  # a replay
        (JobOptions(correct=True, source="upload"), ["a"], ["A"], 1),
    ],
)
def test_the_corrected_generation_is_used_if_nothing_is_missing_or_failed_in_it(
    options: JobOptions, first: list[str | None], second: list[str | None], best: int
) -> None:
    meeting = corrected(options, first, second)
    assert (meeting.complete(), meeting.best) == (True, best)
    assert [found.text for found in meeting.transcripts(2)] == [text or "" for text in second]


def test_an_empty_meeting_says_so() -> None:
    summary = core.nothing_said("m1", [], None)
    assert (summary.engine, summary.title, summary.reason) == ("none", "Empty meeting", "there is no transcript")
    assert summary.summary == "Nothing was said that could be transcribed."
    assert core.nothing_said("m1", [transcript(0, "")], "Weekly").title == "Weekly"


def test_a_meeting_that_failed_says_so() -> None:
    summary = core.nothing_said("m1", [transcript(0, "", error="out of memory"), transcript(1, "")], None)
    assert summary.summary == "None of what was said could be transcribed: 1 of 2 segments failed."


def test_a_summary_that_was_not_wanted_says_so() -> None:
    summary = core.not_wanted("m1", "ko", "주간 회의")
    assert (summary.engine, summary.title, summary.summary) == ("none", "주간 회의", "")
    assert summary.reason == "summary was not asked for"


def test_the_schema_asks_for_every_field() -> None:
    schema = core.schema()
    assert schema["required"] == ["title", "summary", "key_points", "decisions", "action_items"]
    assert schema["$defs"]["Item"]["required"] == ["who", "what", "due"]


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ko", "Korean"),
        ("en", "English"),
        ("el", "Modern Greek"),
        ("yue", "Yue Chinese"),
        ("xx", "the language with the code 'xx'"),
        (None, "the language of the transcript"),
    ],
)
def test_the_prompt_names_the_language(code: str | None, name: str) -> None:
    system, user = core.prompt("그래서 금요일에 합시다.", code, None)
    assert system["content"].endswith(f"Write every text in {name}.")
    assert user == {"role": "user", "content": "<transcript>\n그래서 금요일에 합시다.\n</transcript>"}


def test_the_prompt_has_title_and_part() -> None:
    _, user = core.prompt("Hello.", "en", "Weekly", "This is part 1 of 2.")
    assert user["content"].startswith("The meeting is called: Weekly\nThis is part 1 of 2.\n<transcript>\nHello.\n")


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"Here it is: {json.dumps(GOOD)} I hope that it helps.",
        f'<think>{{"title": maybe}} {{"title": "t"}}</think>{json.dumps(GOOD)}',
        f'Perhaps {{"title": "t", "summary": "a draft"}}. No.\n</think>\n\n{json.dumps(GOOD)}',
        f'[THINK]{{"title": "t", "summary": "a draft"}}[/THINK]{json.dumps(GOOD)}',
        f'<|channel|>analysis<|message|>{{"title": "t", "summary": "a draft"}}<|end|><|start|>assistant'
        f"<|channel|>final<|message|>{json.dumps(GOOD)}",
        json.dumps(GOOD).replace("The release moves", "<think>What was it? Yes.</think>The release moves"),
        json.dumps(GOOD | {"mood": "good"}),
    ],
)
def test_an_answer_is_found_in_what_is_around_it(text: str) -> None:
    assert core.parse(text) == Answer.model_validate(GOOD)


def test_a_line_break_inside_a_string_is_tolerated() -> None:
    assert core.parse('{"title": "t", "summary": "one\ntwo"}').summary == "one\ntwo"


def test_lists_are_tidied() -> None:
    loose = {
        "title": " t ",
        "summary": "s",
        "key_points": "only one",
        "decisions": None,
        "action_items": ["call them", "", {"what": "write", "who": "Jun"}, {}, {"who": None, "what": " "}],
    }
    answer = core.parse(json.dumps(loose))
    assert (answer.title, answer.key_points, answer.decisions) == ("t", ["only one"], [])
    assert answer.action_items == [Item(what="call them"), Item(who="Jun", what="write")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no JSON object"),
        ("I cannot do that.", "no JSON object"),
        ('{"title": "cut off', "no JSON object"),
        ('["title", "summary"]', "no JSON object"),
        ('<think>First {"title": "t", "summary": "a draft"}, and then', "no JSON object"),
        ('{"title": "t", "summary": "<think>It seems that', "no JSON object"),
        ("{" * 5_000, "no JSON object"),
        ('{"a":' * 5_000, "no JSON object"),
        ('{"title": "t"}', "summary: Field required"),
        ('{"title": "t", "summary": " "}', "summary: empty"),
        ('{"title": "t", "summary": 7}', "summary: Input should be a valid string"),
        ('{"title": "t", "summary": "s", "action_items": [{"who": "Jun"}]}', "action_items.0.what: Field required"),
    ],
)
def test_a_bad_answer_says_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(BadAnswer, match=reason):
        core.parse(text)


def test_an_answer_becomes_a_summary() -> None:
    summary = Answer.model_validate(GOOD).to_summary("m1", "en", "gemma3")
    assert (summary.job, summary.engine, summary.model, summary.reason) == ("m1", "ollama", "gemma3", None)
    assert (summary.title, summary.language, summary.decisions) == ("Release", "en", ["Release on Friday."])
    assert summary.action_items[0].model_dump() == {"who": "Mina", "what": "tell the customers", "due": None}


def test_an_answer_becomes_notes() -> None:
    notes = Answer.model_validate(GOOD | {"decisions": []}).to_text().splitlines()
    assert notes[:4] == ["Release", "The release moves to Friday.", "Key points:", "- Tests are slow."]
    assert notes[4:] == ["Action items:", "- Mina tell the customers"]
