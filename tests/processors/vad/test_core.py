from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import LONGEST_LEAD, WIDTH
from processors.vad.core import COLD_START, FRAME, WARM_UP, Detector, OpenSegment, Parameters, Segment, Segmenter
from tests.processors.vad.generated import (
    SMALL,
    CutRequests,
    Runs,
    Stateful,
    Stretch,
    Stretches,
    all_stretches,
    assert_anyone_can_take_over,
    cut_requests,
    feed_all,
    fooled_by_novelty,
    frames,
    levels,
    parameters,
    runs,
    runs_of_frames,
    simple,
    thorough,
)

pytestmark = pytest.mark.usefixtures("short_spans")


def segment(sound: bytes, parameters: Parameters = SMALL) -> list[Segment]:
    return feed_all(Segmenter(simple, parameters), [Stretch(0, sound)])


def spans(sound: bytes, parameters: Parameters = SMALL) -> list[tuple[float, float, bool]]:
    """Segments in frames."""
    return [(found.start / FRAME, found.end / FRAME, found.continues) for found in segment(sound, parameters)]


# ---- properties of any audio


@thorough
@given(all_stretches, parameters(), st.lists(st.integers(1, 3_000), min_size=1, max_size=5), cut_requests)
def test_the_size_of_chunks_changes_nothing(
    stretches: Stretches, parameters: Parameters, chunks: list[int], requests: CutRequests
) -> None:
    whole = feed_all(Segmenter(Stateful, parameters), stretches, requests=requests)
    assert feed_all(Segmenter(Stateful, parameters), stretches, tuple(chunks), requests) == whole


@thorough
@given(all_stretches, parameters(), cut_requests)
def test_anyone_can_take_over_after_any_segment(
    stretches: Stretches, parameters: Parameters, requests: CutRequests
) -> None:
    assert_anyone_can_take_over(Stateful, parameters, stretches, requests)


