"""InterimTranscriber results on a real nats-server; the segmenter is a responder that says what it is published to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise

import pytest
from nats.aio.msg import Msg

from bus import Bus, connect
from bus.requests import listening
from contract import Partial, Snapshot, Speaking, SpeechOptions
from processors.stt.core import DecodeResult
from processors.stt.scheduling.ahead import Ahead
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.interim import InterimTranscriber
from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from tests.processors.stt.engines import Audio, Gated, Length, Stepped, result
from tests.support import wait_until

FRAME = 480


class Segmenter:
    """Open segments by job: index and number of samples. They begin at sample 100."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.segments: dict[str, tuple[int, int]] = {}
        self.asked: list[str] = []
        self.silent: set[str] = set()
        self.settled: dict[str, int] = {}

    async def speak(self, job: str, samples: int, *, index: int = 0, partials: bool = True, settled: int = 0) -> None:
        """Let a segment grow to so many samples, and announce it; `settled`: where it ends if nobody goes on."""
        self.segments[job] = index, samples
        self.settled[job] = settled
        speaking = Speaking(job=job, index=index, start=100, end=100 + samples, partials=partials, settled=settled)
        await self._bus.publish(speaking)

    async def answer(self, msg: Msg) -> None:
        job = msg.subject.split(".")[1]
        self.asked.append(job)
        if job in self.segments and job not in self.silent:
            index, samples = self.segments[job]
            pcm = bytes(2 * samples)
            options = SpeechOptions(language="ko")
            found = Snapshot(job=job, index=index, start=100, end=100 + samples, pcm=pcm, options=options)
            await msg.respond(found.model_copy(update={"settled": self.settled[job]}).encode())


@pytest.fixture
async def segmenter(bus: Bus) -> AsyncIterator[Segmenter]:
    found = Segmenter(bus)
    subscription = await bus.connection.nc.subscribe(Snapshot.pattern(), cb=found.answer)
    await bus.connection.flushed()
    yield found
    await subscription.unsubscribe()


@pytest.fixture
async def published(bus: Bus) -> AsyncIterator[list[Partial]]:
    """All interim results that are published."""
    found: list[Partial] = []
    async with listening(bus, Partial, "*", found.append):
        await bus.connection.flushed()
        yield found


@asynccontextmanager
async def interim_worker(
    url: str, engine: SpeechEngine, batch_size: int = 8
) -> AsyncIterator[tuple[InterimTranscriber, Scheduler]]:
    """A worker that makes only interim results."""
    async with connect(url, name="stt") as bus:
        scheduler = Scheduler(engine, batch_size, 1_000, asyncio.create_task)
        interim = InterimTranscriber(bus, scheduler, Ahead(scheduler, asyncio.create_task))
        before = len(bus.connection.nc._subs)
        task = asyncio.create_task(interim.run())
        await wait_until(lambda: len(bus.connection.nc._subs) == before + 2, description="it listens")
        await bus.connection.flushed()  # and the server knows
        try:
            yield interim, scheduler
        finally:
            if isinstance(engine, Gated):
                engine.allow_all()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            scheduler.close()


async def wait_until_published(published: Sequence[Partial], count: int) -> None:
    await wait_until(lambda: len(published) >= count, description=f"{count} interim results")


async def wait_until_open(interim: InterimTranscriber, job: str, end: int) -> None:
    """Wait until it knows how far a segment has grown; this has no effect outside before it requests the audio."""
    await wait_until(
        lambda: (speaking := interim._open.get(job)) and speaking.end == end, description=f"{job} has been heard of"
    )


