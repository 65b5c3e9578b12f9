"""Jobs as the processors would leave them, without any."""

from __future__ import annotations

from bus import Bus
from contract import Closed, Completed, JobOptions, Opened, Segmented, Summary, Transcript, Utterance, Word
from contract.audio import AudioFrame, encode_audio
from store.jobs import connect

RATE = 16_000
FRAME = 480
SUMMARY = Summary(job="x", title="Greetings", summary="They greet.", key_points=["Hello."], engine="ollama", model="m")


def pcm(start: int, end: int) -> bytes:
    """Sound in which each sample tells its own place."""
    return b"".join((sample % 30_011 + 1).to_bytes(2, "little") for sample in range(start, end))


def said(job: str, index: int = 0, text: str = "Hello there.", seconds: int = 1) -> Transcript:
    start, end = index * seconds * RATE, (index + 1) * seconds * RATE
    words = text.split()
    step = (end - start) // max(len(words), 1)
    return Transcript(
        job=job,
        index=index,
        start=start,
        end=end,
        text=text,
        language="en",
        confidence=0.9,
        words=[
            Word(word=word, start=start + at * step, end=start + (at + 1) * step, probability=0.5)
            for at, word in enumerate(words)
        ],
    )


async def send(bus: Bus, job: str, start: int, end: int) -> None:
    """Store sound as a client would have sent it."""
    payloads = [encode_audio(AudioFrame(at, pcm(at, min(at + FRAME, end)))) for at in range(start, end, FRAME)]
    for payload in payloads[:-1]:
        await bus.connection.nc.publish(f"audio.{job}", payload)
    await bus.store(f"audio.{job}", payloads[-1])  # stored when all before it are


async def close(bus: Bus, job: str, samples: int) -> None:
    """End a job's sound."""
    await bus.store(f"audio.{job}", encode_audio(AudioFrame(samples, b"", last=True)))
    await bus.create(Closed(job=job, samples=samples, reason="stop"))


async def transcribe(bus: Bus, *transcripts: Transcript) -> None:
    """Cut a job and transcribe it."""
    job, samples = transcripts[0].job, transcripts[-1].end
    for transcript in transcripts:
        await bus.publish(
            Utterance(job=job, index=transcript.index, start=transcript.start, end=transcript.end, pcm=b"\0\0")
        )
        await bus.create(transcript)
    await bus.create(Segmented(job=job, segments=len(transcripts), samples=samples))


async def complete(bus: Bus, redis_url: str, job: str, *transcripts: Transcript) -> None:
    """Summarise a job and store it."""
    samples = transcripts[-1].end
    generation = transcripts[0].generation
    summary = SUMMARY.model_copy(update={"job": job, "generation": generation})
    await bus.create(summary)
    async with connect(redis_url) as store:
        await store.finish(job, options=JobOptions(), samples=samples, transcripts=transcripts, summary=summary)
    await bus.create(Completed(job=job, segments=len(transcripts), samples=samples, generation=generation))


async def hold(bus: Bus, redis_url: str, job: str, texts: tuple[str, ...] = ("Hello there.", "Goodbye.")) -> None:
    """A whole job, a second for each text."""
    transcripts = [said(job, index, text) for index, text in enumerate(texts)]
    await bus.create(Opened(job=job))
    await send(bus, job, 0, len(texts) * RATE)
    await close(bus, job, len(texts) * RATE)
    await transcribe(bus, *transcripts)
    await complete(bus, redis_url, job, *transcripts)
