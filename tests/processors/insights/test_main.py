from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgpack
import pytest

from bus import Bus, StartError, connect
from bus.erase import erase
from bus.requests import present
from bus.run import load
from compose.servers import Server
from contract import Closed, Dead, JobOptions, Message, Opened, Redrive, Redriven, Segmented, Transcript
from processors.insights.__main__ import Settings, main
from processors.insights.messages import Insights, KeywordAlert
from tests.support import wait_until

ROOT = Path(__file__).parents[3]
TEXTS = ["We move the release.", "The budget stays.", "Nobody objects to the budget."]


def said(job: str, index: int, text: str = "one two", **fields: Any) -> Transcript:
    return Transcript(job=job, index=index, start=index * 32_000, end=index * 32_000 + 16_000, text=text, **fields)


def opened(job: str, **metadata: Any) -> Opened:
    return Opened(job=job, options=JobOptions(metadata=metadata))


def meeting(job: str, texts: list[str] = TEXTS, **metadata: Any) -> list[Message]:
    """All events of a job that this processor reads."""
    samples = len(texts) * 32_000
    return [
        opened(job, **metadata),
        *(said(job, index, text) for index, text in enumerate(texts)),
        Closed(job=job, samples=samples, reason="stop"),
        Segmented(job=job, segments=len(texts), samples=samples),
    ]


async def publish(bus: Bus, *messages: Message) -> None:
    for message in messages:
        await bus.publish(message)


async def published(bus: Bus, job: str) -> list[Insights]:
    return [Insights.read(raw.subject, raw.data) for raw in await bus.history("EVENTS", Insights.pattern(job))]


async def alerts(bus: Bus, job: str) -> dict[int, dict[str, int]]:
    """The keywords of each alert; there is one at most for each transcript."""
    stored = await bus.history("EVENTS", KeywordAlert.pattern(job))
    found = [KeywordAlert.read(raw.subject, raw.data) for raw in stored]
    assert len({alert.index for alert in found}) == len(found)
    return {alert.index: alert.keywords for alert in found}


async def final(bus: Bus, job: str) -> Insights:
    """The final figures, of which there are only one, the last."""

    async def done() -> bool:
        return any(figures.final for figures in await published(bus, job))

    await wait_until(done, description=f"{job} has its final figures")
    found = await published(bus, job)
    assert [figures.final for figures in found] == [False] * (len(found) - 1) + [True]
    assert [figures.segments for figures in found] == sorted(figures.segments for figures in found)
    return found[-1]


async def all_acked(bus: Bus, consumer: str = "insights") -> None:
    async def nothing_pending() -> bool:
        info = await bus.connection.js.consumer_info("EVENTS", consumer)
        return (info.num_pending, info.num_ack_pending) == (0, 0)

    await wait_until(nothing_pending, description="all messages are acked")


Start = Callable[..., Awaitable[asyncio.Task[None]]]


@pytest.fixture
async def start(bus: Bus, nats_url: str) -> AsyncIterator[Start]:
    """Starts a worker with its own connection; cancelling its task is like killing its process."""
    workers: list[asyncio.Task[None]] = []

    async def work(settings: Settings) -> None:
        async with connect(nats_url) as own:
            await main(own, settings)

    async def start(**settings: Any) -> asyncio.Task[None]:
        worker = asyncio.create_task(work(Settings(**{"every": 0.05, **settings})))
        workers.append(worker)
        await wait_until(lambda: worker.done() or present(bus, "insights"), description="the worker is ready")
        return worker

    yield start
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def test_a_job_has_final_figures_once(bus: Bus, start: Start) -> None:
    await start()
    await publish(bus, *meeting("m1"))
    found = await final(bus, "m1")
    assert (found.segments, found.until, found.talk_seconds, found.words) == (3, 96_000, 3.0, 12)
    assert (found.silence_share, found.words_per_minute, found.keywords) == (0.5, 240.0, {})
    await all_acked(bus)
    (raw,) = [raw for raw in await bus.history("EVENTS", found.subject) if Insights.decode(raw.data).final]
    assert "speakers" not in msgpack.unpackb(raw.data)
    assert "interruptions" not in msgpack.unpackb(raw.data)


