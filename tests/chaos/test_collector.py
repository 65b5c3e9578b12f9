"""From a real bus and a real store."""

from __future__ import annotations

from time import time

from bus import Bus
from chaos.client import Client
from chaos.collector import collect
from chaos.evidence import Ack, Segment
from chaos.faults import GARBAGE, seeded
from chaos.verdict import judge
from contract import Closed, Completed, JobOptions, Opened, Segmented, Summary, Transcript, Utterance
from contract.audio import AudioFrame, audio_subject, encode_audio
from store.jobs import connect

SENT = bytes(index % 251 for index in range(2 * 960))
JOB = "meeting"


async def test_a_meeting_is_found_on_the_bus_and_in_the_store_whatever_else_lies_there(
    bus: Bus, redis_url: str
) -> None:
    transcript = Transcript(job=JOB, index=0, start=0, end=480, text="one")
    summary = Summary(job=JOB, title="", summary="", engine="none")
    frames = [AudioFrame(0, SENT[:960]), AudioFrame(0, SENT[:960]), AudioFrame(480, SENT[960:])]
    cut = AudioFrame(480, b"", cut=True)
    for data in (GARBAGE, *map(encode_audio, (*frames, cut)), encode_audio(AudioFrame(960, b"", last=True))):
        await bus.connection.js.publish(audio_subject(JOB), data)
    for message in (
        *(Opened(job=JOB), Utterance(job=JOB, index=0, start=0, end=480, pcm=SENT[:960])),
        *(Closed(job=JOB, samples=960, reason="stop"), Utterance(job=JOB, index=1, start=960, end=960, last=True)),
        *(transcript, transcript.model_copy(update={"generation": 2, "text": "better"})),
        *(Segmented(job=JOB, segments=1, samples=960), summary, Completed(job=JOB, segments=1, samples=960)),
    ):
        await bus.publish(message)
    for subject in (f"speech.{JOB}.1.live", Opened.pattern(JOB), f"events.{JOB}.nonsense"):
        await bus.connection.js.publish(subject, GARBAGE)
    client = Client("1.1", SENT, [], seeded(1))
    client.job = JOB
    client.told.finished = "rest"
    client.told.acks = [Ack(time(), 480), Ack(time(), 960)]
    async with connect(redis_url) as store:
        await store.create(JOB, JobOptions())
        await store.finish(JOB, options=JobOptions(), samples=960, transcripts=[transcript], summary=summary)
        evidence = await collect(bus, store, client)
    assert evidence.pcm == SENT
    assert evidence.speech == [Segment(0, 0, 480)]
    assert evidence.transcripts == evidence.record == [Segment(0, 0, 480, "one")]
    assert (evidence.corrected, evidence.generation) == ([Segment(0, 0, 480, "better")], 1)
    assert set(evidence.stored_at) == {2, 4}
    assert judge(evidence, [Segment(0, 0, 480, "one")]).problems == []


async def test_an_ack_that_comes_before_the_sound_is_found_out(bus: Bus, redis_url: str) -> None:
    client = Client("1.1", SENT, [], seeded(1))
    client.job = JOB
    client.told.acks = [Ack(time(), 960)]
    await bus.connection.js.publish(audio_subject(JOB), encode_audio(AudioFrame(0, SENT)))
    async with connect(redis_url) as store:
        verdict = judge(await collect(bus, store, client), None)
    assert verdict.acked_samples_lost == 960
    assert verdict.unfinished == 1
    assert any("not in the store" in problem for problem in verdict.problems)
