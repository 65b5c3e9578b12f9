from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import ContractError, Opened, Segmented, Transcript, Word
from processors.insights.core import Meeting, Rules, alert, figures
from processors.insights.keywords import Keyword
from processors.insights.messages import Insights, KeywordAlert, SpeakerTranscript

S = 16_000


def said(index: int, start: float, end: float, text: str = "one two", **fields: Any) -> SpeakerTranscript:
    """A transcript; seconds."""
    return SpeakerTranscript(job="m1", index=index, start=round(start * S), end=round(end * S), text=text, **fields)


def of(*transcripts: SpeakerTranscript, samples: float | None = None, pause: float = 2, keywords: str = "") -> Insights:
    rules = Rules([Keyword.of(word) for word in keywords.split()], round(pause * S))
    return figures("m1", transcripts, rules, None if samples is None else round(samples * S))


def test_talk_time_silence_and_pace() -> None:
    found = of(said(0, 1, 11, "a b c d e f g h i j"), said(1, 12, 22, "k l m n o p q r s t"), samples=40)
    assert found.final
    assert (found.segments, found.until) == (2, 40 * S)
    assert (found.talk_seconds, found.silence_share) == (20.0, 0.5)
    assert (found.words, found.words_per_minute) == (20, 60.0)


def test_the_audio_of_a_live_job_ends_with_the_last_transcript() -> None:
    found = of(said(0, 1, 3), said(1, 4, 5))
    assert not found.final
    assert (found.until, found.silence_share) == (5 * S, 0.4)


def test_speech_lasts_from_the_first_word_to_the_last() -> None:
    words = [
        Word(word="one", start=2 * S, end=3 * S, probability=1),
        Word(word="two", start=4 * S, end=5 * S, probability=1),
    ]
    found = of(said(0, 1, 6, words=words))
    assert (found.talk_seconds, found.longest_monologue_start) == (3.0, 2 * S)


def test_pauses_are_between_speech_and_long_enough() -> None:
    found = of(said(0, 5, 6), said(1, 7.9, 9), said(2, 11, 12), said(3, 16, 17), samples=60)
    assert (found.pauses, found.longest_pause_seconds) == (2, 4.0)
    assert of(said(0, 5, 6), said(1, 7.9, 9), pause=1.9).pauses == 1


def test_a_monologue_ends_with_a_pause() -> None:
    found = of(said(0, 0, 4), said(1, 5, 8), said(2, 10, 17), said(3, 19, 20))
    assert (found.longest_monologue_seconds, found.longest_monologue_start) == (8.0, 0)


def test_segments_that_overlap_are_counted_once() -> None:
    assert of(said(0, 0, 4), said(1, 3, 5), said(2, 1, 2)).talk_seconds == 5.0


def test_a_transcript_without_words_is_silence_unless_transcription_failed() -> None:
    found = of(said(0, 0, 4, ""), said(1, 5, 6, "..."), said(2, 10, 12, "", error="out of memory"), said(3, 12, 14))
    assert (found.talk_seconds, found.words, found.failed) == (4.0, 2, 1)
    assert found.words_per_minute == 60.0  # of the two seconds whose words are known
    unreadable = said(0, 0, 0, "", error="not a Transcript")
    assert of(unreadable, said(1, 9, 10)).pauses == 0


def test_silence_has_no_pace() -> None:
    found = of(samples=10)
    assert (found.talk_seconds, found.silence_share, found.words, found.pauses) == (0.0, 1.0, 0, 0)
    fields = msgpack.unpackb(found.encode())
    assert "words_per_minute" not in fields
    assert "longest_monologue_start" not in fields
    assert "silence_share" not in msgpack.unpackb(of().encode())


def test_unknown_figures_are_left_out() -> None:
    unknown = [of(said(0, 0, 4)), of(said(0, 0, 4, speaker="Mina"), said(1, 5, 6))]
    for found in unknown:
        fields = msgpack.unpackb(found.encode())
        assert not {"speakers", "interruptions", "overlap_seconds"} & set(fields)
        assert Insights.decode(found.encode()) == found