async def test_figures_are_published_while_a_job_is_live(bus: Bus, start: Start) -> None:
    await start()
    await publish(bus, opened("m1"), said("m1", 0))
    await wait_until(lambda: published(bus, "m1"), description="figures of one transcript")
    (first,) = await published(bus, "m1")
    assert (first.final, first.segments, first.until) == (False, 1, 16_000)
    await publish(bus, said("m1", 2))  # 1 is missing, so 2 does not count yet
    await publish(bus, said("m1", 1))

    async def all_three() -> bool:
        return (await published(bus, "m1"))[-1].segments == 3

    await wait_until(all_three, description="figures of three transcripts")
    assert [figures.segments for figures in await published(bus, "m1")] in ([1, 3], [1, 2, 3])
    await publish(bus, Segmented(job="m1", segments=3, samples=96_000))
    assert (await final(bus, "m1")).segments == 3


async def test_a_finished_job_has_figures_too(bus: Bus, start: Start) -> None:
    await publish(bus, *meeting("m1"), *meeting("m2", []))
    await start()
    assert (await final(bus, "m1")).words == 12
    empty = meeting("m3", [])
    empty[-1] = Segmented(job="m3", segments=0, samples=32_000)
    await publish(bus, *empty)
    assert (await final(bus, "m3")).silence_share == 1.0
    await all_acked(bus)
    assert await published(bus, "m2") == []  # there was no sound at all


async def test_keywords_of_the_settings_and_of_the_job(bus: Bus, start: Start) -> None:
    await start(keywords="budget, Friday")
    await publish(bus, *meeting("m1", keywords=["release", "BUDGET"]), *meeting("m2"), *meeting("m3", keywords=7))
    assert (await final(bus, "m1")).keywords == {"budget": 2, "Friday": 0, "release": 1}
    assert (await final(bus, "m2")).keywords == {"budget": 2, "Friday": 0}
    assert (await final(bus, "m3")).keywords == {"budget": 2, "Friday": 0}  # its own keywords cannot be used
    await all_acked(bus)
    assert await alerts(bus, "m1") == {0: {"release": 1}, 1: {"budget": 1}, 2: {"budget": 1}}
    assert await alerts(bus, "m2") == {1: {"budget": 1}, 2: {"budget": 1}}


async def test_an_alert_does_not_wait_for_figures(bus: Bus, start: Start) -> None:
    await start(keywords="budget", every=3_600)
    await publish(bus, opened("m1"), said("m1", 1, "The budget."))  # 0 is still missing
    await wait_until(lambda: alerts(bus, "m1"), description="the alert")
    assert await published(bus, "m1") == []


async def test_a_worker_that_takes_over_goes_on(bus: Bus, start: Start) -> None:
    first = await start(keywords="budget")
    await publish(bus, *meeting("m1")[:3])

    async def two() -> bool:
        found = await published(bus, "m1")
        return bool(found) and found[-1].segments == 2

    await wait_until(two, description="figures of two transcripts")
    before = await published(bus, "m1")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await start(keywords="budget")
    await publish(bus, *meeting("m1")[3:])
    await final(bus, "m1")
    assert (await published(bus, "m1"))[: len(before)] == before
    assert await alerts(bus, "m1") == {1: {"budget": 1}, 2: {"budget": 1}}


async def test_only_one_of_two_workers_follows_a_job(bus: Bus, start: Start) -> None:
    await start()
    await start()
    jobs = [f"m{number}" for number in range(20)]
    for job in jobs:
        await publish(bus, *meeting(job))
    for job in jobs:
        assert (await final(bus, job)).segments == 3
    await all_acked(bus)


async def test_a_worker_that_lost_its_lease_without_noticing_writes_nothing(bus: Bus, start: Start) -> None:
    await start(every=0.05)
    await publish(bus, opened("m1"), said("m1", 0))
    await wait_until(lambda: published(bus, "m1"), description="the first figures")
    (first,) = await published(bus, "m1")
    other = first.model_copy(update={"final": True, "words": 99})
    await publish(bus, other)  # another worker was quicker
    await publish(bus, said("m1", 1), Segmented(job="m1", segments=2, samples=64_000))
    await all_acked(bus)
    assert await published(bus, "m1") == [first, other]


