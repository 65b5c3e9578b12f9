"""One utterance to its transcript, on a real nats-server: whether the job's earlier utterances matter, and how."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import pytest

from bus import Bus
from contract import SpeechOptions, Transcript, Utterance
from processors.stt.core import DecodeResult
from processors.stt.scheduling.pool import ModelPool
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.worker import Transcriber
from tests.processors.stt.engines import Audio, Length, load_none, result
from tests.support import wait_until

KOREAN_PERHAPS = {"en": 0.52, "ko": 0.45, "ja": 0.03}
ENGLISH_SURELY = {"en": 0.97, "ko": 0.02}


class Detecting(Length):
    """Detects what a test says, unless the language is given, and writes which language it decoded in."""

    def __init__(self) -> None:
        super().__init__()
        self.detects: Mapping[str, float] = KOREAN_PERHAPS
        self.languages: list[str | None] = []
        self.hears = True

    def decode(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        super().decode(batch)
        return [self._hear(audio.options.language) for audio in batch]

    def _hear(self, given: str | None) -> DecodeResult:
        self.languages.append(given)
        language = given or max(self.detects, key=self.detects.__getitem__)
        found = replace(
            result(f" said in {language}", language),
            decoding={"language": given} if given else {},
            languages={} if given else self.detects,
            language_probability=1.0 if given else self.detects[language],
        )
        return found if self.hears else replace(found, segments=())


@pytest.fixture
def engine() -> Detecting:
    return Detecting()


@pytest.fixture
async def transcriber(bus: Bus, engine: Detecting) -> AsyncIterator[Transcriber]:
    create_task = asyncio.create_task
    pool = ModelPool(engine, {}, load_none, lambda engine: Scheduler(engine, 8, 480, create_task), 1, create_task)
    yield Transcriber(bus, pool)
    pool.close()


def utterance(index: int, **more: object) -> Utterance:
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


async def test_a_detection_in_doubt_is_held_by_what_the_job_was_in(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(utterance(3))
    assert engine.languages == [None, "ko"]
    assert (made.text, made.language, made.error) == ("said in ko", "ko", None)
    assert made.language_probability == pytest.approx(0.45)
    assert made.decoding["held_language"] == "ko"
    assert made.decoding["language"] is None  # nobody asked for it


async def test_where_the_job_agrees_nothing_is_decoded_again(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 1, language="en")
    made = await transcriber.transcribe(utterance(2))
    assert engine.languages == [None]
    assert (made.text, made.language, made.language_probability) == ("said in en", "en", 0.52)
    assert "held_language" not in made.decoding


async def test_a_clear_detection_stands_wherever_the_job_was(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    engine.detects = ENGLISH_SURELY
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(utterance(3))
    assert engine.languages == [None]
    assert (made.language, made.language_probability) == ("en", 0.97)


async def test_the_first_utterance_of_a_job_has_what_was_detected(engine: Detecting, transcriber: Transcriber) -> None:
    assert (await transcriber.transcribe(utterance(0))).language == "en"
    assert engine.languages == [None]


async def test_what_is_still_being_transcribed_is_waited_for(
    bus: Bus, engine: Detecting, transcriber: Transcriber
) -> None:
    await say(bus, 0, 2)
    making = asyncio.create_task(transcriber.transcribe(utterance(3)))
    await wait_until(lambda: engine.calls == 1, description="it has been detected")
    assert not making.done()
    await say(bus, 1)
    assert (await making).language == "ko"


async def test_what_does_not_come_is_not_waited_for_long(
    bus: Bus, engine: Detecting, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.worker._EVIDENCE_WITHIN", 0.3)
    assert (await transcriber.transcribe(utterance(5))).language == "en"
    await say(bus, 2, 3)
    assert (await transcriber.transcribe(utterance(5))).language == "ko"  # by those that are there


async def test_failures_garbage_other_generations_and_later_utterances_are_no_evidence(
    bus: Bus, engine: Detecting, transcriber: Transcriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("processors.stt.worker._EVIDENCE_WITHIN", 0.3)
    await say(bus, 0, error="RuntimeError: out of memory")
    await bus.connection.js.publish("events.j.transcript.1.1", b"\xc1")
    await say(bus, 0, 1, generation=2)
    await say(bus, 3, 4)
    assert (await transcriber.transcribe(utterance(2))).language == "en"
    assert (await transcriber.transcribe(utterance(2, generation=2))).language == "ko"


async def test_a_given_language_is_not_in_doubt(bus: Bus, engine: Detecting, transcriber: Transcriber) -> None:
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(utterance(3, options=SpeechOptions(language="en")))
    assert (engine.languages, made.language) == (["en"], "en")


async def test_what_is_not_allowed_is_no_evidence(bus: Bus, engine: Detecting, transcriber: Transcriber) -> None:
    engine.detects = {"en": 0.52, "ja": 0.48}
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(utterance(3, options=SpeechOptions(allowed_languages=["en", "ja"])))
    assert (engine.languages, made.language) == ([None], "en")


async def test_where_no_word_was_heard_there_is_no_doubt(bus: Bus, engine: Detecting, transcriber: Transcriber) -> None:
    engine.hears = False
    await say(bus, 0, 1, 2)
    made = await transcriber.transcribe(utterance(3))
    assert (engine.languages, made.text, made.error) == ([None], "", None)


async def test_what_no_attempt_can_transcribe_says_so(engine: Detecting, transcriber: Transcriber) -> None:
    made = await transcriber.transcribe(utterance(3, options=SpeechOptions(language="la")))
    assert (made.index, made.text, made.error) == (3, "", "language 'la': unknown to length")
    assert (made.model, engine.calls) == ("length", 0)
