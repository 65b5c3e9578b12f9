"""Utterances to transcripts, on a real nats-server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
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
    Utterance,
)
from processors.stt.core import DecodeResult, Model
from processors.stt.scheduling.ahead import Ahead
from processors.stt.scheduling.pool import ModelPool
from processors.stt.scheduling.scheduler import Scheduler, SpeechEngine
from processors.stt.worker import Settings, Transcriber, serve_utterances
from tests.processors.stt.engines import POISON, Audio, Gated, Length, TwoAtOnce, load_none, result
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


async def test_each_utterance_becomes_one_transcript_and_the_end_marker_none(bus: Bus, nats_url: str) -> None:
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


async def test_the_engine_runs_as_many_batches_as_it_has_workers(bus: Bus, nats_url: str) -> None:
    for index in range(2):
        await bus.publish(utterance(index))
    async with working(nats_url, TwoAtOnce(), attempts=1):
        await wait_for_transcripts(bus, 2)
    assert [t.error for t in await transcripts(bus)] == [None] * 2


async def test_an_open_segment_has_interim_results_until_it_ends(bus: Bus, nats_url: str) -> None:
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


async def test_a_failed_inference_is_tried_again(bus: Bus, nats_url: str) -> None:
    engine = Length(failures=1)
    await bus.publish(utterance(0))
    async with working(nats_url, engine, attempts=3):
        await wait_for_transcripts(bus, 1)
    assert engine.calls == 2
    assert [t.error for t in await transcripts(bus)] == [None]


async def test_a_poison_utterance_becomes_a_failed_transcript_with_the_reason(bus: Bus, nats_url: str) -> None:
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


async def test_unsupported_options_fail_at_the_first_attempt(bus: Bus, nats_url: str) -> None:
    engine = Length()
    await bus.publish(utterance(0).model_copy(update={"options": SpeechOptions(language="la")}))
    async with working(nats_url, engine, attempts=3):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert (engine.asked, engine.calls) == (1, 0)
    assert [(t.text, t.error) for t in await transcripts(bus)] == [("", "language 'la': unknown to length")]


async def test_garbage_is_dead_lettered_and_the_rest_is_transcribed(bus: Bus, nats_url: str) -> None:
    await bus.connection.js.publish("speech.j.1.live", b"\xc1 not msgpack")
    await bus.publish(utterance(0))
    async with working(nats_url, Length()):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    dead = [message for message in await events(bus) if isinstance(message, Dead)]
    assert [(d.seq, d.at) for d in dead] == [(1, "speech.j.1.live")]
    assert "not a Utterance" in dead[0].reason


async def test_an_inference_longer_than_ack_wait_is_not_repeated(bus: Bus, nats_url: str) -> None:
    engines = [Length(seconds=1.2), Length(seconds=1.2)]
    await bus.publish(utterance(0))
    async with working(nats_url, engines[0], ack_wait=0.5), working(nats_url, engines[1], ack_wait=0.5):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert sum(engine.calls for engine in engines) == 1


async def test_a_stopped_worker_gives_its_utterance_back_at_once(bus: Bus, nats_url: str, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    await bus.publish(utterance(0))
    module = ("-m", "tests.processors.stt.engines", str(begun), "1")
    async with process(*module, log=tmp_path / "log", NATS_URL=nats_url, STT_ACK_WAIT="600") as child:
        await wait_until(begun.exists, description="an inference in the other process")
        child.terminate()
        assert await child.wait() == 0, (tmp_path / "log").read_text()
    engine = Length()
    async with working(nats_url, engine, ack_wait=600):
        await wait_for_transcripts(bus, 1)
        await wait_until_settled(bus)
    assert engine.calls == 1
    assert [(t.index, t.model, t.error) for t in await transcripts(bus)] == [(0, "length", None)]


async def test_a_killed_worker_leaves_each_utterance_to_be_transcribed_once(
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


async def test_a_job_gets_the_model_that_it_asks_for_or_an_error_if_there_is_none(bus: Bus, nats_url: str) -> None:
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


async def test_live_audio_goes_before_uploads_and_uploads_before_replays(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    later: list[tuple[Source, int]] = [("replay", 11), ("replay", 12), ("upload", 21), ("upload", 22), ("live", 31)]
    async with working(nats_url, engine, batch_size=1):
        await bus.publish(utterance(0))
        await wait_until(lambda: engine.begun, description="the engine is busy")
        for count, (source, index) in enumerate(later, 2):
            await bus.publish(utterance(index, source=source, generation=2 if source == "replay" else 1))
            await wait_until(lambda count=count: engine.queued == count, description=f"{source} {index} waits")
        engine.allow_all()
        await wait_for_transcripts(bus, 6)
        await wait_until_settled(bus, "live", "upload", "replay")
    assert engine.batches == [[1_600 + index] for index in (0, 31, 21, 22, 11, 12)]
    assert {t.index for t in await transcripts(bus) if t.generation == 2} == {11, 12}


async def test_a_backlog_of_uploads_does_not_delay_live_audio(bus: Bus, nats_url: str) -> None:
    engine = Gated()
    for index in range(300):  # one by one: what times out is published again, and decoded again
        await bus.publish(utterance(index, job="u", source="upload"))
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


async def dead(bus: Bus) -> list[tuple[str, int]]:
    return [(letter.dead.stream, letter.dead.seq) for letter in await letters(bus, limit=99)]


async def none_dead(bus: Bus) -> bool:
    return not await dead(bus)


class Tolerant(Length):
    """Decodes POISON too."""

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        return super().call([replace(audio, pcm=bytes(len(audio.pcm))) for audio in batch])


@pytest.fixture
async def failed(bus: Bus, nats_url: str) -> None:
    """Three utterances, of which the second has failed; no worker is running any more."""
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
async def test_a_retry_replaces_the_failed_transcript(bus: Bus, nats_url: str) -> None:
    assert (await by_index(bus))[1].error == "RuntimeError: cannot decode this"
    assert await dead(bus) == [("SPEECH", 2)]
    await redrive(bus, "j", "SPEECH", 2)
    engine = Tolerant()
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
async def test_new_utterances_do_not_wait_behind_retries(bus: Bus, nats_url: str) -> None:
    for _ in range(20):
        await redrive(bus, "j", "SPEECH", 2)
    await bus.publish(utterance(3))
    async with working(nats_url, Length(seconds=0.1), attempts=3):
        await wait_for_transcripts(bus, 4)
        info = await bus.connection.js.consumer_info("EVENTS", "stt-live-redrive")
        assert (info.num_pending or 0) + (info.num_ack_pending or 0) >= 15


KOREAN_PERHAPS = {"en": 0.52, "ko": 0.45, "ja": 0.03}
ENGLISH_SURELY = {"en": 0.97, "ko": 0.02}


class Detecting(Length):
    """Detects scripted languages unless the language is given, and records in which language it decodes."""

    def __init__(self) -> None:
        super().__init__()
        self.detects: Mapping[str, float] = KOREAN_PERHAPS
        self.languages: list[str | None] = []
        self.finds_text = True

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        super().call(batch)
        return [self._decode_one(audio.options.language) for audio in batch]

    def _decode_one(self, given: str | None) -> DecodeResult:
        self.languages.append(given)
        language = given or max(self.detects, key=self.detects.__getitem__)
        found = replace(
            result(f" spoken in {language}", language),
            decoding={"language": given} if given else {},
            languages={} if given else self.detects,
            language_probability=1.0 if given else self.detects[language],
        )
        return found if self.finds_text else replace(found, segments=())


@pytest.fixture
def engine() -> Detecting:
    return Detecting()


@pytest.fixture
async def transcriber(bus: Bus, engine: Detecting) -> AsyncIterator[Transcriber]:
    create_task = asyncio.create_task
    pool = ModelPool(engine, {}, load_none, lambda engine: Scheduler(engine, 8, 480, create_task), 1, create_task)
    yield Transcriber(bus, pool, Ahead(pool.own.scheduler, create_task))
    pool.close()


def said(index: int, **more: object) -> Utterance:
    start = index * 48_000
    values = {"job": "j", "index": index, "start": start, "end": start + 32_000, "pcm": bytes(64_000), **more}
    return Utterance.model_validate(values)


async def say(bus: Bus, *indexes: int, language: str = "ko", generation: int = 1, error: str | None = None) -> None:
    """Store confident transcripts of the job."""
    for index in indexes:
        start = index * 48_000
        await bus.create(
            Transcript(
                job="j",
                generation=generation,
                index=index,
                start=start,
                end=start + 40_000,
                text="" if error else "말씀",
                language=language,
                language_probability=0.95,
                confidence=0.0 if error else 0.9,
                error=error,
                model="m",
                model_hash="0" * 16,
            )
        )


async def test_an_unclear_detection_follows_the_language_of_the_job(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(said(3))
    assert engine.languages == [None, "ko"]
    assert (made.text, made.language, made.error) == ("spoken in ko", "ko", None)
    assert made.language_probability == pytest.approx(0.45)
    assert made.decoding["held_language"] == "ko"
    assert made.decoding["language"] is None  # nobody asked for it


async def test_a_detection_that_the_job_confirms_is_not_decoded_again(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 1, language="en")
    made = await transcriber.transcribe(said(2))
    assert engine.languages == [None]
    assert (made.text, made.language, made.language_probability) == ("spoken in en", "en", 0.52)
    assert "held_language" not in made.decoding


async def test_a_clear_detection_is_accepted_whatever_the_language_of_the_job(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    engine.detects = ENGLISH_SURELY
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(said(3))
    assert engine.languages == [None]
    assert (made.language, made.language_probability) == ("en", 0.97)


async def test_the_first_utterance_of_a_job_has_the_detected_language(
    engine: Detecting, transcriber: Transcriber
) -> None:
    assert (await transcriber.transcribe(said(0))).language == "en"
    assert engine.languages == [None]


async def test_an_unclear_utterance_waits_for_those_still_being_transcribed(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 2)
    making = asyncio.create_task(transcriber.transcribe(said(3)))
    await wait_until(lambda: engine.calls == 1, description="it has been detected")
    assert not making.done()
    await say(bus, 1)
    assert (await making).language == "ko"


async def test_an_unclear_utterance_does_not_wait_long(
    bus: Bus, engine: Detecting, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.worker._EVIDENCE_WITHIN", 0.3)
    assert (await transcriber.transcribe(said(5))).language == "en"
    await say(bus, 2, 3)
    assert (await transcriber.transcribe(said(5))).language == "ko"  # by those that are there


async def test_failures_garbage_other_generations_and_later_utterances_are_no_evidence(
    bus: Bus, engine: Detecting, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.worker._EVIDENCE_WITHIN", 0.3)
    await say(bus, 0, error="RuntimeError: out of memory")
    await bus.connection.js.publish("events.j.transcript.1.1", b"\xc1")
    await say(bus, 0, 1, generation=2)
    await say(bus, 3, 4)
    assert (await transcriber.transcribe(said(2))).language == "en"
    assert (await transcriber.transcribe(said(2, generation=2))).language == "ko"


async def test_a_given_language_needs_no_evidence(bus: Bus, engine: Detecting, transcriber: Transcriber) -> None:
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(said(3, options=SpeechOptions(language="en")))
    assert (engine.languages, made.language) == (["en"], "en")


async def test_a_language_that_is_not_allowed_is_no_evidence(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    engine.detects = {"en": 0.52, "ja": 0.48}
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(said(3, options=SpeechOptions(allowed_languages=["en", "ja"])))
    assert (engine.languages, made.language) == ([None], "en")


async def test_an_empty_result_needs_no_evidence(bus: Bus, engine: Detecting, transcriber: Transcriber) -> None:
    engine.finds_text = False
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(said(3))
    assert (engine.languages, made.text, made.error) == ([None], "", None)


async def test_unsupported_options_give_a_failed_transcript(engine: Detecting, transcriber: Transcriber) -> None:
    made = await transcriber.transcribe(said(3, options=SpeechOptions(language="la")))
    assert (made.index, made.text, made.error) == (3, "", "language 'la': unknown to length")
    assert (made.model, engine.calls) == ("length", 0)