@asynccontextmanager
async def process(nats_url: str, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    env = os.environ | {"NATS_URL": nats_url, "INSIGHTS_EVERY": "0.05", "INSIGHTS_KEYWORDS": "budget"}
    with log.open("wb") as stderr:
        argv = [sys.executable, "-m", "processors.insights"]
        started = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=env, stderr=stderr)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_a_worker_is_replaced_in_the_middle_of_a_job(
    bus: Bus, nats_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    async with process(nats_url, tmp_path / "one") as one:
        await publish(bus, *meeting("m1")[:2])
        await wait_until(lambda: published(bus, "m1"), description="figures of one transcript")
        one.send_signal(number)
        async with process(nats_url, tmp_path / "two") as two:
            await publish(bus, *meeting("m1")[2:])
            assert (await final(bus, "m1")).words == 12
            assert await alerts(bus, "m1") == {1: {"budget": 1}, 2: {"budget": 1}}
            two.terminate()
            assert await two.wait() == 0
        if number == signal.SIGSTOP:
            one.send_signal(signal.SIGCONT)
            log = tmp_path / "one"
            await wait_until(lambda: "lease lost" in log.read_text(), description="its figures are refused")
            assert len([figures for figures in await published(bus, "m1") if figures.final]) == 1
            assert len(await alerts(bus, "m1")) == 2


async def test_a_crash_of_the_server_in_the_middle_of_a_job(bus: Bus, start: Start, nats_server: Server) -> None:
    await start(keywords="budget")
    await publish(bus, *meeting("m1")[:2])
    await wait_until(lambda: published(bus, "m1"), description="figures of one transcript")
    await nats_server.kill()
    await nats_server.start()
    await publish(bus, *meeting("m1")[2:])
    assert (await final(bus, "m1")).segments == 3
    assert await alerts(bus, "m1") == {1: {"budget": 1}, 2: {"budget": 1}}


async def test_a_transcript_that_is_replaced_later_changes_the_figures(bus: Bus, start: Start) -> None:
    await start(keywords="budget")
    failed = said("m1", 1, "", error="out of memory")
    events = meeting("m1")
    await publish(bus, events[0], events[1], failed, *events[3:])
    before = await final(bus, "m1")
    assert (before.failed, before.words) == (1, 9)
    redrive = Redrive(job="m1", worker="stt", stream="SPEECH", seq=2)
    await bus.connection.js.publish(events[2].subject, events[2].encode(), headers={"Nats-Rollup": "sub"})
    await publish(bus, Redriven(**redrive.model_dump()))

    async def corrected() -> bool:
        return (await published(bus, "m1"))[-1].failed == 0

    await wait_until(corrected, description="the figures are corrected")
    await all_acked(bus, "insights-corrections")
    last = (await published(bus, "m1"))[-1]
    assert (last.final, last.words, last.keywords) == (True, 12, {"budget": 2})
    assert await alerts(bus, "m1") == {1: {"budget": 1}, 2: {"budget": 1}}
    # Neither other redriven messages nor a repetition change anything.
    length = len(await published(bus, "m1"))
    await publish(bus, Redriven(job="m1", worker="webhook", stream="EVENTS", seq=9))
    await publish(bus, Redriven(job="m1", worker="stt", stream="SPEECH", seq=3))
    await publish(bus, Redriven(job="nobody", worker="stt", stream="SPEECH", seq=3))
    await all_acked(bus, "insights-corrections")
    assert len(await published(bus, "m1")) == length


async def test_an_erased_job_has_no_figures(bus: Bus, start: Start) -> None:
    await start()
    await publish(bus, *meeting("m1")[:3])
    await wait_until(lambda: published(bus, "m1"), description="figures")
    await erase(bus, "m1", mark=True)
    await all_acked(bus)
    assert await published(bus, "m1") == []


async def test_garbage_affects_only_itself(bus: Bus, start: Start) -> None:
    await start()
    await bus.connection.js.publish(Insights.pattern("m1"), b"\xc1")
    events = meeting("m1")
    await bus.connection.js.publish(events[2].subject, b"\xc1")
    await publish(bus, events[0], events[1], *events[3:])

    async def done() -> bool:
        raw = await bus.last_raw(Insights.pattern("m1"))
        return raw is not None and raw.data != b"\xc1" and Insights.decode(raw.data).final

    await wait_until(done, description="final figures")
    await bus.connection.js.publish("events.m2.segmented", b"\xc1")
    await publish(bus, opened("m2"))
    await wait_until(lambda: bus.history("EVENTS", Dead.pattern("m2")), description="a dead letter")
    await all_acked(bus)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("INSIGHTS_EVERY", "0", "greater than 0"),
        ("INSIGHTS_PAUSE_MS", "10", "greater than or equal to 100"),
        ("INSIGHTS_KEYWORDS", "x" * 101, "at most 100 are accepted"),
    ],
)
def test_a_bad_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=f"{name}=.*{says}"):
        load(Settings)
