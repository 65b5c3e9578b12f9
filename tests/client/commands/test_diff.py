"""`stenobus diff`: the comparison, and the command against a real edge."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus import Bus
from client.commands.diff import Change, Spoken, compare, spoken
from contract.view import SegmentView, WordView
from tests.client.commands.processors import processors
from tests.client.inprocess import invoke
from tests.edge.conftest import Edge
from tests.edge.meeting import complete, transcribe
from tests.edge.meeting import said as said_by


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
    words = [("New York", 0.5, 1), ("–", 1, 1)]  # noqa: RUF001 - a dash is no word
    timed = [WordView(word=word, start=start, end=end, probability=1) for word, start, end in words]
    segments = [
        SegmentView(index=1, start=5, end=7, text="no words, -", language=None, confidence=1, words=[]),
        SegmentView(index=0, start=0, end=2, text="x", language=None, confidence=1, words=timed),
    ]
    assert spoken(segments) == [
        Spoken("New", 0.5, 1),
        Spoken("York", 0.5, 1),
        Spoken("no", 5, 7),
        Spoken("words,", 5, 7),
    ]


async def test_two_generations_are_compared(bus: Bus, edge: Edge, finished: str) -> None:
    code, _, err = await invoke("diff", finished)
    assert (code, err) == (
        1,
        f"stenobus: job {finished} has one generation; make another with: stenobus replay {finished}\n",
    )
    async with processors(bus, "Hello here.", "Goodbye now.") as asked:
        await invoke("replay", finished, "--model", "large-v3")
    code, out, err = await invoke("diff", finished)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "00:00  there. → here.",
        "00:01  + now.",
        "generation 1 to 2 (large-v3): word error rate 66.7 %, 1 replaced, 1 inserted, 0 deleted of 3 words",
    ]
    code, out, _ = await invoke("diff", finished, "--generations", "2,1", "--json")
    found = json.loads(out)
    assert (code, found["generations"], found["models"]) == (0, [2, 1], ["large-v3", None])
    assert (found["words"], found["wer"], found["deleted"]) == ([4, 3], 0.5, 1)
    assert found["changes"][1] == {"kind": "deleted", "start": 1.5, "end": 2.0, "before": "now.", "after": ""}
    assert len(asked) == 1
    assert (await invoke("diff", finished, "--generations", "1,1"))[1].endswith("0 deleted of 3 words\n")


async def test_the_live_text_is_compared_with_its_correction(bus: Bus, edge: Edge, redis_url: str) -> None:
    job = await edge.create(correct=True)
    first = [said_by(job, index, text) for index, text in enumerate(("Hello their.", "Goodbye."))]
    second = [said_by(job, index, text) for index, text in enumerate(("Hello there.", "Goodbye."))]
    await transcribe(bus, *first)
    corrected = [transcript.model_copy(update={"generation": 2}) for transcript in second]
    for transcript in corrected:
        await bus.create(transcript)
    await complete(bus, redis_url, job, *corrected)
    code, out, err = await invoke("diff", job)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "00:00  their. → there."
    assert out.splitlines()[-1].startswith("generation 1 to 2: word error rate 33.3 %")
    assert "Hello there." in (await invoke("job", job))[1]


@pytest.mark.parametrize("wrong", ["1", "1,2,3", "a,b", "0,1", "-1,2"])
async def test_invalid_generations(wrong: str) -> None:
    code, _, err = await invoke("diff", "j", "--generations", wrong)
    assert code == 2
    assert "is not two generations, as 1,2" in " ".join(err.replace("│", " ").split())


async def test_an_unknown_generation(edge: Edge, finished: str) -> None:
    code, _, err = await invoke("diff", finished, "--generations", "1,5")
    assert (code, f"job {finished!r} has no generation 5" in err) == (1, True)
