"""Which texts are known to be made up where nobody speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.stt.core import DecodedSegment, DecodedWord, DecodeResult
from processors.stt.filters.hallucination import (
    CREDITS,
    OUTROS,
    hallucination_reason,
    known_phrase,
    remove_hallucinations,
)
from processors.stt.filters.speech import DOUBTFUL_SPEECH


@pytest.mark.parametrize("phrase", CREDITS)
def test_credits_are_known_with_any_name_or_year_or_none(phrase: str) -> None:
    for name in ("", "2020", "이덕영", "索兰娅"):
        assert known_phrase(f" {phrase.replace('*', name)} ") == "credit"


@pytest.mark.parametrize("phrase", OUTROS)
def test_outros_are_known_however_they_are_written(phrase: str) -> None:
    for text in (phrase, f" {phrase}.", phrase.lower(), f"♪ {phrase}! ♪", phrase.replace(" ", "")):
        assert known_phrase(text) == "outro", text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Thank you. Thank you.", "outro"),
        ("THANKS FOR WATCHING", "outro"),
        ("Thank you for watching! Bye.", "outro"),
        ("시청해주셔서 감사합니다!", "outro"),
        ("ご視聴ありがとうございました。ありがとうございました。", "outro"),
        ("MBC 뉴스 이재경입니다.", "credit"),
        ("MBC 뉴스 이덕영입니다. 시청해 주셔서 감사합니다.", "outro"),
        ("Untertitel im Auftrag des ZDF für funk, 2017", "credit"),
        ("Untertitel im Auftrag des ZDF, 2020\nUntertitel der Amara.org-Community", "credit"),
        ("中文字幕志愿者 杨栋梁", "credit"),
        ("Sous-titres réalisés par la communauté d\u2019Amara.org", "credit"),
        ("SOUS-TITRES REALISES PAR LA COMMUNAUTE D'AMARA.ORG", "credit"),
        ("Gracias por ver el vídeo.", "outro"),
        ("Gracias por ver el vi\u0301deo", "outro"),
        ("suscribete", "outro"),
        ("Grazie a tutti per aver guardato il video!", "outro"),
        ("Terima kasih.", "outro"),
        ("Muito obrigado. Ate a proxima!", "outro"),
    ],
)
def test_several_phrases_are_an_outro_if_any_of_them_is(text: str, kind: str) -> None:
    assert known_phrase(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ... ",
        "Thank you, Anna.",
        "Thank you for watching the build.",
        "Thank you. The budget is over.",
        "I see you next time Frank calls.",
        "We need subtitles by the Amara.org community and a budget.",
        "Untertitel im Auftrag des ZDF sind teuer und werden nicht gebraucht",
        "감사합니다 박 대리님.",
        "Muito obrigado, Ana.",
        "Terima kasih Pak Budi.",
        "Grazie per il video di ieri.",
        "MBC 뉴스 이야기는 나중에 합시다",
        "ご視聴ありがとうございましたと書いてください。",
    ],
)
def test_a_phrase_with_more_text_is_not_known(text: str) -> None:
    assert known_phrase(text) is None


@given(st.text(max_size=400))
def test_any_text_has_an_answer(text: str) -> None:
    assert known_phrase(text) in (None, "credit", "outro")


@given(st.sampled_from(OUTROS), st.from_regex("[a-z]{1,12}", fullmatch=True))
def test_a_phrase_with_another_word_is_not_known(phrase: str, word: str) -> None:
    if known_phrase(word) is None and known_phrase(phrase + word) is None:
        assert known_phrase(f"{phrase} {word}") is None


def test_a_long_near_match_is_fast() -> None:
    assert known_phrase("자막 제공 " * 20_000 + "회의") is None


CLEAR = 0.95


DOUBTFUL = 0.4


def said(text: str, log_probability: float = -0.2, tokens: int = 4) -> DecodedSegment:
    return DecodedSegment(text, tokens, log_probability, 1.0)


@pytest.mark.parametrize(
    ("text", "speech", "no_speech", "log_probability", "reason"),
    [
        ("Thank you.", CLEAR, 0.0, -0.2, None),
        ("Thank you.", CLEAR, 0.6, -1.0, None),
        ("Thank you.", DOUBTFUL, 0.0, -0.2, "phrase"),
        ("Thank you.", CLEAR, 0.61, -0.2, "phrase"),
        ("Thank you.", CLEAR, 0.0, -1.1, "phrase"),
        ("Thank you.", DOUBTFUL_SPEECH, 0.0, -0.2, None),
        ("Thank you, Anna.", DOUBTFUL, 0.7, -0.6, None),
        ("Muito obrigado.", DOUBTFUL, 0.0, -0.2, "phrase"),
        ("Muito obrigado.", CLEAR, 0.0, -0.2, None),
        ("Gracias por ver el vídeo.", CLEAR, 0.7, -0.2, "phrase"),
        ("Terima kasih.", CLEAR, 0.0, -0.2, None),
        ("시청해주셔서 감사합니다.", DOUBTFUL, 0.0, -0.2, "phrase"),
        ("시청해주셔서 감사합니다.", CLEAR, 0.0, -0.2, None),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.0, -0.2, None),
        ("Untertitel im Auftrag des ZDF, 2020", 0.7, 0.0, -0.2, "phrase"),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.4, -0.2, "phrase"),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.0, -0.8, "phrase"),
        ("MBC 뉴스 이덕영입니다. 시청해주셔서 감사합니다.", 0.7, 0.0, -0.2, None),
        ("The budget is over.", DOUBTFUL, 0.0, -1.1, "unlikely"),
        ("1-2-3 2-3-4 3-4-4", 0.6, 0.77, -0.94, "unlikely"),
        ("The budget is over.", 0.6, 0.77, -0.6, None),
        ("The budget is over.", 0.6, 0.3, -0.94, None),
        ("The budget is over.", 0.9, 0.77, -0.94, None),
        ("The budget is over.", DOUBTFUL, 0.0, -1.0, None),
        ("The budget is over.", CLEAR, 0.9, -1.5, None),
    ],
)
def test_a_hallucination_needs_two_kinds_of_evidence(
    text: str, speech: float, no_speech: float, log_probability: float, reason: str | None
) -> None:
    assert hallucination_reason([said(text, log_probability)], speech, no_speech) == reason


def test_a_phrase_over_several_segments_counts_by_the_mean_of_its_tokens() -> None:
    segments = [said(" Thank you", -0.1, tokens=1), said(" for watching.", -2.0, tokens=3)]
    assert hallucination_reason(segments, CLEAR, 0.0) == "phrase"
    assert hallucination_reason([said(" Thank you", -0.1, tokens=9), segments[1]], CLEAR, 0.0) is None


def test_no_text_is_no_hallucination() -> None:
    assert hallucination_reason([], 0.0, 1.0) is None
    heard = DecodeResult((), "en", 0.5, 0.9)
    assert remove_hallucinations(heard, 3.0, 0.0) is heard


@given(
    st.lists(st.sampled_from([" Thank you.", " The", " budget", " no,", " 감사합니다."]), max_size=3),
    st.floats(-1.0, 0.0),
    st.floats(0, 0.3),
)
def test_text_from_clear_speech_is_kept(texts: list[str], log_probability: float, no_speech: float) -> None:
    segments = tuple(said(text, log_probability) for text in texts)
    heard = DecodeResult(segments, "en", 0.9, no_speech)
    assert remove_hallucinations(heard, 3.0, CLEAR) is heard


def test_the_reasons_for_removal_are_recorded() -> None:
    heard = DecodeResult((said(" Thank you."),), "en", 0.9, 0.7, {"beam_size": 1})
    kept = remove_hallucinations(heard, 2.0, CLEAR)
    assert (kept.segments, kept.decoding) == ((), {"beam_size": 1, "removed": ["phrase"]})
    assert (kept.language, kept.no_speech_probability) == ("en", 0.7)
    assert heard.decoding == {"beam_size": 1}


def test_a_loop_of_a_phrase_is_judged_by_the_phrase() -> None:
    words = tuple(DecodedWord(text, at, at + 0.3, 0.9) for at in range(12) for text in (" Thank", " you."))
    heard = DecodeResult((DecodedSegment(" Thank you." * 12, 24, -0.1, 6.0, words),), "en", 0.9)
    assert remove_hallucinations(heard, 12.0, CLEAR).text == "Thank you."
    assert remove_hallucinations(heard, 12.0, CLEAR).decoding == {"removed": ["loop"]}
    assert remove_hallucinations(heard, 12.0, DOUBTFUL).segments == ()
    assert remove_hallucinations(heard, 12.0, DOUBTFUL).decoding == {"removed": ["loop", "phrase"]}


def test_the_beginning_of_a_loop_is_dropped_where_detector_and_model_doubt_that_somebody_speaks() -> None:
    segments = (said(" 1.0." + "1." * 60, -0.2, tokens=60),)

    def removed(speech: float, no_speech: float) -> list[str]:
        found: list[str] = remove_hallucinations(DecodeResult(segments, "nn", 0.2, no_speech), 5.0, speech).decoding[
            "removed"
        ]
        return found

    assert removed(0.54, 0.68) == ["loop", "unlikely"]
    assert removed(0.9, 0.68) == removed(0.54, 0.3) == ["loop"]