@thorough
@given(all_stretches, parameters(), cut_requests)
def test_repeated_cut_requests_change_nothing(
    stretches: Stretches, parameters: Parameters, requests: CutRequests
) -> None:
    """Also between requests that were made earlier and took longer to arrive."""
    repeated = [
        again for place, at in requests for again in ((place, at // 2), (place, at), (place, at), (place, at // 3))
    ]
    found = feed_all(Segmenter(Stateful, parameters), stretches, requests=repeated)
    assert found == feed_all(Segmenter(Stateful, parameters), stretches, requests=requests)


@thorough
@given(all_stretches, parameters(), cut_requests)
def test_segments_are_ordered_and_carry_exactly_their_audio(
    stretches: Stretches, parameters: Parameters, requests: CutRequests
) -> None:
    found = feed_all(Segmenter(Stateful, parameters), stretches, requests=requests)
    assert all(earlier.end <= later.start for earlier, later in pairwise(found))
    for one in found:
        assert 0 < one.end - one.start <= parameters.max_ms * 16
        (stretch,) = (stretch for stretch in stretches if stretch.start <= one.start and one.end <= stretch.end)
        assert one.pcm == stretch.pcm_of(one.start, one.end)
        before = max((earlier.end for earlier in found if earlier.end <= one.start), default=0)
        lead = max(before, stretch.start, one.start - LONGEST_LEAD)
        assert one.lead == stretch.pcm_of(lead, one.start)


@thorough
@given(all_stretches, parameters())
def test_floor_and_position_only_rise_and_no_later_segment_starts_below_floor(
    stretches: Stretches, parameters: Parameters
) -> None:
    segmenter, floor, position = Segmenter(Stateful, parameters), 0, 0
    for stretch in stretches:
        found = segmenter.skip(stretch.start)
        for start in range(stretch.start, stretch.end, 700):
            found += segmenter.feed(stretch.pcm_of(start, min(start + 700, stretch.end)))
            assert all(one.start >= floor for one in found)
            assert floor <= segmenter.floor <= segmenter.position
            assert segmenter.position == min(start + 700, stretch.end) > position
            floor, position, found = segmenter.floor, segmenter.position, []


@thorough
@given(all_stretches, parameters())
def test_a_segment_that_has_settled_ends_there_unless_speech_goes_on(
    stretches: Stretches, parameters: Parameters
) -> None:
    segmenter = Segmenter(Stateful, parameters)
    settled: dict[int, tuple[int, bytes, bytes]] = {}
    for stretch in [*stretches, Stretch(stretches[-1].end + 1, b"")]:
        check_settled(segmenter.skip(stretch.start), settled)
        for start in range(stretch.start, stretch.end, FRAME):
            check_settled(segmenter.feed(stretch.pcm_of(start, min(start + FRAME, stretch.end))), settled)
            if (opened := segmenter.open_segment) is not None:
                settled.pop(opened.start, None)
                if opened.settled:
                    pcm = segmenter.pcm(opened)[: (opened.settled - opened.start) * WIDTH]
                    settled[opened.start] = opened.settled, pcm, segmenter.lead(opened.start)


def check_settled(found: list[Segment], settled: dict[int, tuple[int, bytes, bytes]]) -> None:
    for one in found:
        if one.start in settled and not one.continues:
            assert settled[one.start] == (one.end, one.pcm, one.lead)


def test_a_segment_settles_when_the_padding_behind_speech_is_over() -> None:
    segmenter = Segmenter(simple, SMALL)
    found, settled = segmenter.feed(frames((0, 20), (9, 6))), []
    for loud in (0, 0, 0, 9, 0, 0, 0, 0, 0):
        opened = segmenter.open_segment
        settled.append(opened.settled // FRAME if opened else None)
        found += segmenter.feed(frames((loud, 1)))
    assert settled == [0, 0, 28, 28, 0, 0, 32, 32, 32]
    assert [one.end // FRAME for one in found] == [32]


@thorough
@given(runs_of_frames, parameters())
def test_all_speech_is_in_segments_and_padding_is_never_longer_than_configured(
    runs: Runs, parameters: Parameters
) -> None:
    sound = frames(*runs)
    found = segment(sound, parameters)
    detect, (onset, padding) = simple(), ((ms + 15) // 30 for ms in (parameters.onset_ms, parameters.padding_ms))
    voiced = "".join(".v"[detect(sound[at : at + 2 * FRAME])] for at in range(0, len(sound), 2 * FRAME))
    covered = {at for one in found for at in range(one.start // FRAME, one.end // FRAME)}
    end = 0
    for run in voiced.split("."):
        end += len(run)
        assert len(run) < onset or covered.issuperset(range(end - len(run), end))
        end += 1
    for before, one in pairwise([Segment(0, 0, b""), *found]):
        inside = voiced[one.start // FRAME : one.end // FRAME]
        assert one.continues or len(inside) - len(inside.rstrip(".")) <= padding
        assert before.continues or len(inside) - len(inside.lstrip(".")) <= padding
        assert "v" in inside


@thorough
@given(runs)
def test_frames_are_classified_once_and_repeated_only_for_cold_starts_and_warm_ups(runs: Runs) -> None:
    sound, calls = levels(*runs), 0

    def counting() -> Detector:
        detect = Stateful()

        def count(frame: bytes) -> bool:
            nonlocal calls
            calls += 1
            return detect(frame)

        return count

    feed_all(Segmenter(counting, SMALL), [Stretch(0, sound)])
    whole = len(sound) // (2 * FRAME)
    assert calls == whole + min(COLD_START, whole) + sum(at % (WARM_UP + 10) >= 10 for at in range(whole))


def test_silence_takes_no_memory() -> None:
    segmenter, second = Segmenter(simple, Parameters()), frames((0, 33))
    tracemalloc.start()
    for _ in range(600):
        assert segmenter.feed(second) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * len(second)
    assert segmenter.position == 600 * 33 * FRAME


# ---- onset, padding, hangover


def test_enough_voiced_frames_in_a_row_open_a_segment_with_padding_on_both_sides() -> None:
    assert spans(frames((0, 10), (9, 3), (0, 10))) == [(8, 15, False)]
    assert spans(frames((0, 10), (9, 2), (0, 1), (9, 2), (0, 10))) == []


def test_a_pause_shorter_than_the_hangover_does_not_end_a_segment() -> None:
    assert spans(frames((0, 10), (9, 3), (0, 4), (9, 1), (0, 10))) == [(8, 20, False)]
    assert spans(frames((0, 10), (9, 3), (0, 5), (9, 3), (0, 10))) == [(8, 15, False), (16, 23, False)]


def test_padding_reaches_neither_into_the_segment_before_nor_past_the_end() -> None:
    wide = Parameters(onset_ms=90, padding_ms=300, hangover_ms=150, max_ms=1_200)
    assert spans(frames((0, 2), (9, 3), (0, 5), (9, 3), (0, 10)), wide) == [(0, 10, False), (10, 18, False)]


def test_voiced_frames_before_an_end_do_not_count_for_the_next_onset() -> None:
    assert cut(frames((0, 10), (9, 6), (0, 20)), (14, 14)) == [(8, 14, False)]
    assert cut(frames((0, 10), (9, 7), (0, 20)), (14, 14)) == [(8, 14, False), (14, 19, False)]


def test_a_segment_is_returned_as_soon_as_its_hangover_is_over() -> None:
    segmenter = Segmenter(simple, SMALL)
    assert segmenter.feed(frames((0, 30), (9, 2))) == []
    assert not segmenter.is_open
    assert segmenter.feed(frames((9, 1), (0, 4))) == []
    assert segmenter.is_open
    assert segmenter.floor == 28 * FRAME
    assert [one.end for one in segmenter.feed(frames((0, 1)))] == [35 * FRAME]
    assert not segmenter.is_open


def test_a_cold_detector_is_first_fed_the_frames_that_it_will_classify() -> None:
    segmenter = Segmenter(fooled_by_novelty, SMALL)
    noise = frames(*((1 + at % 7, 1) for at in range(COLD_START)))
    assert segmenter.feed(noise + frames((9, 3), (1, 5)))[0].start == (COLD_START - 2) * FRAME
    assert (
        Segmenter(fooled_by_novelty, SMALL).feed(noise) == Segmenter(fooled_by_novelty, SMALL, start=7).skip(700) == []
    )


# ---- the longest segment


def test_a_long_segment_is_cut_where_it_is_quietest_and_goes_on_without_a_gap() -> None:
    sound = frames((0, 4), (9, 12), (6, 3), (9, 20), (0, 10))
    assert spans(sound)[0] == (2, 18, True)
    assert [one.start for one in segment(sound)[1:]] == [one.end for one in segment(sound)[:-1]]
    assert segment(sound)[-1].end == 41 * FRAME


def test_a_pause_between_words_is_preferred_to_the_silence_inside_a_plosive() -> None:
    plosive, pause = (0, 1), (1, 3)
    assert spans(frames((0, 4), (9, 9), plosive, (9, 3), pause, (9, 20)))[0] == (2, 19, True)


def test_the_latest_of_equally_quiet_places_is_taken() -> None:
    assert spans(frames((0, 4), (9, 10), (0, 3), (9, 1), (0, 3), (9, 20)))[0] == (2, 20, True)
    assert spans(frames((9, 40)))[0] == (0, 19, True)


def test_only_the_last_five_seconds_are_searched() -> None:
    sound = frames((9, 750), (0, 10), (9, 100), (1, 3), (9, 400))
    assert spans(sound, Parameters())[0] == (0, 862, True)


def test_a_continuation_in_which_nobody_speaks_is_dropped() -> None:
    assert spans(frames((0, 4), (9, 14), (0, 40))) == [(2, 21, True)]
    assert spans(frames((0, 4), (9, 14), (0, 3), (9, 2), (0, 40)))[1:] == []


def test_a_continuation_of_nothing_but_clicks_is_dropped_even_if_it_lasts() -> None:
    clicks = [(0, 2), (9, 1)] * 20
    assert spans(frames((0, 4), (9, 14), (0, 8), *clicks)) == [(2, 21, True)]


def test_silence_between_a_cut_and_speech_does_not_become_a_segment() -> None:
    patient = Parameters(onset_ms=90, padding_ms=60, hangover_ms=540, max_ms=600)
    assert spans(frames((9, 16), (0, 19), (9, 9), (0, 30)), patient) == [(0, 19, True), (34, 53, True)]


def test_speech_soon_after_a_dropped_continuation_has_its_padding() -> None:
    assert spans(frames((0, 4), (9, 14), (0, 8), (9, 3), (0, 9))) == [(2, 21, True), (24, 31, False)]


def test_speech_that_ends_soon_after_a_cut_is_kept() -> None:
    """Two frames alone would not open a segment; here they are the end of a long run."""
    assert spans(frames((0, 2), (9, 21), (0, 20))) == [(0, 19, True), (19, 25, False)]
    assert spans(frames((0, 2), (9, 19), (0, 20))) == [(0, 19, True), (19, 23, False)]


# ---- the end of the stream, and gaps


@pytest.mark.parametrize("padding_ms", [0, 60])
def test_speech_up_to_the_end_includes_the_last_incomplete_frame(padding_ms: int) -> None:
    (found,) = segment(frames((9, 4)) + levels((9, 100)), Parameters(90, padding_ms, 150, 600))
    assert (found.start, found.end, len(found.pcm)) == (0, 4 * FRAME + 100, 2 * (4 * FRAME + 100))


def test_silence_up_to_the_end_is_padding_at_most() -> None:
    assert spans(frames((9, 3), (0, 4)) + levels((0, 100))) == [(0, 5, False)]


def test_sound_without_speech_ends_without_a_segment() -> None:
    assert spans(b"") == spans(levels((9, 100))) == spans(frames((0, 50), (9, 2)) + levels((9, 100))) == []


def test_a_gap_ends_the_open_segment_and_does_not_move_the_frames() -> None:
    segmenter = Segmenter(simple, SMALL)
    assert segmenter.feed(frames((0, 3), (9, 4)) + levels((9, 70))) == []
    assert [(one.start, one.end) for one in segmenter.skip(9_999)] == [(FRAME, 7 * FRAME + 70)]
    assert (segmenter.position, segmenter.floor, segmenter.is_open) == (9_999, 9_999, False)
    (found,) = segmenter.feed(frames((0, 1), (9, 3), (0, 17)))
    assert (found.start, found.end) == (9_999, 27 * FRAME)  # frames 21 to 24 are voiced


def test_a_gap_of_no_length_is_ignored() -> None:
    segmenter = Segmenter(simple, SMALL)
    segmenter.feed(frames((9, 20)))
    assert segmenter.skip(20 * FRAME) == []
    assert segmenter.is_open


# ---- cut requests


def cut(
    sound: bytes, *requests: tuple[float, float], parameters: Parameters = SMALL
) -> list[tuple[float, float, bool]]:
    """Segments, in frames, as are the requests."""
    in_samples = [(round(place * FRAME), round(at * FRAME)) for place, at in requests]
    found = assert_anyone_can_take_over(simple, parameters, [Stretch(0, sound)], in_samples)
    return [(one.start / FRAME, one.end / FRAME, one.continues) for one in found]


SPOKEN = frames((0, 10), (9, 6), (0, 20), (9, 4), (0, 10))


def test_a_cut_ends_the_open_segment_at_once_and_later_speech_opens_another() -> None:
    assert cut(SPOKEN) == [(8, 18, False), (34, 42, False)]
    assert cut(SPOKEN, (14, 14)) == [(8, 14, False), (34, 42, False)]
    assert cut(SPOKEN, (17, 17)) == [(8, 17, False), (34, 42, False)]  # in the padding
    assert cut(SPOKEN, (19, 19)) == [(8, 18, False), (34, 42, False)]  # behind it
    segmenter = Segmenter(simple, SMALL)
    assert segmenter.feed(SPOKEN[: 2 * 19 * FRAME]) == []
    assert [one.end for one in segmenter.cut(19 * FRAME)] == [18 * FRAME]
    assert not segmenter.is_open


def test_a_cut_in_speech_opens_another_segment_if_speech_goes_on() -> None:
    assert cut(frames((0, 10), (9, 10), (0, 10)), (14, 14)) == [(8, 14, False), (14, 22, False)]


def test_a_cut_in_the_middle_of_a_frame_keeps_the_first_part_of_it() -> None:
    assert cut(SPOKEN, (14.5, 14.5)) == [(8, 14.5, False), (34, 42, False)]
    assert cut(SPOKEN, (17.5, 17.5)) == [(8, 17.5, False), (34, 42, False)]
    assert cut(SPOKEN, (18.5, 18.5)) == [(8, 18, False), (34, 42, False)]


def test_a_late_cut_ends_the_open_segment_only_if_there_was_no_speech_since() -> None:
    pause = frames((0, 10), (9, 6), (0, 3), (9, 3), (0, 20))
    assert cut(pause) == [(8, 24, False)]
    assert cut(pause, (18, 16)) == [(8, 18, False), (18, 24, False)]
    assert cut(pause, (18, 15)) == [(8, 24, False)]  # a voiced frame ended at 16
    assert cut(pause, (20, 17)) == [(8, 24, False)]  # and another one at 20
    assert cut(pause, (19.5, 17)) == [(8, 18, False), (18, 24, False)]


def test_a_cut_where_nothing_is_open_changes_nothing() -> None:
    assert cut(SPOKEN, (3, 3), (12, 12), (25, 25), (44, 40)) == cut(SPOKEN)  # at 12 there are two voiced frames
    assert Segmenter(simple, SMALL).cut(0) == []


def test_a_cut_soon_after_a_long_segment_was_cut_drops_silence_and_no_speech() -> None:
    patient = Parameters(onset_ms=90, padding_ms=60, hangover_ms=540, max_ms=600)
    sound = frames((9, 16), (0, 10), (9, 9), (0, 30))
    assert [start for start, _, _ in cut(sound, parameters=patient)][:2] == [0, 19]
    assert [start for start, _, _ in cut(sound, (22, 20), parameters=patient)][:2] == [0, 24]
    assert cut(frames((9, 39)), (20, 20)) == [(0, 19, True), (19, 20, False), (20, 39, False)]


def test_a_cut_during_the_cold_start_keeps_speech_and_ignores_noise() -> None:
    segmenter = Segmenter(simple, SMALL)
    segmenter.feed(frames((0, 1), (9, 4)))
    assert [(one.start, one.end) for one in segmenter.cut(5 * FRAME)] == [(0, 5 * FRAME)]
    noise = frames(*((1 + at % 7, 1) for at in range(COLD_START)))
    segmenter = Segmenter(fooled_by_novelty, SMALL)
    assert segmenter.cut(0) == segmenter.feed(noise[: 2 * 9 * FRAME]) == segmenter.cut(9 * FRAME) == []
    rest = segmenter.feed(noise[2 * 9 * FRAME :] + frames((9, 3), (1, 5)))
    assert [one.start for one in rest] == [(COLD_START - 2) * FRAME]


def test_cut_requests_take_no_memory() -> None:
    segmenter, second = Segmenter(simple, Parameters()), frames((0, 33))
    tracemalloc.start()
    for _ in range(300):
        for frame in range(33):
            segmenter.feed(second[2 * frame * FRAME : 2 * (frame + 1) * FRAME])
            for _ in range(3):
                assert segmenter.cut(segmenter.position) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * len(second)


def test_the_open_segment_can_be_read_without_ending_it() -> None:
    segmenter, sound = Segmenter(simple, SMALL), frames((0, 30), (9, 4), (0, 2)) + levels((0, 70))
    seen = [segmenter.open_segment]
    for part in (sound, frames((0, 5))):
        segmenter.feed(part)
        seen.append(segmenter.open_segment)
    speech = OpenSegment(28 * FRAME, 30 * FRAME, 34 * FRAME, 36 * FRAME + 70, settled=36 * FRAME)
    assert seen == [None, speech, None]


def test_the_pcm_of_the_open_segment_is_all_of_its_audio() -> None:
    segmenter, sound = Segmenter(simple, SMALL), frames((0, 30), (9, 4), (0, 2)) + levels((0, 70))
    segmenter.feed(sound)
    assert segmenter.open_segment
    assert segmenter.pcm(segmenter.open_segment) == sound[2 * 28 * FRAME :]


def test_a_continuation_without_speech_so_far_is_not_an_open_segment() -> None:
    segmenter = Segmenter(simple, SMALL)
    assert [one.continues for one in segmenter.feed(frames((0, 4), (9, 14), (0, 4)))] == [True]
    assert segmenter.is_open
    assert segmenter.open_segment is None


# ---- bad input


def test_known_audio_cannot_be_skipped() -> None:
    segmenter = Segmenter(simple, SMALL, start=1_000)
    with pytest.raises(ValueError, match="cannot skip to sample 999: audio before 1000 is known already"):
        segmenter.skip(999)


def test_audio_that_is_still_to_come_cannot_be_cut() -> None:
    segmenter = Segmenter(simple, SMALL)
    segmenter.feed(frames((0, 2)))
    with pytest.raises(ValueError, match="cannot cut at sample 961: only audio before 960 is known"):
        segmenter.cut(961)


def test_half_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="3 bytes of audio: whole samples of 2 bytes"):
        Segmenter(simple, SMALL).feed(b"abc")
    with pytest.raises(ValueError, match="5 bytes of audio"):
        Segmenter(simple, SMALL, start=10, before=b"abcde")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"onset_ms": 29}, "onset_ms is 29: at least 30 is accepted"),
        ({"padding_ms": -1}, "padding_ms is -1: at least 0 is accepted"),
        ({"hangover_ms": 0}, "hangover_ms is 0: at least 30 is accepted"),
        ({"max_ms": 779}, "max_ms is 779: at least 780 is accepted"),
        ({"onset_ms": 30, "padding_ms": 0, "max_ms": 119}, "max_ms is 119: at least 120 is accepted"),
    ],
)
def test_parameters_that_cannot_work_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parameters(**changes)
