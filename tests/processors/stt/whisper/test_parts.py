"""Utterances that share a window: whose words are whose, in which language, and what is decoded again alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contract import SpeechOptions
from processors.stt.core import DecodeResult
from processors.stt.whisper.backend import Search
from processors.stt.whisper.decoder import decode
from processors.stt.whisper.prepared import LIVE_CONTEXT, PreparedAudio, PreparedPart, context_length
from tests.processors.stt.scripted import Answer, Scripted, Window, at, decoded, sound

BEHIND = (PreparedPart(0.35, 0.45, 2.0),)
"""Behind 0.35 s of context, and with 0.1 s of lead."""

TWO = (PreparedPart(0.0, 0.0, 0.35), PreparedPart(0.35, 0.5, 2.0))


def shared(parts: tuple[PreparedPart, ...], *, interim: bool = False) -> PreparedAudio:
    return replace(sound(1, 2.0, SpeechOptions(language="en"), interim=interim), parts=parts)


def run(answer: Answer, audio: PreparedAudio) -> tuple[Scripted, DecodeResult]:
    model: Any = Scripted(answer)
    (found,) = decode(model, [audio], Search())
    return model, found


def seven(_window: Window, _search: Search) -> Any:
    """Words of 0.1 s from the beginning."""
    return decoded(at(0), 1, 2, 3, 4, 5, 6, 7, at(2))


def test_context_is_heard_and_its_words_are_left_out() -> None:
    _, found = run(seven, shared(BEHIND))
    assert found.text == "w4 w5 w6 w7"
    (segment,) = found.segments
    assert [round(word.start, 2) for word in segment.words] == [-0.15, -0.05, 0.05, 0.15]  # from the utterance's start
    assert (segment.tokens, found.decoding["context"], found.parts) == (4, 0.35, ())


def test_each_utterance_of_a_merged_window_gets_its_words() -> None:
    _, found = run(seven, shared(TWO))
    assert [one.text for one in found.parts] == ["w1 w2 w3", "w4 w5 w6 w7"]
    assert found.parts[1].segments[0].words[0].start == pytest.approx(-0.2)


def test_a_rest_begins_behind_the_last_word() -> None:
    model, found = run(lambda *_: decoded(at(0), *range(1, 16), at(0.5), at(0.5)), sound(1, 2.0))
    assert found.text.split()[-1] == "w15"
    assert model.encoded == [[Window(1, 0, 500)], [Window(1, 150, 500)]]  # not at 0.5 s


def test_a_text_without_timestamps_that_was_cut_is_resumed_behind_its_last_word() -> None:
    def cut_once(window: Window, _search: Search) -> Any:
        return decoded(9) if window.start else replace(decoded(*range(1, 16)), is_cut=True)

    model, found = run(cut_once, shared(TWO))
    assert [one.text for one in found.parts] == ["w1 w2 w3", " ".join(f"w{n}" for n in range(4, 16)) + " w9"]
    assert model.encoded == [[Window(1, 0, 500)], [Window(1, 150, 500)]]
    assert [prompt.timestamps for _, prompts, *_ in model.generated for prompt in prompts] == [False, False]
    loop, _ = run(lambda *_: replace(decoded(*[1] * 15, ratio=9.0), is_cut=True), sound(1, 2.0))
    assert [window.start for windows in loop.encoded for window in windows] == [0, 0]  # a second attempt, no rest


def test_interim_results_leave_the_words_of_the_context_out_too() -> None:
    _, found = run(seven, shared(BEHIND, interim=True))
    assert found.text == "w4 w5 w6 w7"


def test_an_utterance_without_words_is_decoded_alone() -> None:
    def ends_early(window: Window, _search: Search) -> Any:
        return decoded(at(0), 1, 2, at(2)) if window.start == 0 else decoded(at(0), 9, at(1.5))

    model, found = run(ends_early, shared(BEHIND))
    assert found.text == "w9"
    assert found.decoding["apart"]
    assert model.encoded[-1] == [Window(1, 35, 500)]
    _, silent = run(ends_early, shared((replace(BEHIND[0], speech=0.1),)))
    assert silent.text == ""


def test_a_loop_does_not_spread_over_the_utterances_of_a_window() -> None:
    def loops_together(_window: Window, _search: Search) -> Any:
        is_together = len(model.encoded) <= 2  # in both attempts
        return decoded(at(0), *[1] * 20, at(2), ratio=9.0) if is_together else decoded(at(0), 8, at(0.3))

    model: Any = Scripted(loops_together)
    (found,) = decode(model, [shared(TWO)], Search())
    assert [one.text for one in found.parts] == ["w8", "w8"]


@pytest.mark.parametrize("parts", [BEHIND, TWO])
def test_each_language_is_decoded_apart(parts: tuple[PreparedPart, ...]) -> None:
    parts = tuple(replace(part, own=10 * part.own, start=10 * part.start, end=10 * part.end) for part in parts)

    class Bilingual(Scripted):
        def between(self, encoded: list[Window], row: int, start: float, end: float) -> list[Window]:
            return [Window(1 if start < 3 else 2, 0, 0)]

    model: Any = Bilingual(lambda window, _: decoded(at(0), 5 if window.start else 4, at(3)), {2: {"ko": 1.0}})
    (found,) = decode(model, [replace(sound(1, 20.0), parts=parts)], Search())
    results = found.parts or (found,)
    assert [one.language for one in results] == ["en", "ko"][-len(parts) :]
    assert [one.text for one in results] == ["w4", "w5"][-len(parts) :]


def test_a_window_has_room_for_context_unless_the_utterance_fills_the_longest() -> None:
    assert context_length(300, 1_500, LIVE_CONTEXT) == LIVE_CONTEXT
    assert context_length(1_250, 1_500, LIVE_CONTEXT) == LIVE_CONTEXT  # in a longer window
    assert context_length(2_600, 1_500, LIVE_CONTEXT) == 200
    assert context_length(2_800, 1_500, LIVE_CONTEXT) == 0
