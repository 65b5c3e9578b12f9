from __future__ import annotations

from itertools import pairwise

import pytest

from bus import Bus, Fenced
from bus.speech import utterance_before
from contract import RATE, WIDTH, JobOptions, SpeechOptions, Utterance, Window
from processors.vad.checkpoint import Checkpoint
from processors.vad.core import Segment
from processors.vad.settings import Settings

FIRST, SECOND = Segment(480, 960, b"ab" * 480), Segment(1_440, 1_920, b"cd" * 480, continues=True)


async def loaded(bus: Bus, epoch: int = 1, generation: int = 1, windows: bool = False) -> Checkpoint:
    options = JobOptions(language="en", title="left to the record")
    checkpoint = Checkpoint(
        bus, "a", source="live", generation=generation, options=options, epoch=epoch, windows=windows
    )
    await checkpoint.load()
    return checkpoint


async def utterances(bus: Bus, generation: int = 1) -> list[Utterance]:
    stored = await bus.history("SPEECH", Utterance.pattern("a", generation=str(generation)))
    return [Utterance.decode(raw.data) for raw in stored if raw.data != b"garbage"]


async def test_the_next_worker_finds_what_was_stored(bus: Bus) -> None:
    first = await loaded(bus)
    assert (first.segments, first.end, first.continues, first.finished, first.read_after) == (0, 0, False, False, 0)
    await first.append(FIRST, 3)
    await first.append(SECOND, 7)
    second = await loaded(bus, epoch=2)
    assert (second.segments, second.end, second.continues, second.finished) == (2, 1_920, True, False)
    assert second.read_after == 6
    audio = second.resume(Settings().plan(JobOptions()))
    assert (audio.position, audio.index) == (1_920, 2)
    await second.finish(5_000)
    third = await loaded(bus)
    assert (third.segments, third.end, third.finished) == (2, 5_000, True)
    options = SpeechOptions(language="en")
    assert await utterances(bus) == [
        Utterance(job="a", index=0, start=480, end=960, pcm=FIRST.pcm, audio_seq=3, epoch=1, options=options),
        Utterance(
            job="a",
            index=1,
            previous_seq=1,
            start=1_440,
            end=1_920,
            pcm=SECOND.pcm,
            continues=True,
            audio_seq=7,
            epoch=1,
            options=options,
        ),
        Utterance(job="a", index=2, previous_seq=2, start=5_000, end=5_000, last=True, epoch=2),
    ]


async def test_a_worker_whose_checkpoint_is_not_the_last_is_fenced(bus: Bus) -> None:
    former, present = await loaded(bus), await loaded(bus, epoch=2)
    await present.append(FIRST, 3)
    with pytest.raises(Fenced, match=r"speech\.a\.1\.live has another writer"):
        await former.append(FIRST, 3)
    with pytest.raises(Fenced):
        await former.finish(5_000)
    assert [one.epoch for one in await utterances(bus)] == [2]


async def test_generations_have_checkpoints_of_their_own(bus: Bus) -> None:
    live, replay = await loaded(bus), await loaded(bus, generation=2)
    await live.append(FIRST, 3)
    await replay.append(SECOND, 7)
    assert [[one.start for one in await utterances(bus, number)] for number in (1, 2)] == [[480], [1_440]]


async def test_garbage_neither_hides_the_checkpoint_nor_fences_its_writer(bus: Bus) -> None:
    checkpoint = await loaded(bus)
    await checkpoint.append(FIRST, 3)
    await bus.store("speech.a.1.live", b"garbage")
    successor = await loaded(bus)
    assert successor.segments == 1
    await bus.store("speech.a.1.live", b"garbage")
    await successor.append(SECOND, 7)
    first, second = await utterances(bus)
    assert (first.index, second.index) == (0, 1)
    assert await utterance_before(bus, second) == first


async def test_utterances_that_have_left_the_stream_do_not_fence_their_writer(bus: Bus) -> None:
    checkpoint = await loaded(bus)
    await checkpoint.append(FIRST, 3)
    await bus.connection.js.purge_stream("SPEECH")
    await checkpoint.append(SECOND, 7)
    assert [one.index for one in await utterances(bus)] == [1]


SPEECH = [
    Segment(at * RATE, at * RATE + 5 * RATE, b"", lead=bytes(lead * RATE * WIDTH))
    for at, lead in ((2, 2), (10, 2), (15, 0), (24, 2), (40, 2))
]
"""Pauses of 3 s, none, 4 s and 11 s."""


async def test_a_successor_goes_on_with_the_window_and_the_chain(bus: Bus) -> None:
    expected = [(0, 5), (0, 12), (0, 17), (0, 24), (4, 5)]
    for worker, segment in enumerate(SPEECH):
        await (await loaded(bus, epoch=worker, windows=True)).append(segment, 1)
    await (await loaded(bus, windows=True)).finish(50 * RATE)
    *found, last = await utterances(bus)
    assert [one.window for one in found] == [Window(first=first, samples=s * RATE) for first, s in expected]
    assert last.window is None
    for before, one in pairwise([*found, last]):
        assert await utterance_before(bus, one) == before


async def test_a_window_starts_anew_behind_utterances_that_have_left_the_stream(bus: Bus) -> None:
    checkpoint = await loaded(bus, windows=True)
    await checkpoint.append(SPEECH[0], 1)
    await bus.connection.js.purge_stream("SPEECH")
    await checkpoint.append(SPEECH[1], 1)
    await checkpoint.append(SPEECH[2], 1)
    found = await utterances(bus)
    assert [one.window for one in found] == [Window(first=1, samples=5 * RATE), Window(first=1, samples=10 * RATE)]
    assert found[0].previous_seq == 0