async def test_an_open_segment_is_requested_and_its_text_published(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    interims: list[Audio] = []

    class Watched(Length):
        def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            interims.extend(batch)
            return super().call(batch)

    async with interim_worker(nats_url, Watched()):
        await segmenter.speak("j", 16_000, index=3)
        await wait_until_published(published, 1)
    assert segmenter.asked == ["j"]
    text = "16000 samples"
    assert published == [Partial(job="j", index=3, start=100, end=16_100, text=text, stable=0, language="ko")]
    assert [(audio.interim, audio.options) for audio in interims] == [(True, SpeechOptions(language="ko"))]


async def test_a_job_without_partials_is_not_requested(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    async with interim_worker(nats_url, Length()):
        await segmenter.speak("j", 16_000, partials=False)
        await segmenter.speak("k", 16_000)
        await wait_until_published(published, 1)
    assert segmenter.asked == ["k"]


async def test_an_empty_text_is_not_published(nats_url: str, segmenter: Segmenter, published: list[Partial]) -> None:
    class Silent(Length):
        def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            return [result("" if audio.samples < 1_000 else " words") for audio in batch]

    async with interim_worker(nats_url, Silent()):
        await segmenter.speak("j", 500)
        await wait_until(lambda: segmenter.asked, description="it is asked for")
        await segmenter.speak("j", 1_000)
        await wait_until_published(published, 1)
    assert [(p.end, p.text) for p in published] == [(1_100, "words")]


async def test_a_slow_engine_skips_and_does_not_fall_behind(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    newest = 100 + 49 * FRAME
    async with interim_worker(nats_url, engine) as (interim, _):
        await segmenter.speak("j", FRAME)
        await wait_until(lambda: engine.begun, description="the engine is at work")
        for frames in range(2, 50):
            await segmenter.speak("j", frames * FRAME)
        await wait_until_open(interim, "j", newest)
        engine.allow(1)
        await wait_until(lambda: engine.begun == 2, description="the newest is decoded")
        engine.allow_all()
        await wait_until_published(published, 2)
    assert segmenter.asked == ["j", "j"]
    assert [p.end for p in published] == [100 + FRAME, newest]
    assert engine.batches == [[FRAME], [49 * FRAME]]


async def test_nothing_is_requested_while_the_engine_is_busy(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    async with interim_worker(nats_url, engine) as (interim, scheduler):
        final = asyncio.create_task(scheduler.transcribe(bytes(2 * 77), SpeechOptions(), Priority.LIVE))
        await wait_until(lambda: engine.begun, description="a final is decoded")
        await segmenter.speak("j", 1_000)
        await segmenter.speak("j", 2_000)
        await wait_until_open(interim, "j", 2_100)
        next_final = asyncio.create_task(scheduler.transcribe(bytes(2 * 78), SpeechOptions(), Priority.LIVE))
        await wait_until(lambda: engine.queued == 2, description="another final waits")
        assert segmenter.asked == []
        engine.allow(1)
        await wait_until(lambda: engine.begun == 2, description="the next final is decoded")
        assert segmenter.asked == []
        engine.allow_all()
        await wait_until_published(published, 1)
        assert [(await task).text for task in (final, next_final)] == ["77 samples", "78 samples"]
    assert engine.batches == [[77], [78], [2_000]]


async def test_a_final_that_arrives_meanwhile_goes_first(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    async with interim_worker(nats_url, engine, batch_size=1) as (_, scheduler):
        await segmenter.speak("j", 1_000)
        await wait_until(lambda: engine.begun, description="a interim is decoded")
        upload = asyncio.create_task(scheduler.transcribe(bytes(2 * 90), SpeechOptions(), Priority.UPLOAD))
        await wait_until(lambda: engine.queued == 2, description="an upload waits")
        live = asyncio.create_task(scheduler.transcribe(bytes(2 * 91), SpeechOptions(), Priority.LIVE))
        await wait_until(lambda: engine.queued == 3, description="something live waits")
        engine.allow_all()
        await asyncio.gather(upload, live)
        await wait_until_published(published, 1)
    assert engine.batches == [[1_000], [91], [90]]


async def test_a_waiting_interim_result_goes_before_uploads(bus: Bus, nats_url: str, published: list[Partial]) -> None:
    asked: list[Msg] = []

    async def keep(msg: Msg) -> None:
        asked.append(msg)

    async def answer(samples: int) -> None:
        msg = asked.pop()
        job = msg.subject.split(".")[1]
        await msg.respond(Snapshot(job=job, index=0, start=0, end=samples, pcm=bytes(2 * samples)).encode())

    await bus.connection.nc.subscribe(Snapshot.pattern(), cb=keep)
    await bus.connection.flushed()
    engine = Gated()
    async with interim_worker(nats_url, engine) as (_, scheduler):
        for job in ("j", "k"):
            await bus.publish(Speaking(job=job, index=0, start=0, end=480))
        await wait_until(lambda: len(asked) == 2, description="both are asked for while there is time")
        await answer(1_000)
        await wait_until(lambda: engine.begun, description="one is decoded")
        upload = asyncio.create_task(scheduler.transcribe(bytes(2 * 90), SpeechOptions(), Priority.UPLOAD))
        await wait_until(lambda: engine.queued == 2, description="an upload waits")
        await answer(2_000)
        await wait_until(lambda: engine.queued == 3, description="the other interim waits")
        engine.allow_all()
        await upload
        await wait_until_published(published, 2)
    assert engine.batches == [[1_000], [2_000], [90]]


async def test_a_segment_that_has_ended_is_not_requested(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    async with interim_worker(nats_url, engine) as (interim, _):
        await segmenter.speak("busy", 1_000)
        await wait_until(lambda: engine.begun, description="the engine is busy")
        await segmenter.speak("j", 2_000, index=4)
        await segmenter.speak("newer", 3_000, index=5)
        await segmenter.speak("k", 4_000)
        for job, end in (("j", 2_100), ("newer", 3_100), ("k", 4_100)):
            await wait_until_open(interim, job, end)
        interim.close_segment("j", 4)
        interim.close_segment("newer", 4)
        engine.allow_all()
        await wait_until_published(published, 3)
    assert sorted(segmenter.asked) == ["busy", "k", "newer"]
    assert sorted(p.job for p in published) == ["busy", "k", "newer"]


async def test_an_interim_result_of_a_segment_that_has_ended_is_not_published(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    async with interim_worker(nats_url, engine) as (interim, _):
        await segmenter.speak("j", 1_000, index=4)
        await wait_until(lambda: engine.begun, description="it is decoded")
        interim.close_segment("j", 4)
        engine.allow_all()
        await segmenter.speak("j", 500, index=5)
        await wait_until_published(published, 1)
    assert [(p.index, p.end, p.stable) for p in published] == [(5, 600, 0)]
    assert engine.batches == [[1_000], [500]]


async def test_a_segmenter_that_does_not_answer_delays_no_other_job(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    async with interim_worker(nats_url, Length()):
        segmenter.silent.add("silent")
        await segmenter.speak("silent", 1_000)
        await wait_until(lambda: segmenter.asked, description="the mute one is asked")
        for job in ("a", "b"):
            await segmenter.speak(job, 1_000)
        await wait_until_published(published, 2)
        segmenter.silent.clear()
        await segmenter.speak("silent", 2_000)
        await wait_until_published(published, 3)
    assert [(p.job, p.end) for p in published] == [("a", 1_100), ("b", 1_100), ("silent", 2_100)]


async def test_without_any_responder_the_next_segment_is_transcribed(
    bus: Bus, nats_url: str, published: list[Partial]
) -> None:
    engine = Length()
    async with interim_worker(nats_url, engine):
        await bus.publish(Speaking(job="gone", index=0, start=0, end=480))
        segmenter = Segmenter(bus)
        await bus.connection.nc.subscribe(Snapshot.pattern("here"), cb=segmenter.answer)
        await bus.connection.flushed()
        await segmenter.speak("here", 1_000)
        await wait_until_published(published, 1)
    assert (engine.asked, [p.job for p in published]) == (1, ["here"])


async def test_unreadable_snapshots_and_failed_inferences_are_survived(
    bus: Bus, nats_url: str, segmenter: Segmenter, published: list[Partial], caplog: pytest.LogCaptureFixture
) -> None:
    async def garbage(msg: Msg) -> None:
        await msg.respond(b"\xc1")

    class Failing(Length):
        def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
            if any(audio.samples == 666 for audio in batch):
                raise RuntimeError("cannot decode this")
            return super().call(batch)

    segmenter.silent.add("garbled")
    await bus.connection.nc.subscribe(Snapshot.pattern("garbled"), cb=garbage)
    await bus.connection.flushed()
    async with interim_worker(nats_url, Failing()):
        await segmenter.speak("garbled", 100)
        await segmenter.speak("bad", 666)
        await segmenter.speak("good", 1_000)
        await wait_until_published(published, 1)
        await wait_until(lambda: len(warnings(caplog)) == 2, description="both are published of")
        for job in ("bad", "good"):  # and the same jobs are served again
            await segmenter.speak(job, 2_000)
        await wait_until_published(published, 3)
    assert sorted((p.job, p.end) for p in published) == [("bad", 2_100), ("good", 1_100), ("good", 2_100)]
    assert sorted(warnings(caplog)) == ["no interim result", "snapshot not understood"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    messages = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    return [message for message in messages if "interim" in message or "snapshot" in message]


async def test_no_more_segments_are_requested_than_fit_into_a_batch(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    jobs = [f"j{number}" for number in range(12)]
    async with interim_worker(nats_url, engine, batch_size=4) as (interim, _):
        for job in jobs:
            await segmenter.speak(job, 1_000)
        await wait_until(lambda: engine.begun, description="the first is decoded")
        await wait_until(lambda: len(segmenter.asked) + len(interim._open) == 12, description="all are heard of")
        assert len(segmenter.asked) <= 4
        engine.allow_all()
        await wait_until_published(published, 12)
    assert sorted(segmenter.asked) == sorted(jobs)
    assert sorted(p.job for p in published) == sorted(jobs)
    assert max(map(len, engine.batches)) <= 4


async def test_workers_share_the_segments(nats_url: str, segmenter: Segmenter, published: list[Partial]) -> None:
    engines = [Length() for _ in range(3)]
    jobs = [f"j{number}" for number in range(60)]
    async with AsyncExitStack() as stack:
        for engine in engines:
            await stack.enter_async_context(interim_worker(nats_url, engine))
        for job in jobs:
            await segmenter.speak(job, 1_000)
        await wait_until_published(published, len(jobs))
    assert sorted(segmenter.asked) == sorted(jobs)
    assert sorted(p.job for p in published) == sorted(jobs)
    assert sum(engine.calls for engine in engines) == len(jobs)
    assert all(engine.calls for engine in engines)


SPOKEN = [
    "we",
    "decided",
    "to",
    "present",
    "the",
    "prototype",
    "before",
    "friday",
    "and",
    "to",
    "review",
    "it",
    "again",
]
PER_WORD = 1_600


class Listener(Length):
    """Finds one more word in every tenth of a second, and is wrong about the newest."""

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        super().call(batch)
        counts = [audio.samples // PER_WORD for audio in batch]
        return [result(" ".join([*SPOKEN[: count - 1], "er"])) for count in counts]


async def test_stable_text_grows_across_workers(nats_url: str, segmenter: Segmenter, published: list[Partial]) -> None:
    engines = Listener(), Listener()
    async with interim_worker(nats_url, engines[0]), interim_worker(nats_url, engines[1]):
        count = 0
        while count < len(SPOKEN) or not all(engine.calls for engine in engines):
            assert count < 60, "one of two workers is never given anything"
            count += 1
            await segmenter.speak("j", count * PER_WORD)
            await wait_until_published(published, count)
    for before, after in pairwise(published):
        assert after.text.startswith(before.text[: before.stable])
        assert after.stable >= before.stable
    for count, partial in enumerate(published[1 : len(SPOKEN)], 2):
        assert partial.text[: partial.stable] == " ".join(SPOKEN[: count - 2])


async def test_a_segment_that_has_settled_does_not_wait_for_older_interim_results(
    nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Stepped()
    async with interim_worker(nats_url, engine) as (interim, _):
        await segmenter.speak("j", 1_000)
        await engine.called(1_000, 0)
        for samples in (2_000, 3_000):  # it settles, somebody goes on speaking, and it settles again
            await segmenter.speak("j", samples, settled=samples)
            await wait_until_open(interim, "j", 100 + samples)
            engine.allow(1)
            await engine.called(samples - 100, 0)
        await segmenter.speak("j", 3_100, settled=3_000)  # the same again
        await segmenter.speak("k", 500)
        engine.allow(6)
        await wait_until_published(published, 2)
    assert engine.batches == [[2_900], [500]]
    assert [(partial.job, partial.end) for partial in published] == [("j", 3_000), ("k", 600)]


async def test_a_stale_interim_result_is_not_published(
    bus: Bus, nats_url: str, segmenter: Segmenter, published: list[Partial]
) -> None:
    engine = Gated()
    async with interim_worker(nats_url, engine) as (interim, _):
        await segmenter.speak("j", 1_000, index=2)
        await wait_until(lambda: engine.begun, description="it is decoded")
        await bus.publish(Partial(job="j", index=2, start=100, end=5_000, text="5000 samples so far"))
        await wait_until(lambda: "j" in interim._published, description="it has heard of that")
        engine.allow_all()
        await wait_until(lambda: engine.batches, description="the older one has been decoded")
        await segmenter.speak("j", 6_000, index=2)
        await wait_until_published(published, 2)
    assert [(p.end, p.text) for p in published] == [(5_000, "5000 samples so far"), (6_100, "6000 samples")]


async def test_only_the_newest_jobs_are_remembered(
    bus: Bus, nats_url: str, segmenter: Segmenter, published: list[Partial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.scheduling.interim._MAX_JOBS", 2)
    async with interim_worker(nats_url, Length()) as (interim, _):
        for job in ("a", "b", "c", "c"):
            await segmenter.speak(job, 1_000 + 500 * len(published))
            await wait_until_published(published, len(published) + 1)
        await wait_until(lambda: set(interim._published) == {"b", "c"}, description="the oldest is forgotten")


async def test_an_unforeseen_error_is_raised(bus: Bus, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_partials: object) -> Partial:
        raise KeyError("a bug")

    monkeypatch.setattr("processors.stt.scheduling.interim.local_agreement", fail)
    before = len(bus.connection.nc._subs)
    scheduler = Scheduler(Length(), 8, 1_000, asyncio.create_task)
    task = asyncio.create_task(InterimTranscriber(bus, scheduler, Ahead(scheduler, asyncio.create_task)).run())
    await wait_until(lambda: len(bus.connection.nc._subs) == before + 2, description="it listens")
    await segmenter.speak("j", 1_000)
    with pytest.raises(KeyError):
        await task