def test_speakers_have_their_shares() -> None:
    found = of(
        said(0, 0, 6, "a b c d e f", speaker="Mina"),
        said(1, 6, 8, "g", speaker="Jun"),
        said(2, 8, 10, "h", speaker="Mina"),
        samples=20,
    )
    assert found.speakers is not None
    mina, jun = found.speakers
    assert (mina.speaker, mina.talk_seconds, mina.talk_share, mina.words) == ("Mina", 8.0, 0.8, 7)
    assert (jun.speaker, jun.talk_seconds, jun.talk_share, jun.words) == ("Jun", 2.0, 0.2, 1)
    assert (mina.longest_monologue_seconds, jun.longest_monologue_seconds) == (6.0, 2.0)
    assert (mina.words_per_minute, jun.words_per_minute) == (52.5, 30.0)
    assert found.longest_monologue_seconds == 6.0  # the other speaker ended it
    assert (found.interruptions, found.overlap_seconds) == (0, 0.0)
    assert Insights.decode(found.encode()) == found


def test_a_speaker_who_starts_while_another_one_speaks_interrupts() -> None:
    found = of(
        said(0, 0, 10, speaker="Mina"),
        said(1, 4, 5, speaker="Jun"),  # interrupts
        said(2, 9, 12, speaker="Jun"),  # again
        said(3, 11, 14, speaker="Mina"),  # and is interrupted
        said(4, 13, 15, speaker="Mina"),  # goes on
        said(5, 15, 16, speaker="Jun"),  # waited
    )
    assert found.speakers is not None
    assert {one.speaker: one.interruptions for one in found.speakers} == {"Mina": 1, "Jun": 2}
    assert (found.interruptions, found.overlap_seconds) == (3, 3.0)


@pytest.mark.parametrize(("given", "name"), [("Mina", "Mina"), (0, "0"), (None, None), ("", None), ({"id": 1}, None)])
def test_a_speaker_is_a_name_or_a_number(given: object, name: str | None) -> None:
    fields = said(0, 0, 1).model_dump() | {"speaker": given}
    assert SpeakerTranscript.decode(msgpack.packb(fields)).speaker == name


def test_keywords_are_counted_even_if_there_are_none() -> None:
    found = of(said(0, 0, 1, "The budget."), said(1, 1, 2, "Budget, budget!"), keywords="budget release")
    assert found.keywords == {"budget": 3, "release": 0}


def test_an_alert_says_what_and_where() -> None:
    rules = Rules([Keyword.of("budget"), Keyword.of("release")])
    transcript = said(3, 1, 2, "The budget, the budget.", speaker="Mina")
    assert alert(transcript, rules) == KeywordAlert(
        job="m1", index=3, start=S, end=2 * S, keywords={"budget": 2}, text="The budget, the budget.", speaker="Mina"
    )
    assert alert(said(0, 0, 1, "Nothing of it."), rules) is None
    assert alert(transcript, Rules()) is None


def test_subjects_of_the_events() -> None:
    assert of().subject == "events.m1.insights"
    assert KeywordAlert(job="m1", index=3, start=0, end=1, keywords={}, text="").subject == "events.m1.keywords.1.3"


@st.composite
def meetings(draw: st.DrawFn) -> list[SpeakerTranscript]:
    groups: list[list[str | None]] = [[None], ["a", "b"], ["a", "b", "c", None]]
    speakers = st.sampled_from(draw(st.sampled_from(groups)))
    texts = st.sampled_from(["", "one", "one two three", "하나 둘"])
    places = draw(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), max_size=12))
    return [
        said(index, start, start + length, draw(texts), speaker=draw(speakers))
        for index, (start, length) in enumerate(places)
    ]


