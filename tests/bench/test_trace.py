from __future__ import annotations

import asyncio
from time import monotonic

from bench.timeline import Endpointing
from bench.trace import Meeting, segmented, timelines, utterances
from bus import Bus
from contract import Segmented, Transcript, Utterance
from contract.audio import AudioFrame, audio_subject, encode_audio

FRAME = 480
SAMPLES = 100 * FRAME
CLOCKS = 0.005


async def store_meeting(bus: Bus) -> tuple[list[float], float]:
    """Three seconds of sound in which hangover ended an utterance at 24,000; gives when frames left, and the end."""
    handed = []
    for start in range(0, SAMPLES, FRAME):
        handed.append(monotonic())
        await bus.connection.js.publish(audio_subject("job"), encode_audio(AudioFrame(start, bytes(2 * FRAME))))
        if start + FRAME == 24_000 + 4_800:
            await bus.publish(Utterance(job="job", index=0, start=4_800, end=24_000))
            await bus.publish(Transcript(job="job", index=0, start=4_800, end=24_000, text="Hello.", elapsed=0.001))
    await bus.publish(Utterance(job="job", index=1, start=38_400, end=SAMPLES))
    await bus.publish(Utterance(job="job", index=2, start=SAMPLES, end=SAMPLES, last=True))
    return handed, monotonic()


async def test_a_segment_is_followed_by_the_time_stamps_of_the_bus(bus: Bus) -> None:
    handed, told = await store_meeting(bus)
    spoken = await utterances(bus, "job")
    assert [found.index for found in spoken.values()] == [0, 1]
    ended = {seq: found for seq, found in spoken.items() if found.index == 0}
    (way,) = await timelines(bus, Meeting("job", SAMPLES, handed, {0: told}), ended, Endpointing())
    assert way.spoken == handed[(24_000 - 4_800) // FRAME - 1]
    assert way.decided == handed[(24_000 + 4_800) // FRAME - 1]
    assert way.inference == min(0.001, way.written - way.cut)
    assert way.told == told
    assert way.heard <= way.cut <= way.written
    # The order in which it all was done, but for what two clocks may differ.
    assert way.decided < way.heard + CLOCKS
    assert way.heard < handed[(24_000 + 4_800) // FRAME] + CLOCKS
    assert way.written < told + CLOCKS


async def test_the_segmenter_is_waited_for(bus: Bus) -> None:
    await bus.create(Segmented(job="one", segments=1, samples=480))
    await bus.create(Segmented(job="other", segments=1, samples=960))
    waiting = asyncio.create_task(segmented(bus, {"one", "two"}, within=60))
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await bus.create(Segmented(job="two", segments=0, samples=1_440))
    assert await waiting == {"one": 480, "two": 1_440}
