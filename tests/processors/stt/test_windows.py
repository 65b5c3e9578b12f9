"""Utterances decoded behind what was said before them, and together with their neighbours, on a real nats-server."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from bus import Bus
from contract import RATE, Snapshot, Source, SpeechOptions, Transcript, Utterance, Window
from processors.stt.core import DecodeResult, Part
from processors.stt.sound import closed_window, sound_of
from tests.processors.stt.engines import POISON, Audio, Length, result
from tests.processors.stt.workers import transcripts, wait_for_transcripts, wait_until_settled, working

WINDOWS = (0, 0, 0, 3, 3)
"""First index of the merged window of each utterance."""


class Together(Length):
    """Uses two seconds of context. The text of an utterance says where it is in its sound, and how many there are."""

    in_context = True

    def context(self, samples: int, *, merged: bool = False) -> int:
        return 2 * RATE

    def prepare(
        self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
    ) -> Audio | DecodeResult:
        audio = super().prepare(pcm, options, parts=parts, interim=interim)
        if isinstance(audio, Audio):
            audio.parts = tuple(parts)
        return audio

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        super().call(batch)
        found = []
        for audio in batch:
            each = [result(f" {part.own}-{part.end} of {len(audio.parts)}") for part in audio.parts]
            each[0] = each[0] if len(each) == 1 else DecodeResult(each[0].segments, "en", 1.0, parts=tuple(each))
            found.append(each[0])
        return found


async def say(
    bus: Bus, source: Source, *, windows: Sequence[int] | None = WINDOWS, generation: int = 1
) -> list[Utterance]:
    """Store five utterances of a second, each with half a second of lead, and the end marker; returns them all."""
    stored: list[Utterance] = []
    seq = 0
    for index in range(5):
        start = index * 2 * RATE
        one = Utterance(
            job="j",
            generation=generation,
            source=source,
            index=index,
            previous_seq=seq,
            start=start,
            end=start + RATE,
            pcm=bytes([index, 0]) * RATE,
            lead=bytes([100 + index, 0]) * (RATE // 2),
            window=Window(first=windows[index], samples=RATE) if windows else None,
        )
        seq = await bus.publish(one)
        stored.append(one)
    end = Utterance(
        job="j", generation=generation, source=source, index=5, previous_seq=seq, start=0, end=10 * RATE, last=True
    )
    await bus.publish(end)
    return [*stored, end]


async def test_a_window_is_complete_when_the_next_one_or_the_end_is_stored(bus: Bus) -> None:
    stored = await say(bus, "upload")
    closed = [[one.index for one in await closed_window(bus, later)] for later in stored]
    assert closed == [[], [], [], [0, 1, 2], [], [3, 4]]


async def test_utterances_without_a_window_are_in_none(bus: Bus) -> None:
    stored = await say(bus, "live", windows=None)
    assert [await closed_window(bus, later) for later in stored] == [[]] * 6


async def test_the_context_is_the_end_of_what_was_said_before(bus: Bus) -> None:
    stored = await say(bus, "live")
    sound = await sound_of(bus, [stored[2]], Together())
    assert sound.parts == (Part(2 * RATE, 2 * RATE + RATE // 2, 3 * RATE + RATE // 2),)
    heard = [(0, RATE // 2), (101, RATE // 2), (1, RATE), (102, RATE // 2), (2, RATE)]
    assert sound.pcm == b"".join(bytes([value, 0]) * samples for value, samples in heard)
    opened = Snapshot(**stored[2].model_dump(include={"job", "index", "previous_seq", "start", "end", "pcm", "lead"}))
    assert await sound_of(bus, [opened], Together()) == sound


async def test_what_was_said_before_a_long_pause_is_no_context(bus: Bus) -> None:
    seq = await bus.publish(Utterance(job="j", index=0, start=0, end=RATE, pcm=bytes(2 * RATE)))
    later = Utterance(job="j", index=1, previous_seq=seq, start=5 * RATE + 1, end=6 * RATE, pcm=bytes(2 * RATE))
    assert (await sound_of(bus, [later], Together())).parts == (Part(0, 0, RATE),)
    other = later.model_copy(update={"job": "other"})
    assert (await sound_of(bus, [other], Together())).samples == RATE


@pytest.mark.parametrize(("source", "generation"), [("upload", 1), ("replay", 3)])
async def test_recorded_audio_is_transcribed_a_window_at_a_time(
    bus: Bus, nats_url: str, source: Source, generation: int
) -> None:
    engine = Together()
    async with working(nats_url, engine):
        await say(bus, source, generation=generation)
        await wait_for_transcripts(bus, 5)
        await wait_until_settled(bus)
    made = sorted(await transcripts(bus), key=lambda made: made.index)
    assert engine.calls == 2
    assert [one.text for one in made] == [
        "0-24000 of 3",
        "24000-48000 of 3",
        "48000-72000 of 3",
        "32000-56000 of 2",  # behind two seconds of the window before
        "56000-80000 of 2",
    ]
    assert {one.generation for one in made} == {generation}


async def test_a_live_job_is_corrected_as_the_second_generation(bus: Bus, nats_url: str) -> None:
    async with working(nats_url, Together()):
        await say(bus, "live")
        await wait_for_transcripts(bus, 10)
        await wait_until_settled(bus)
    first, second = await by_generation(bus)
    assert [one.text for one in first] == ["0-24000 of 1", "24000-48000 of 1", *["32000-56000 of 1"] * 3]
    assert [one.text for one in second] == [
        "0-24000 of 3",
        "24000-48000 of 3",
        "48000-72000 of 3",
        "32000-56000 of 2",  # behind two seconds of the window before
        "56000-80000 of 2",
    ]
    assert [(one.start, one.end) for one in first] == [(one.start, one.end) for one in second]


async def test_a_model_that_uses_no_context_corrects_nothing(bus: Bus, nats_url: str) -> None:
    engine = Length()
    async with working(nats_url, engine):
        await say(bus, "live")
        await wait_for_transcripts(bus, 10)
    first, second = await by_generation(bus)
    assert [one.text for one in second] == [one.text for one in first]
    assert engine.calls == 5


async def test_a_live_job_without_windows_is_not_corrected(bus: Bus, nats_url: str) -> None:
    async with working(nats_url, Together()):
        await say(bus, "live", windows=None)
        await wait_for_transcripts(bus, 5)
        await wait_until_settled(bus)
    assert {one.generation for one in await transcripts(bus)} == {1}


async def test_each_utterance_of_a_window_that_fails_says_so(bus: Bus, nats_url: str) -> None:
    seq = await bus.publish(
        Utterance(
            job="j", source="upload", index=0, start=0, end=1_600, pcm=POISON, window=Window(first=0, samples=1_600)
        )
    )
    await bus.publish(Utterance(job="j", source="upload", index=1, previous_seq=seq, start=0, end=1_600, last=True))
    async with working(nats_url, Together(), attempts=1):
        await wait_for_transcripts(bus, 1)
    (failed,) = await transcripts(bus)
    assert failed.error == "RuntimeError: cannot decode this"


async def by_generation(bus: Bus) -> tuple[list[Transcript], list[Transcript]]:
    made = sorted(await transcripts(bus), key=lambda made: made.index)
    return [one for one in made if one.generation == 1], [one for one in made if one.generation == 2]
