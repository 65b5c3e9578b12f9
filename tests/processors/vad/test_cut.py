"""Cuts that are asked for among the audio: whoever segments what is stored makes the same ones."""

from __future__ import annotations

from functools import partial

import pytest

from bus import Bus
from bus.feed import Feed
from contract import Closed, Opened, Utterance
from contract.audio import AudioFrame, encode_audio
from processors.vad.classifier import webrtc_detector
from processors.vad.core import Parameters, Segmenter
from processors.vad.live import LiveJob
from processors.vad.settings import Settings
from tests.processors.vad.stretches import CutRequests, Stretch, feed_all

CHUNK = 700
"""Samples in a stored frame, so that cuts fall into the middle of frames of the detector."""

Asked = list[tuple[int, int]]
"""Requests to cut: behind how many frames each is stored, and the sample that it names."""


async def store(bus: Bus, pcm: bytes, asked: Asked) -> None:
    """A job's audio with requests to cut in it, and its end."""
    size = 2 * CHUNK
    frames = [AudioFrame(at // 2, pcm[at : at + size]) for at in range(0, len(pcm), size)]
    for number, frame in enumerate([*frames, AudioFrame(len(pcm) // 2, b"", last=True)]):
        for place, at in asked:
            if place == number:
                await bus.store("audio.a", encode_audio(AudioFrame(at, b"", cut=True)))
        await bus.store("audio.a", encode_audio(frame))
    await bus.create(Closed(job="a", samples=len(pcm) // 2, reason="stop"))


async def segmented(bus: Bus) -> list[Utterance]:
    """What an owner makes of the job from where it stands."""
    async with Feed(bus) as feed:
        await LiveJob(bus, feed, Settings(max_ms=5_000), Opened(job="a"), 1).run()
    return [Utterance.decode(raw.data) for raw in await bus.history("SPEECH", Utterance.pattern("a"))]


async def assert_all_owners_agree(bus: Bus, pcm: bytes, asked: Asked) -> list[Utterance]:
    """Segment the job, then once more from behind each of its utterances; returns them without the last."""
    await store(bus, pcm, asked)
    found = await segmented(bus)
    for known in range(len(found)):
        await bus.connection.js.purge_stream("SPEECH", subject=Utterance.pattern("a"))
        last = 0
        for utterance in found[:known]:
            last = await bus.append(utterance, last)
        assert await segmented(bus) == found
    return found[:-1]


def spans(found: list[Utterance]) -> list[tuple[int, int, bool]]:
    return [(one.start, one.end, one.continues) for one in found]


def alone(pcm: bytes, requests: CutRequests = ()) -> list[tuple[int, int, bool]]:
    """What a segmenter without a bus makes of it."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters(max_ms=5_000))
    return [(one.start, one.end, one.continues) for one in feed_all(segmenter, [Stretch(0, pcm)], requests=requests)]


async def test_a_cut_ends_what_is_open_and_the_rest_is_as_it_would_be(bus: Bus, meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    place = 100  # sample 70,000, in the second of the meeting's segments
    found = spans(await assert_all_owners_agree(bus, pcm, [(place, place * CHUNK)]))
    assert found == alone(pcm, [(place * CHUNK, place * CHUNK)])
    assert place * CHUNK in [end for _, end, _ in found]
    assert place * CHUNK not in [end for _, end, _ in alone(pcm)]
    assert found[0] == alone(pcm)[0]


async def test_requests_that_are_there_twice_or_where_nothing_is_open_change_nothing(bus: Bus, meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    once = [(100, 70_000)]
    again = [(0, 0), (57, 39_900), (100, 70_000), (100, 70_000), (101, 70_000), (129, 90_300), (129, 90_000)]
    await store(bus, pcm, once)
    expected = spans(await segmented(bus))
    for stream, subject in (("AUDIO", "audio.a"), ("SPEECH", Utterance.pattern("a")), ("EVENTS", "events.a.>")):
        await bus.connection.js.purge_stream(stream, subject=subject)
    assert spans(await assert_all_owners_agree(bus, pcm, again)) == expected[:-1]


async def test_a_request_that_names_sound_still_to_come_means_nothing(bus: Bus, meeting: bytes) -> None:
    pcm = meeting[: 2 * 100_000]
    assert spans(await assert_all_owners_agree(bus, pcm, [(30, 21_001), (60, 10**12)])) == alone(pcm)


async def test_a_request_that_came_late_is_made_only_where_nobody_has_spoken_since(bus: Bus, meeting: bytes) -> None:
    pcm = meeting[: 2 * 200_000]
    end = alone(pcm)[0][1] - 4_800  # of the first segment's voice; 600 ms later it would end by itself
    place = (end + 7_000) // CHUNK
    found = spans(await assert_all_owners_agree(bus, pcm, [(place, end), (110, 65_000)]))
    assert found[0] == alone(pcm)[0]
    assert found == alone(pcm, [(place * CHUNK, end), (77_000, 65_000)])
    assert found == alone(pcm)


@pytest.mark.parametrize("every", [3, 20, 50])
async def test_cuts_of_unbroken_speech_and_those_of_long_segments_go_together(
    bus: Bus, meeting: bytes, every: int
) -> None:
    voice = meeting[2 * 430_560 : 2 * 489_120]  # one long sentence
    pcm = voice * 3
    asked = [(place, max(0, place * CHUNK - 5_000 * (place % 2))) for place in range(every, len(pcm) // 1_400, every)]
    found = spans(await assert_all_owners_agree(bus, pcm, asked))
    assert found == alone(pcm, [(place * CHUNK, at) for place, at in asked])
    assert len(found) > 3
