"""The language of an utterance: clear detections are accepted, unclear ones follow the job."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import RATE, Transcript
from processors.stt.whisper.language import (
    CLEAR,
    CLEAR_SECONDS,
    MEMORY,
    Choice,
    Evidence,
    choose_language,
    evidence_from,
    needs_evidence,
)

CODES = ("en", "ko", "de", "ja", "nn")


def spoke(language: str, times: int = 6, probability: float = 0.98, seconds: float = 3.0) -> list[Evidence]:
    return [Evidence(language, probability, seconds, 0.8)] * times


@pytest.mark.parametrize(
    ("detected", "seconds", "language"),
    [
        pytest.param({"ko": 0.95, "en": 0.05}, 3.0, "ko", id="clear: people switch"),
        pytest.param({"ko": CLEAR, "en": 1 - CLEAR}, CLEAR_SECONDS, "ko", id="just clear"),
        pytest.param({"ko": 0.6, "en": 0.4}, 3.0, "en", id="improbable"),
        pytest.param({"nn": 0.79, "en": 0.1, "ko": 0.11}, 1.0, "en", id="short and improbable"),
        pytest.param({"ko": 0.99, "en": 0.01}, 0.8, "en", id="too short, however probable"),
        pytest.param({"nn": 0.9, "ko": 0.09}, 0.7, "en", id="too short, and the job's was not named"),
        pytest.param({"ko": 0.79, "ja": 0.2, "en": 0.001}, 3.0, "ko", id="not clear, but anything rather than English"),
    ],
)
def test_the_language_in_a_job_that_was_in_english(detected: dict[str, float], seconds: float, language: str) -> None:
    assert choose_language(detected, seconds, None, spoke("en")).language == language


def test_without_evidence_the_likeliest_language_is_taken() -> None:
    assert choose_language({"en": 0.3, "nn": 0.31}, 0.4) == Choice("nn", 0.31 / 0.61)


def test_the_probability_is_that_of_detection_so_that_evidence_does_not_reinforce_itself() -> None:
    assert choose_language({"ko": 0.6, "en": 0.4}, 1.0, None, spoke("en")) == Choice("en", 0.4, held=True)
    assert choose_language({"ko": 1.0}, 1.0, None, spoke("en")) == Choice("en", 0.0, held=True)
    assert not choose_language({"ko": 0.6, "en": 0.4}, 1.0, None, spoke("ko")).held


def test_only_allowed_languages_are_chosen() -> None:
    detected = {"nn": 0.6, "en": 0.3, "ko": 0.1}
    assert choose_language(detected, 3.0, ["ko", "en"]) == Choice("en", 0.3 / (0.3 + 0.1))
    assert choose_language(detected, 3.0, ["ko"], spoke("en")) == Choice("ko", 1.0)
    assert choose_language({"nn": 0.9, "ko": 0.09, "en": 0.01}, 2.0, ["ko", "en"], spoke("en")).language == "ko"


def test_if_nothing_detected_is_allowed_evidence_decides_else_the_first_allowed() -> None:
    assert choose_language({"nn": 1.0}, 3.0, ["ko", "en"]) == Choice("ko", 0.0)
    assert choose_language({}, 3.0, ["ko", "en"]) == Choice("ko", 0.0)
    assert choose_language({"nn": 1.0}, 3.0, ["ko", "en"], spoke("en")) == Choice("en", 0.0)
    assert choose_language({"nn": 1.0}, 3.0, ["ko", "en"], spoke("de")) == Choice("ko", 0.0)


def test_ties_are_decided_by_the_order_of_the_allowed() -> None:
    assert choose_language({"en": 0.5, "ko": 0.5}, 3.0, ["ko", "en"]).language == "ko"
    assert choose_language({"en": 0.5, "ko": 0.5}, 3.0, ["en", "ko"]).language == "en"


@pytest.mark.parametrize("allowed", [None, []])
def test_nothing_to_choose_from_is_an_error(allowed: list[str] | None) -> None:
    with pytest.raises(ValueError, match="no language was detected"):
        choose_language({}, 3.0, allowed)


def test_a_job_can_change_its_language() -> None:
    doubtful = {"ko": 0.5, "en": 0.5}
    evidence = spoke("en", 8)
    assert choose_language(doubtful, 2.0, None, evidence).language == "en"
    assert choose_language(doubtful, 2.0, None, [*evidence, *spoke("ko", 4)]).language == "ko"


def test_only_the_latest_utterances_are_evidence() -> None:
    doubtful = {"ko": 0.51, "en": 0.49}
    assert choose_language(doubtful, 2.0, None, spoke("en", 1) + spoke("de", MEMORY)).language == "ko"


@pytest.mark.parametrize(
    "weak",
    [
        pytest.param(Evidence("en", 0.5, 3.0, 0.8), id="as good as a guess"),
        pytest.param(Evidence("en", 0.98, 0.0, 0.8), id="of no length"),
        pytest.param(Evidence("en", 0.98, 3.0, 0.0), id="without text"),
        pytest.param(Evidence("", 0.98, 3.0, 0.8), id="without a language"),
        pytest.param(Evidence("en", 0.0, 3.0, 0.8), id="held against detection"),
    ],
)
def test_weak_evidence_changes_nothing(weak: Evidence) -> None:
    detected = {"ko": 0.34, "en": 0.33, "de": 0.33}
    assert choose_language(detected, 2.0, None, [weak] * MEMORY) == choose_language(detected, 2.0)


def test_a_transcript_is_evidence() -> None:
    made = Transcript(
        job="j", index=3, start=RATE, end=3 * RATE, text="안녕", language="ko", language_probability=0.9, confidence=0.7
    )
    assert evidence_from(made) == Evidence("ko", 0.9, 2.0, 0.7)
    assert evidence_from(made.model_copy(update={"text": ""})).confidence == 0.0
    assert evidence_from(Transcript(job="j", index=0, start=0, end=RATE, text="", error="no")).language == ""


@pytest.mark.parametrize(
    ("detected", "seconds", "allowed", "needed"),
    [
        ({"en": 0.9, "ko": 0.1}, 2.0, None, False),
        ({"en": 0.9, "ko": 0.1}, 1.0, None, True),
        ({"en": 0.7, "ko": 0.3}, 9.0, None, True),
        ({"nn": 0.6, "en": 0.39, "ko": 0.01}, 9.0, ["en", "ko"], False),
        ({"nn": 1.0}, 9.0, ["en", "ko"], True),
        ({}, 9.0, None, True),
        ({"nn": 1.0}, 0.3, ["ko"], False),
        ({"nn": 1.0}, 0.3, ["ko", "ko"], False),
    ],
)
def test_evidence_is_needed_only_for_unclear_detections(
    detected: dict[str, float], seconds: float, allowed: list[str] | None, needed: bool
) -> None:
    assert needs_evidence(detected, seconds, allowed) == needed


probability = st.floats(0, 1)
length = st.floats(0, 30)
detections = st.dictionaries(st.sampled_from(CODES), probability, min_size=1).filter(lambda d: any(d.values()))
some_allowed = st.none() | st.lists(st.sampled_from(CODES), min_size=1, unique=True)
evidences = st.lists(st.builds(Evidence, st.sampled_from(CODES), probability, length, probability), max_size=12)


@given(detections, length, some_allowed, evidences)
def test_a_choice_is_allowed_and_comes_from_detection_or_the_job(
    detected: dict[str, float], seconds: float, allowed: list[str] | None, evidence: list[Evidence]
) -> None:
    choice = choose_language(detected, seconds, allowed, evidence)
    alone = choose_language(detected, seconds, allowed)
    assert allowed is None or choice.language in allowed
    assert choice.language == alone.language or choice.language in {one.language for one in evidence}
    assert 0 <= choice.probability <= 1
    assert math.isclose(alone.probability, 0) or not alone.held


@given(detections, length, some_allowed, evidences)
def test_evidence_that_is_not_needed_changes_nothing(
    detected: dict[str, float], seconds: float, allowed: list[str] | None, evidence: list[Evidence]
) -> None:
    if not needs_evidence(detected, seconds, allowed):
        assert choose_language(detected, seconds, allowed, evidence) == choose_language(detected, seconds, allowed)


@given(detections, length, some_allowed, evidences, st.sampled_from(CODES))
def test_more_of_a_language_before_never_speaks_against_it(
    detected: dict[str, float], seconds: float, allowed: list[str] | None, evidence: list[Evidence], code: str
) -> None:
    evidence = evidence[: MEMORY - 1]
    if choose_language(detected, seconds, allowed, evidence).language == code:
        before = Evidence(code, 0.99, 5.0, 0.9)
        assert choose_language(detected, seconds, allowed, [before, *evidence]).language == code


@given(detections, length, evidences)
def test_the_order_in_which_languages_were_detected_does_not_matter(
    detected: dict[str, float], seconds: float, evidence: list[Evidence]
) -> None:
    turned = dict(reversed(detected.items()))
    assert choose_language(turned, seconds, CODES, evidence) == choose_language(detected, seconds, CODES, evidence)
