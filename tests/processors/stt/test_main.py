"""The shell on a real nats-server, and the real process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from bus import Bus, StartError, connect
from contract import (
    Dead,
    Message,
    Partial,
    Snapshot,
    Source,
    Speaking,
    SpeechOptions,
    Transcript,
    Utterance,
    parse_event,
)
from processors.stt.__main__ import Settings, serve_utterances
from processors.stt.core import Model
from processors.stt.scheduler import SpeechEngine
from tests.processors.stt.engines import POISON, Gated, Length, Together
from tests.processors.stt.sounds import sentences
from tests.support import wait_until

ROOT = Path(__file__).parents[3]
MICRO = ROOT / "models/whisper-micro"


def utterance(
    index: int, *, job: str = "j", pcm: bytes = b"", source: Source = "live", generation: int = 1, model: str = ""
) -> Utterance:
    pcm = pcm or bytes(2 * (1_600 + index))
    start = index * 32_000
    options = SpeechOptions(model=model or None)
    return Utterance(
        job=job,
        generation=generation,
        source=source,
        index=index,
        start=start,
        end=start + len(pcm) // 2,
        pcm=pcm,
        options=options,
    )


def last(count: int, *, job: str = "j") -> Utterance:
    return Utterance(job=job, index=count, start=count * 32_000, end=count * 32_000, last=True)


@asynccontextmanager
async def working(url: str, engine: SpeechEngine, **settings: float) -> AsyncIterator[None]:
    """A worker of this test's own process."""
    async with connect(url, name="stt") as bus:
        task = asyncio.create_task(serve_utterances(bus, engine, Settings.model_validate(settings)))
        try:
            yield
        finally:
            bus.stopping.set()
            await task


@asynccontextmanager
async def process(*args: str, log: Path, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python process that is gone at the end."""
    with log.open("wb") as file:
        child = await asyncio.create_subprocess_exec(
            sys.executable, *args, cwd=ROOT, env={**os.environ, **env}, stdout=file, stderr=file
        )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def events(bus: Bus, job: str = "j") -> list[Message]:
    raws = await bus.history("EVENTS", f"events.{job}.>")
    return [message for raw in raws if (message := parse_event(raw.subject, raw.data))]


async def transcripts(bus: Bus, job: str = "j") -> list[Transcript]:
    return [message for message in await events(bus, job) if isinstance(message, Transcript)]


async def wait_for_transcripts(bus: Bus, count: int, job: str = "j") -> None:
    async def there() -> bool:
        return len(await transcripts(bus, job)) >= count

    await wait_until(there, description=f"{count} transcripts")


async def wait_until_settled(bus: Bus, *sources: Source) -> None:
    """Wait until each utterance of these sources is acked; none named: of what is live."""

    async def settled() -> bool:
        infos = [await bus.js.consumer_info("SPEECH", f"stt-{source}") for source in sources or ("live",)]
        return not any(info.num_pending or info.num_ack_pending for info in infos)

    await wait_until(settled, description="every utterance acked")


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
    async with working(nats_url, Together(), attempts=1):
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

    await bus.nc.subscribe(Snapshot.pattern(), cb=answer)
    engine = Gated()
    engine.let(2)
    async with bus.listening(Partial, "*", told.append), working(nats_url, engine):
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
        engine.let_all()
        await wait_until(lambda: len(told) == 2, description="the other job's interim result")
        await wait_for_transcripts(bus, 2)
    assert asked == ["j", "k"]
    assert [(p.job, p.index, p.end, p.text, p.stable) for p in told] == [
        ("j", 1, 8_000, "8000 samples", 0),
        ("k", 1, 8_000, "8000 samples", 0),
    ]


async def test_an_engine_that_stumbles_is_asked_again(bus: Bus, nats_url: str) -> None:
    engine = Length(stumbles=1)
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
    assert {index: t.error for index, t in made.items()} == {0: None, 1: "RuntimeError: cannot hear this", 2: None}
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
    await bus.js.publish("speech.j.1.live", b"\xc1 not msgpack")
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


async def test_the_process_loads_its_model_says_so_and_transcribes(bus: Bus, nats_url: str, tmp_path: Path) -> None:
    log, said = tmp_path / "log", sentences("standup")[1]
    env = {"NATS_URL": nats_url, "STT_MODEL": str(MICRO), "STT_DEVICE": "cpu", "STT_THREADS": "1"}
    async with process("-m", "processors.stt", log=log, **env) as child:
        await wait_until(lambda: bus.present("stt", 0.2), description="the worker is announced", timeout=60)
        await bus.publish(utterance(0, pcm=said.pcm))
        await wait_for_transcripts(bus, 1)
        child.terminate()
        assert await child.wait() == 0, log.read_text()
    (made,) = await transcripts(bus)
    assert (made.model, made.error, len(made.model_hash)) == ("whisper-micro", None, 16)
    assert (made.text, made.language) == (said.text, "en")
    assert made.elapsed > 0


HUB = {"STT_MODEL": "tiny", "STT_DEVICE": "cpu", "HF_HUB_OFFLINE": "1", "LOG_LEVEL": "ERROR"}


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("STT_MODEL", "models/none", "CTranslate2"),
        ("STT_COMPUTE_TYPE", "int3", "int8"),
        ("STT_DEVICE", "tpu", "cuda"),
    ],
)
async def test_a_bad_setting_ends_the_process_with_one_line(
    nats_url: str, tmp_path: Path, variable: str, value: str, accepted: str
) -> None:
    log = tmp_path / "log"
    env = HUB | {"NATS_URL": nats_url, "HF_HUB_CACHE": str(tmp_path), "STT_MODEL": str(MICRO), variable: value}
    async with process("-m", "processors.stt", log=log, **env) as child:
        assert await child.wait() == 2
    (line,) = log.read_text().splitlines()
    assert line.startswith(f"stt cannot start: {variable}='{value}'")
    assert accepted in line


async def test_the_process_can_be_stopped_while_it_waits_for_a_download(nats_url: str, tmp_path: Path) -> None:
    asked = asyncio.Event()
    finished = asyncio.Event()

    async def never_answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await finished.wait()
        writer.close()

    log = tmp_path / "log"
    async with await asyncio.start_server(never_answer, "127.0.0.1", 0) as hub:
        port = hub.sockets[0].getsockname()[1]
        env = HUB | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": f"http://127.0.0.1:{port}", "HF_HUB_CACHE": str(tmp_path)}
        async with process("-m", "processors.stt", log=log, NATS_URL=nats_url, **env) as child:
            await wait_until(asked.is_set, description="the download has begun")
            child.terminate()
            assert await child.wait() == 0, log.read_text()
        finished.set()


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