@given(meetings(), st.floats(0.1, 60))
def test_figures_agree_with_each_other(transcripts: list[SpeakerTranscript], pause: float) -> None:
    found = of(*transcripts, samples=130, pause=pause)
    assert 0 <= found.talk_seconds <= 130
    assert found.silence_share is not None
    assert abs(found.silence_share * 130 + found.talk_seconds - 130) < 0.01
    assert found.longest_monologue_seconds <= 130
    assert (found.pauses == 0) == (found.longest_pause_seconds == 0)
    assert found.longest_pause_seconds == 0 or found.longest_pause_seconds >= pause - 0.01
    assert Insights.decode(found.encode()) == found
    if found.speakers is not None:
        assert found.overlap_seconds is not None
        parts = sum(one.talk_seconds for one in found.speakers)
        assert found.talk_seconds - 0.01 <= parts
        assert found.overlap_seconds <= parts - found.talk_seconds + 0.02
        assert sum(one.words for one in found.speakers) == found.words
        assert found.interruptions == sum(one.interruptions for one in found.speakers)
        if found.talk_seconds > 0.1:
            assert abs(sum(one.talk_share for one in found.speakers) - 1) < 0.01


# ---- the events of a job

SEGMENTED = Segmented(job="m1", segments=2, samples=64_000)


def second(index: int, generation: int = 1) -> Transcript:
    """Half a second of speech, one in each second."""
    return said(index, index, index + 0.5, generation=generation)


@pytest.fixture
def meeting() -> Meeting:
    return Meeting("m1", Rules())


def add(meeting: Meeting, *messages: Transcript | Segmented | Opened) -> None:
    for message in messages:
        meeting.add(message.subject, message.encode())


def test_figures_are_of_the_transcripts_before_the_first_that_is_missing(meeting: Meeting) -> None:
    add(meeting, second(2), second(0))
    assert meeting.insights().segments == 1
    add(meeting, second(1))
    assert meeting.insights().segments == 3
    assert not meeting.insights().final


def test_figures_are_final_once_all_utterances_have_their_transcripts(meeting: Meeting) -> None:
    add(meeting, Opened(job="m1"), second(0), SEGMENTED)
    assert not meeting.complete
    assert not meeting.insights().final
    add(meeting, second(1))
    assert meeting.complete
    found = meeting.insights()
    assert (found.final, found.segments, found.until) == (True, 2, 64_000)


def test_the_later_transcript_of_an_index_counts(meeting: Meeting) -> None:
    add(
        meeting, Transcript(job="m1", index=0, start=0, end=8_000, text="", error="out of memory"), second(1), SEGMENTED
    )
    assert (meeting.insights().failed, meeting.insights().words) == (1, 2)
    add(meeting, second(0))
    assert (meeting.insights().failed, meeting.insights().words) == (0, 4)


def test_other_generations_and_unknown_kinds_are_skipped(meeting: Meeting) -> None:
    add(meeting, second(0, generation=2))
    assert meeting.add("events.m1.applause", b"\xc1") is None
    assert meeting.insights().segments == 0


def test_a_transcript_that_cannot_be_read_counts_as_failed(meeting: Meeting) -> None:
    assert meeting.add("events.m1.transcript.1.0", b"\xc1") is not None
    add(meeting, second(1), SEGMENTED)
    assert meeting.complete
    assert (meeting.insights().failed, meeting.insights().talk_seconds) == (1, 0.5)


def test_a_count_that_cannot_be_read_is_an_error(meeting: Meeting) -> None:
    with pytest.raises(ContractError, match="not a Segmented"):
        meeting.add("events.m1.segmented", msgpack.packb({"job": "m1"}))


@pytest.mark.parametrize(
    "segmented", [SEGMENTED.model_copy(update={"segments": 0}), Segmented(job="m1", segments=1, samples=0)]
)
def test_an_erased_job_has_no_figures(meeting: Meeting, segmented: Segmented) -> None:
    add(meeting, second(0), segmented)
    assert meeting.empty
