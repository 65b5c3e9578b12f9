"""From the stored messages of a job to its segments, with the segmenter and all that may lie between."""

from __future__ import annotations

from functools import partial
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import RATE
from contract.audio import AudioFrame, decode_audio, encode_audio
from processors.vad.core import (
    FRAME,
    DetectorFactory,
    OpenSegment,
    Output,
    Parameters,
    Segment,
    Segmentation,
    Segmenter,
)
from processors.vad.settings import webrtc_detector
from tests.processors.vad.generated import (
    SMALL,
    CutRequests,
    Runs,
    Stateful,
    Stretch,
    feed_all,
    frames,
    levels,
    parameters,
    runs,
    simple,
    thorough,
)

pytestmark = pytest.mark.usefixtures("short_spans")

Messages = list[tuple[int, bytes]]

CHUNK = 700
"""Samples in a message, so that cut requests fall into the middle of frames."""


def messages_of(pcm: bytes, requests: CutRequests = (), chunk: int = CHUNK) -> Messages:
    """A job's audio and its end; each request lies behind so many messages."""
    size = 2 * chunk
    audio = [AudioFrame(at // 2, pcm[at : at + size]) for at in range(0, len(pcm), size)]
    frames: list[AudioFrame] = []
    for number, frame in enumerate([*audio, AudioFrame(len(pcm) // 2, b"", last=True)]):
        frames += [AudioFrame(at, b"", cut=True) for place, at in requests if place == number]
        frames.append(frame)
    return stored(frames)


def stored(frames: list[AudioFrame]) -> Messages:
    """Frames with sequences; what lies between is of other jobs."""
    return [(3 * number + 1, encode_audio(frame)) for number, frame in enumerate(frames)]


def read(audio: Segmentation, messages: Messages, after: int | None = 0, at_once: int = 1) -> list[tuple[Segment, int]]:
    """Drive a segmentation as live jobs and replays do; segments, each with the sequence for a successor."""
    found: list[tuple[Segment, int]] = []
    while after is not None:
        rest = [message for message in messages if message[0] > after]
        for at in range(0, len(rest), at_once):
            if output := audio.step(rest[at : at + at_once]):
                found += output.segments
                if output.done:
                    break
        output, after = audio.end_read()
        found += output.segments
    return found


def segmentation(new_detector: DetectorFactory, parameters: Parameters, last: Segment | None = None) -> Segmentation:
    if last is None:
        return Segmentation("a", new_detector, parameters)
    return Segmentation("a", new_detector, parameters, start=last.end, continues=last.continues, index=1)


def assert_any_worker_can_take_over(
    new_detector: DetectorFactory, parameters: Parameters, messages: Messages, at_once: int = 1
) -> list[Segment]:
    """A worker that knows no more than a segment and its sequence finds exactly what follows; returns all segments."""
    whole = read(segmentation(new_detector, parameters), messages)
    for known, (last, seq) in enumerate(whole, 1):
        successor = segmentation(new_detector, parameters, last)
        rest = read(successor, messages, seq - 1, at_once)
        assert [segment for segment, _ in rest] == [segment for segment, _ in whole[known:]]
        assert successor.index == 1 + len(rest)
    return [segment for segment, _ in whole]


@thorough
@given(runs, parameters(), st.integers(100, 3_000), st.integers(1, 40), st.randoms(use_true_random=False))
def test_messages_that_are_repeated_or_arrive_too_early_change_nothing(
    runs: Runs, parameters: Parameters, chunk: int, at_once: int, random: Random
) -> None:
    """A frame is two messages early at most, as the window of a publisher allows."""
    sound = levels(*runs)
    frames = [decode_audio(data) for _, data in messages_of(sound, chunk=chunk)]
    disordered = list[AudioFrame]()
    for number, frame in enumerate(frames[:-1]):
        disordered += random.choices(frames[: number + 3], k=random.randint(0, 2))  # a publisher that goes back
        disordered.append(frame)
    disordered = [frame for frame in disordered if not frame.last] + frames[-1:]
    expected = feed_all(Segmenter(Stateful, parameters), [Stretch(0, sound)])
    found = read(segmentation(Stateful, parameters), stored(disordered), at_once=at_once)
    assert [segment for segment, _ in found] == expected


@thorough
@given(runs, parameters(), st.integers(100, RATE), st.integers(1, 40))
def test_a_successor_reads_on_from_the_sequence_of_any_segment(
    runs: Runs, parameters: Parameters, chunk: int, at_once: int
) -> None:
    messages = messages_of(levels(*runs), chunk=chunk)
    found = assert_any_worker_can_take_over(Stateful, parameters, messages, at_once)
    assert found == feed_all(Segmenter(Stateful, parameters), [Stretch(0, levels(*runs))])


def test_audio_that_is_known_already_is_not_read_again() -> None:
    """However much a step takes, a successor starts at most a second and a span before the end of its predecessor."""
    sound = frames(*[(0, 40), (9, 20)] * 20)
    for segment, seq in read(segmentation(simple, SMALL), messages_of(sound), at_once=30):
        resume = SMALL.resume_from(segment.end)
        assert resume - RATE - CHUNK < seq // 3 * CHUNK <= resume


def test_messages_that_are_no_audio_are_dead_letters() -> None:
    sound = frames((0, 10), (9, 6), (0, 20))
    messages = messages_of(sound)
    audio = segmentation(simple, SMALL)
    output = audio.step([*messages[:2], (77, b"garbage"), *messages[2:-1]])
    assert output is not None
    assert [(one.job, one.stream, one.seq, one.at) for one in output.dead] == [("a", "AUDIO", 77, "audio.a")]
    assert [one for one, _ in output.segments] == feed_all(Segmenter(simple, SMALL), [Stretch(0, sound)])
    assert not output.done
    assert audio.step(messages[-1:]) == Output([], [], True)
    assert audio.end_read() == (Output([], [], True), None)


def test_a_step_with_nothing_to_store_returns_none() -> None:
    audio = segmentation(simple, SMALL)
    assert {audio.step([message]) for message in messages_of(frames((0, 20), (9, 5)))[:-1]} == {None}
    assert audio.open_segment == OpenSegment(18 * FRAME, 20 * FRAME, 25 * FRAME, 25 * FRAME)
    assert (audio.position, audio.index) == (25 * FRAME, 0)


@pytest.mark.parametrize("at_once", [1, 100])
def test_missing_audio_ends_the_open_segment_and_is_skipped(at_once: int) -> None:
    sound = frames((0, 10), (9, 30), (0, 20))
    messages = messages_of(sound)
    kept = messages[:13] + messages[20:]  # samples 9,100 to 14,000, in the middle of speech
    audio = segmentation(simple, SMALL)
    (first, _), (second, seq) = read(audio, kept, at_once=at_once)
    assert (first.start, first.end, second.start) == (8 * FRAME, 9_100, 14_000)
    assert seq == kept[13][0]
    assert audio.position == len(sound) // 2


# ---- cut requests among stored messages


def assert_cut_alike(pcm: bytes, requests: CutRequests) -> list[tuple[int, int, bool]]:
    messages = messages_of(pcm, requests)
    found = assert_any_worker_can_take_over(partial(webrtc_detector, 2), Parameters(max_ms=5_000), messages)
    return [(one.start, one.end, one.continues) for one in found]


def cut_by_segmenter(pcm: bytes, requests: CutRequests = ()) -> list[tuple[int, int, bool]]:
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters(max_ms=5_000))
    return [(one.start, one.end, one.continues) for one in feed_all(segmenter, [Stretch(0, pcm)], requests=requests)]


def test_a_request_ends_the_open_segment_and_changes_nothing_else(meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    place = 100  # sample 70,000, in the second of the meeting's segments
    found = assert_cut_alike(pcm, [(place, place * CHUNK)])
    assert found == cut_by_segmenter(pcm, [(place * CHUNK, place * CHUNK)])
    assert place * CHUNK in [end for _, end, _ in found]
    assert place * CHUNK not in [end for _, end, _ in cut_by_segmenter(pcm)]
    assert found[0] == cut_by_segmenter(pcm)[0]


def test_requests_that_are_repeated_or_where_nothing_is_open_change_nothing(meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    repeated = [(0, 0), (57, 39_900), (100, 70_000), (100, 70_000), (101, 70_000), (129, 90_300), (129, 90_000)]
    assert assert_cut_alike(pcm, repeated) == assert_cut_alike(pcm, [(100, 70_000)])


def test_a_request_that_names_audio_still_to_come_is_ignored(meeting: bytes) -> None:
    pcm = meeting[: 2 * 100_000]
    assert assert_cut_alike(pcm, [(30, 21_001), (60, 10**12)]) == cut_by_segmenter(pcm)


def test_a_late_request_is_applied_only_if_there_was_no_speech_since(meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    end = cut_by_segmenter(pcm)[0][1] - 4_800  # of the first segment's voice; 600 ms later it would end anyway
    place = (end + 7_000) // CHUNK
    found = assert_cut_alike(pcm, [(place, end), (110, 65_000)])
    assert found[0] == cut_by_segmenter(pcm)[0]
    assert found == cut_by_segmenter(pcm, [(place * CHUNK, end), (77_000, 65_000)])
    assert found == cut_by_segmenter(pcm)


@pytest.mark.parametrize("every", [3, 20, 50])
def test_requests_in_unbroken_speech_and_cuts_of_long_segments_go_together(meeting: bytes, every: int) -> None:
    voice = meeting[2 * 430_560 : 2 * 489_120]  # one long sentence
    pcm = voice * 3
    requests = [
        (place, max(0, place * CHUNK - 5_000 * (place % 2))) for place in range(every, len(pcm) // 1_400, every)
    ]
    found = assert_cut_alike(pcm, requests)
    assert found == cut_by_segmenter(pcm, [(place * CHUNK, at) for place, at in requests])
    assert len(found) > 3
