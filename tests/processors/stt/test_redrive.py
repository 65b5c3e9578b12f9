"""A failed utterance that is tried again: its transcript takes the place of the failed one."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bus import Bus
from bus.dead import letters, redrive
from contract import Transcript
from processors.stt.core import Heard
from tests.processors.stt.engines import POISON, Length, Sound
from tests.processors.stt.test_main import process, transcripts, utterance, wait_for_transcripts, working
from tests.support import wait_until


async def dead(bus: Bus) -> list[tuple[str, int]]:
    return [(letter.dead.stream, letter.dead.seq) for letter in await letters(bus, limit=99)]


async def none_dead(bus: Bus) -> bool:
    return not await dead(bus)


class Cured(Length):
    """Hears POISON too."""

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        return super().decode([replace(sound, pcm=bytes(len(sound.pcm))) for sound in sounds])


@pytest.fixture
async def failed(bus: Bus, nats_url: str) -> None:
    """Three utterances, of which the second has failed; no worker is there any more."""
    for index in range(3):
        await bus.publish(utterance(index, pcm=POISON if index == 1 else b""))
    async with working(nats_url, Length(), attempts=1):
        await wait_for_transcripts(bus, 3)
        await wait_until(lambda: dead(bus), description="the dead letter")


async def by_index(bus: Bus) -> dict[int, Transcript]:
    """All transcripts; fails if an index has two."""
    found = await transcripts(bus)
    assert len({made.index for made in found}) == len(found)
    return {made.index: made for made in found}


@pytest.mark.usefixtures("failed")
async def test_a_good_transcript_takes_the_place_of_the_failed_one(bus: Bus, nats_url: str) -> None:
    assert (await by_index(bus))[1].error == "RuntimeError: cannot hear this"
    assert await dead(bus) == [("SPEECH", 2)]
    await redrive(bus, "j", "SPEECH", 2)
    engine = Cured()
    async with working(nats_url, engine):
        await wait_until(lambda: none_dead(bus), description="the dead letter is removed")
    made = await by_index(bus)
    assert {index: (t.text, t.error) for index, t in made.items()} == {
        0: ("1600 samples", None),
        1: ("1600 samples", None),
        2: ("1602 samples", None),
    }
    assert (made[1].start, made[1].end, engine.calls) == (32_000, 33_600, 1)


@pytest.mark.usefixtures("failed")
async def test_one_that_fails_again_keeps_its_failed_transcript(bus: Bus, nats_url: str) -> None:
    (before,) = await letters(bus, limit=9)
    await redrive(bus, "j", "SPEECH", 2)

    async def renewed() -> bool:
        return (await letters(bus, limit=9))[0].at > before.at

    async with working(nats_url, Length(), attempts=1):
        await wait_until(renewed, description="the dead letter is renewed")
    assert (await by_index(bus))[1].error == "RuntimeError: cannot hear this"


@pytest.mark.usefixtures("failed")
async def test_a_worker_killed_over_it_leaves_the_failed_one_to_the_next(
    bus: Bus, nats_url: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    await redrive(bus, "j", "SPEECH", 2)
    module = ("-m", "tests.processors.stt.engines", str(begun), "1")
    async with process(*module, log=tmp_path / "log", NATS_URL=nats_url, STT_ACK_WAIT="1") as child:
        await wait_until(begun.exists, description="an inference in the other process")
        child.send_signal(signal.SIGKILL)
        await child.wait()
    assert (await by_index(bus))[1].error
    async with working(nats_url, Cured(), ack_wait=1):
        await wait_until(lambda: none_dead(bus), description="the dead letter is removed")
    assert (await by_index(bus))[1].text == "1600 samples"


@pytest.mark.usefixtures("failed")
async def test_new_speech_does_not_wait_behind_what_is_tried_again(bus: Bus, nats_url: str) -> None:
    for _ in range(20):
        await redrive(bus, "j", "SPEECH", 2)
    await bus.publish(utterance(3))
    async with working(nats_url, Length(seconds=0.1), attempts=3):
        await wait_for_transcripts(bus, 4)
        info = await bus.js.consumer_info("EVENTS", "stt-live-redrive")
        assert (info.num_pending or 0) + (info.num_ack_pending or 0) >= 15
