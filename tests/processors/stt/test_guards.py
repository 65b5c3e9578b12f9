"""Values in, values out: when there is speech, and when text is not believed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from processors.stt.core import Heard, HeardSegment, HeardWord
from processors.stt.guards import DOUBTFUL_SPEECH, SPEECH, guarded, has_speech, made_up, speech_strength

CLEAR = 0.95
DOUBTFUL = 0.4


def chunks(*values: float) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def said(text: str, log_probability: float = -0.2, tokens: int = 4) -> HeardSegment:
    return HeardSegment(text, tokens, log_probability, 1.0)


def test_no_sound_has_no_speech() -> None:
    assert speech_strength(chunks()) == 0.0
    assert not has_speech(chunks())


@pytest.mark.parametrize(
    ("probabilities", "strength"),
    [
        pytest.param([0.0] * 30 + [0.9] * 5 + [0.0] * 30, 0.9, id="160 ms of speech in silence"),
        pytest.param([0.0] * 30 + [1.0] + [0.0] * 30, 0.2, id="one chunk is a click"),
        pytest.param([0.6, 0.8], 0.7, id="shorter than the smoothing"),
        pytest.param([0.5], 0.5, id="one chunk in all"),
        pytest.param([0.0] * 4 + [0.9] * 5, 0.9, id="at the very end"),
    ],
)
def test_strength_is_the_best_mean_of_five_chunks(probabilities: list[float], strength: float) -> None:
    assert speech_strength(chunks(*probabilities)) == pytest.approx(strength)


def test_the_threshold_itself_is_speech() -> None:
    assert has_speech(chunks(*[SPEECH + 1e-6] * 5))
    assert not has_speech(chunks(*[SPEECH - 1e-3] * 5))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=80), st.data())
def test_more_sound_around_it_never_hides_speech(probabilities: list[float], data: st.DataObject) -> None:
    more = st.lists(st.floats(0, 1, width=32), max_size=20)
    around = [*data.draw(more), *probabilities, *data.draw(more)]
    inner = speech_strength(chunks(*probabilities))
    assert 0 <= inner <= max(probabilities) + 1e-6
    if len(probabilities) >= 5:
        assert speech_strength(chunks(*around)) >= inner - 1e-6


@pytest.mark.parametrize(
    ("text", "speech", "no_speech", "log_probability", "reason"),
    [
        ("Thank you.", CLEAR, 0.0, -0.2, None),
        ("Thank you.", CLEAR, 0.6, -1.0, None),
        ("Thank you.", DOUBTFUL, 0.0, -0.2, "phrase"),
        ("Thank you.", CLEAR, 0.61, -0.2, "phrase"),
        ("Thank you.", CLEAR, 0.0, -1.1, "phrase"),
        ("Thank you.", DOUBTFUL_SPEECH, 0.0, -0.2, None),
        ("Thank you, Anna.", DOUBTFUL, 0.7, -0.9, None),
        ("시청해주셔서 감사합니다.", DOUBTFUL, 0.0, -0.2, "phrase"),
        ("시청해주셔서 감사합니다.", CLEAR, 0.0, -0.2, None),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.0, -0.2, None),
        ("Untertitel im Auftrag des ZDF, 2020", 0.7, 0.0, -0.2, "phrase"),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.4, -0.2, "phrase"),
        ("Untertitel im Auftrag des ZDF, 2020", CLEAR, 0.0, -0.8, "phrase"),
        ("MBC 뉴스 이덕영입니다. 시청해주셔서 감사합니다.", 0.7, 0.0, -0.2, None),
        ("The budget is over.", DOUBTFUL, 0.0, -1.1, "unlikely"),
        ("The budget is over.", DOUBTFUL, 0.0, -1.0, None),
        ("The budget is over.", CLEAR, 0.9, -1.5, None),
    ],
)
def test_text_is_made_up_only_on_two_kinds_of_evidence(
    text: str, speech: float, no_speech: float, log_probability: float, reason: str | None
) -> None:
    assert made_up([said(text, log_probability)], speech, no_speech) == reason


def test_a_phrase_over_several_segments_counts_by_the_mean_of_its_tokens() -> None:
    segments = [said(" Thank you", -0.1, tokens=1), said(" for watching.", -2.0, tokens=3)]
    assert made_up(segments, CLEAR, 0.0) == "phrase"
    assert made_up([said(" Thank you", -0.1, tokens=9), segments[1]], CLEAR, 0.0) is None


def test_nothing_heard_is_nothing_made_up() -> None:
    assert made_up([], 0.0, 1.0) is None
    heard = Heard((), "en", 0.5, 0.9)
    assert guarded(heard, 3.0, 0.0) is heard


@given(
    st.lists(st.sampled_from([" Thank you.", " The", " budget", " no,", " 감사합니다."]), max_size=3),
    st.floats(-1.0, 0.0),
    st.floats(0, 0.3),
)
def test_text_from_clear_speech_stays(texts: list[str], log_probability: float, no_speech: float) -> None:
    segments = tuple(said(text, log_probability) for text in texts)
    heard = Heard(segments, "en", 0.9, no_speech)
    assert guarded(heard, 3.0, CLEAR) is heard


def test_what_was_removed_is_told_beside_how_it_was_decoded() -> None:
    heard = Heard((said(" Thank you."),), "en", 0.9, 0.7, {"beam_size": 1})
    kept = guarded(heard, 2.0, CLEAR)
    assert (kept.segments, kept.decoding) == ((), {"beam_size": 1, "removed": ["phrase"]})
    assert (kept.language, kept.no_speech_probability) == ("en", 0.7)
    assert heard.decoding == {"beam_size": 1}


def test_a_loop_of_a_phrase_is_judged_by_the_phrase() -> None:
    words = tuple(HeardWord(text, at, at + 0.3, 0.9) for at in range(12) for text in (" Thank", " you."))
    heard = Heard((HeardSegment(" Thank you." * 12, 24, -0.1, 6.0, words),), "en", 0.9)
    assert guarded(heard, 12.0, CLEAR).text == "Thank you."
    assert guarded(heard, 12.0, CLEAR).decoding == {"removed": ["loop"]}
    assert guarded(heard, 12.0, DOUBTFUL).segments == ()
    assert guarded(heard, 12.0, DOUBTFUL).decoding == {"removed": ["loop", "phrase"]}
