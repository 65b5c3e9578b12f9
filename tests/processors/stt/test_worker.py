"""Utterances to transcripts, on a real nats-server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from bus import Bus, StartError, connect
from bus.dead import letters, redrive
from bus.requests import listening
from contract import (
    Dead,
    Partial,
    Snapshot,
    Source,
    Speaking,
    SpeechOptions,
    Transcript,
)
from processors.stt.core import DecodeResult, Model
from processors.stt.scheduling.batcher import MAX_SKIPPED
from processors.stt.scheduling.scheduler import SpeechEngine
from processors.stt.worker import Settings, serve_utterances
from tests.processors.stt.engines import POISON, Audio, Gated, Length, TwoAtOnce
from tests.processors.stt.sounds import MICRO
from tests.processors.stt.workers import (
    events,
    last,
    process,
    transcripts,
    utterance,
    wait_for_transcripts,
    wait_until_settled,
    working,
)
from tests.support import wait_until


async def test_each_utterance_becomes_one_transcript_and_the_last_none(bus: Bus, nats_url: str) -> None:
    async with working(nats_url, Length(workers=4)):
        for message in (*map(utterance, range(20)), last(20)):
            await bus.publish(message)
        await wait_for_transcripts(bus, 20)
        await wait_until_settled(bus)
    made = sorted(await transcripts(bus), key=lambda made: made.index)
    assert [(t.index, t.text, t.start, t.end) for t in made] == [
        (i, f"{1_600 + i} samples", 32_000 * i, 32_000 * i + 1_600 + i) for i in range(20)
    ]
    assert {(t.model, t.model_hash, t.error) for t in made} == {("length", "0" * 16, None)}


async def test_an_utterance_delivered_twice_is_one_transcript(bus: Bus, nats_url: str) -> None:
    engine = Length()
    for _ in range(2):
        await bus.publish(utterance(0))
    async with working(nats_url, engine):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert engine.calls == 2
    assert len(await events(bus)) == 1


async def test_workers_share_the_queue(bus: Bus, nats_url: str) -> None:
    engines = [Length(seconds=0.05) for _ in range(3)]
    async with (
        working(nats_url, engines[0], batch_size=1),
        working(nats_url, engines[1], batch_size=1),
        working(nats_url, engines[2], batch_size=1),
    ):
        for index in range(30):
            await bus.publish(utterance(index))
        await wait_for_transcripts(bus, 30)
        await wait_until_settled(bus)
    assert sum(engine.calls for engine in engines) == 30
    assert all(engine.calls for engine in engines)


async def test_a_process_runs_as_many_inferences_as_it_has_workers(bus: Bus, nats_url: str) -> None:
    for index in range(2):
        await bus.publish(utterance(index))
    async with working(nats_url, TwoAtOnce(), attempts=1):
        await wait_for_transcripts(bus, 2)
    assert [t.error for t in await transcripts(bus)] == [None] * 2


async def test_what_is_still_being_said_is_told_until_it_has_ended(bus: Bus, nats_url: str) -> None:
    asked: list[str] = []
    told: list[Partial] = []

    async def answer(msg: Msg) -> None:
        job = msg.subject.split(".")[1]
        asked.append(job)
        await msg.respond(Snapshot(job=job, index=1, start=0, end=8_000, pcm=bytes(16_000)).encode())

    def speaking(job: str) -> Speaking:
        return Speaking(job=job, index=1, start=0, end=8_000)

    await bus.connection.nc.subscribe(Snapshot.pattern(), cb=answer)
    engine = Gated()
    engine.allow(2)
    async with listening(bus, Partial, "*", told.append), working(nats_url, engine):
        await bus.publish(utterance(0))
        await wait_for_transcripts(bus, 1)  # by now it listens too
        await bus.publish(speaking("j"))
        await wait_until(lambda: told, description="an interim result")
        await bus.publish(utterance(0, job="k"))
        await wait_until(lambda: engine.begun == 3, description="the engine is busy")
        await bus.publish(speaking("j"))
        await bus.publish(utterance(1))  # what was said is complete
        await wait_until(lambda: engine.queued == 4, description="its final waits")
        await bus.publish(speaking("k"))
        engine.allow_all()
        await wait_until(lambda: len(told) == 2, description="the other job's interim result")
        await wait_for_transcripts(bus, 2)
    assert asked == ["j", "k"]
    assert [(p.job, p.index, p.end, p.text, p.stable) for p in told] == [
        ("j", 1, 8_000, "8000 samples", 0),
        ("k", 1, 8_000, "8000 samples", 0),
    ]


async def test_an_engine_that_failures_is_asked_again(bus: Bus, nats_url: str) -> None:
    engine = Length(failures=1)
    await bus.publish(utterance(0))
    async with working(nats_url, engine, attempts=3):
        await wait_for_transcripts(bus, 1)
    assert engine.calls == 2
    assert [t.error for t in await transcripts(bus)] == [None]


async def test_a_poison_utterance_takes_its_index_with_the_reason(bus: Bus, nats_url: str) -> None:
    for index in range(3):
        await bus.publish(utterance(index, pcm=POISON if index == 1 else b""))
    async with working(nats_url, Length(), attempts=2):
        await wait_for_transcripts(bus, 3)
        await wait_until_settled(bus)
    made = {t.index: t for t in await transcripts(bus)}
    assert {index: t.error for index, t in made.items()} == {0: None, 1: "RuntimeError: cannot decode this", 2: None}
    assert (made[1].text, made[1].start, made[1].end) == ("", 32_000, 33_600)
    dead = [message for message in await events(bus) if isinstance(message, Dead)]
    assert [(d.stream, d.seq, d.at) for d in dead] == [("SPEECH", 2, "speech.j.1.live")]


async def test_an_utterance_that_no_attempt_can_transcribe_says_so_at_once(bus: Bus, nats_url: str) -> None:
    engine = Length()
    await bus.publish(utterance(0).model_copy(update={"options": SpeechOptions(language="la")}))
    async with working(nats_url, engine, attempts=3):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert (engine.asked, engine.calls) == (1, 0)
    assert [(t.text, t.error) for t in await transcripts(bus)] == [("", "language 'la': unknown to length")]


async def test_garbage_is_dead_lettered_and_stops_nobody(bus: Bus, nats_url: str) -> None:
    await bus.connection.js.publish("speech.j.1.live", b"\xc1 not msgpack")
    await bus.publish(utterance(0))
    async with working(nats_url, Length()):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    dead = [message for message in await events(bus) if isinstance(message, Dead)]
    assert [(d.seq, d.at) for d in dead] == [(1, "speech.j.1.live")]
    assert "not a Utterance" in dead[0].reason


async def test_an_inference_longer_than_ack_wait_is_not_done_twice(bus: Bus, nats_url: str) -> None:
    engines = [Length(seconds=1.2), Length(seconds=1.2)]
    await bus.publish(utterance(0))
    async with working(nats_url, engines[0], ack_wait=0.5), working(nats_url, engines[1], ack_wait=0.5):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert sum(engine.calls for engine in engines) == 1


@pytest.mark.parametrize(
    ("signum", "ack_wait", "status"),
    [
        pytest.param(signal.SIGTERM, "600", 0, id="stopped: given back at once"),
        pytest.param(signal.SIGKILL, "1", -signal.SIGKILL, id="killed: lent again after ack_wait"),
    ],
)
async def test_an_utterance_in_hand_moves_to_another_worker(
    bus: Bus, nats_url: str, tmp_path: Path, signum: signal.Signals, ack_wait: str, status: int
) -> None:
    begun = tmp_path / "begun"
    await bus.publish(utterance(0))
    module = ("-m", "tests.processors.stt.engines", str(begun), "1")
    async with process(*module, log=tmp_path / "log", NATS_URL=nats_url, STT_ACK_WAIT=ack_wait) as child:
        await wait_until(begun.exists, description="an inference in the other process")
        child.send_signal(signum)
        assert await child.wait() == status, (tmp_path / "log").read_text()
    engine = Length()
    async with working(nats_url, engine, ack_wait=float(ack_wait)):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert engine.calls == 1
    assert [(t.index, t.model, t.error) for t in await transcripts(bus)] == [(0, "length", None)]


async def test_a_worker_killed_in_the_middle_of_a_batch_leaves_each_index_to_be_made_once(
    bus: Bus, nats_url: str, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    for index in range(12):
        await bus.publish(utterance(index))
    module = ("-m", "tests.processors.stt.engines", str(begun), "2")
    async with process(*module, log=tmp_path / "log", NATS_URL=nats_url, STT_ACK_WAIT="1") as child:
        await wait_until(begun.exists, description="a batch in the other process")
        await wait_for_transcripts(bus, 1)
        child.send_signal(signal.SIGKILL)
        await child.wait()
    engine = Length()
    async with working(nats_url, engine, ack_wait=1):
        await wait_for_transcripts(bus, 12)
        await wait_until_settled(bus)
    made = sorted(await transcripts(bus), key=lambda made: made.index)
    assert [(t.index, t.text, t.error) for t in made] == [(i, f"{1_600 + i} samples", None) for i in range(12)]
    assert [t.model for t in made] == ["stuck"] + ["length"] * 11


class Other(Length):
    model = Model("whisper-micro", "1" * 16)


async def test_a_job_has_the_model_that_it_asks_for_and_is_told_of_one_that_there_is_not(
    bus: Bus, nats_url: str
) -> None:
    other, asked = Other(), list[str]()

    def load(name: str) -> SpeechEngine:
        asked.append(name)
        return other

    async with connect(nats_url, name="stt") as working_bus:
        settings = Settings(models=f"{MICRO} , large-v3,", batch_size=1)
        task = asyncio.create_task(serve_utterances(working_bus, Length(), settings, load))
        for index, model in enumerate(("", "whisper-micro", "large-v4", "length")):
            await bus.publish(utterance(index, model=model))
        await wait_for_transcripts(bus, 4)
        await wait_until_settled(bus)
        working_bus.stopping.set()
        await task
    made = sorted(await transcripts(bus), key=lambda each: each.index)
    assert [each.model for each in made] == ["length", "whisper-micro", "large-v4", "length"]
    accepted = "null (the worker's own), length, whisper-micro, large-v3"
    assert [each.error for each in made] == [None, None, f"model 'large-v4': not offered; accepted: {accepted}", None]
    assert (asked, other.calls) == ([str(MICRO)], 1)


async def test_a_model_that_cannot_be_loaded_fails_after_the_last_attempt(bus: Bus, nats_url: str) -> None:
    def load(_name: str) -> SpeechEngine:
        raise StartError("STT_MODEL='large-v3': no network")

    async with connect(nats_url, name="stt") as working_bus:
        settings = Settings(models="large-v3", attempts=2)
        task = asyncio.create_task(serve_utterances(working_bus, Length(), settings, load))
        await bus.publish(utterance(0, model="large-v3"))
        await wait_for_transcripts(bus, 1)
        working_bus.stopping.set()
        await task
    (made,) = await transcripts(bus)
    assert (made.model, made.error) == ("large-v3", "Unavailable: model 'large-v3' cannot be loaded: no network")
    assert [each.worker for each in await events(bus) if isinstance(each, Dead)] == ["stt-live"]


async def test_what_waits_for_a_busy_engine_is_decoded_together(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    async with working(nats_url, engine):
        await bus.publish(utterance(0))
        await wait_until(lambda: engine.begun, description="the first one alone, at once")
        for index in range(1, 12):
            await bus.publish(utterance(index))
        await wait_until(lambda: engine.queued == 12, description="all others wait")
        engine.allow_all()
        await wait_for_transcripts(bus, 12)
        await wait_until_settled(bus)
    samples = [1_600 + index for index in range(12)]
    assert [sorted(batch) for batch in engine.batches] == [samples[:1], samples[1:9], samples[9:]]
    assert {t.index: t.text for t in await transcripts(bus)} == {i: f"{1_600 + i} samples" for i in range(12)}


async def test_live_goes_before_uploads_and_these_before_replays(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    later: list[tuple[Source, int]] = [("replay", 11), ("replay", 12), ("upload", 21), ("upload", 22), ("live", 31)]
    async with working(nats_url, engine, batch_size=1):
        await bus.publish(utterance(0))
        await wait_until(lambda: engine.begun, description="the engine is busy")
        for count, (source, index) in enumerate(later, 2):
            await bus.publish(utterance(index, source=source))
            await wait_until(lambda count=count: engine.queued == count, description=f"{source} {index} waits")
        engine.allow_all()
        await wait_for_transcripts(bus, 6)
        await wait_until_settled(bus, "live", "upload", "replay")
    assert engine.batches == [[1_600 + index] for index in (0, 31, 21, 22, 11, 12)]


async def test_a_backlog_of_uploads_does_not_hold_up_what_is_live(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    await asyncio.gather(*(bus.publish(utterance(index, job="u", source="upload")) for index in range(300)))
    async with working(nats_url, engine):
        in_hand = 2 * 8  # batches of eight, and twice that many in hand
        await wait_until(lambda: engine.queued == in_hand, description="the engine has uploads and no room for more")
        await bus.publish(utterance(0, pcm=bytes(2 * 999)))
        await wait_until(lambda: engine.queued == in_hand + 1, description="what is live waits too")
        engine.allow(2)
        await wait_for_transcripts(bus, 1)
        assert engine.batches[1][0] == 999
        assert len(await transcripts(bus, "u")) <= 8
        engine.allow_all()
        await wait_for_transcripts(bus, 300, "u")
        await wait_until_settled(bus, "live", "upload")
    assert sorted(t.index for t in await transcripts(bus, "u")) == list(range(300))
    assert engine.calls == 301


async def test_nothing_starves_while_there_is_always_something_live(bus: Bus, nats_url: str) -> None:
    engine = Gated(seconds=0.02)  # time for the next live one to come in
    await bus.publish(utterance(1, source="replay", pcm=bytes(2 * 111)))
    await bus.publish(utterance(2, source="upload", pcm=bytes(2 * 222)))
    for index in range(100, 140):
        await bus.publish(utterance(index))
    async with working(nats_url, engine, batch_size=1):
        await wait_until(lambda: engine.queued == 4, description="two live ones, an upload and a replay")
        engine.allow_all()
        await wait_for_transcripts(bus, 42)
    order = [samples for (samples,) in engine.batches]
    assert order.index(222) <= MAX_SKIPPED + 1
    assert order.index(111) <= MAX_SKIPPED + 2


async def test_a_replay_is_another_generation_and_waits_for_what_is_live(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    async with working(nats_url, engine, batch_size=1):  # two of each source in hand
        for index in (0, 1):
            await bus.publish(utterance(index, source="replay", generation=2))
        await wait_until(lambda: engine.begun and engine.queued == 2, description="the engine is busy with a replay")
        for index in (10, 11):
            await bus.publish(utterance(index))
        await wait_until(lambda: engine.queued == 4, description="what is live waits")
        engine.allow_all()
        await wait_for_transcripts(bus, 4)
        await wait_until_settled(bus, "live", "replay")
    assert engine.batches == [[1_600 + index] for index in (0, 10, 11, 1)]
    assert {(each.generation, each.index) for each in await transcripts(bus)} == {(2, 0), (2, 1), (1, 10), (1, 11)}


async def dead(bus: Bus) -> list[tuple[str, int]]:
    return [(letter.dead.stream, letter.dead.seq) for letter in await letters(bus, limit=99)]


async def none_dead(bus: Bus) -> bool:
    return not await dead(bus)


class Cured(Length):
    """Hears POISON too."""

    def decode(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        return super().decode([replace(audio, pcm=bytes(len(audio.pcm))) for audio in batch])


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
    assert (await by_index(bus))[1].error == "RuntimeError: cannot decode this"
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
    assert (await by_index(bus))[1].error == "RuntimeError: cannot decode this"


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
        info = await bus.connection.js.consumer_info("EVENTS", "stt-live-redrive")
        assert (info.num_pending or 0) + (info.num_ack_pending or 0) >= 15
