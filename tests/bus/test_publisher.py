from __future__ import annotations

import asyncio
import random

from bus import AudioPublisher, AudioTrack, Bus, connect
from bus.audio import decode_audio
from bus.claim import claim_audio
from bus.topology import StreamSettings, set_up
from bus.window import MOST_FRAMES
from compose.servers import Server
from tests.support import wait_until


def sound(frames: int, seed: int = 1) -> list[bytes]:
    noise = random.Random(seed)  # noqa: S311
    return [noise.randbytes(960) for _ in range(frames)]


async def send_all(track: AudioTrack, frames: list[bytes]) -> int:
    for frame in frames:
        await track.send(frame)
    return await track.finish()


async def heard(bus: Bus, job: str) -> tuple[bytes, bool]:
    """What a reader has that takes only what it expects next, and whether it met the end."""
    pcm, last = b"", False
    for raw in await bus.history("AUDIO", f"audio.{job}"):
        frame = decode_audio(raw.data)
        if frame.start == len(pcm) // 2:
            pcm, last = pcm + frame.pcm, frame.last
    return pcm, last


async def test_audio_is_stored_in_order_and_then_its_end(bus: Bus) -> None:
    frames = sound(3 * MOST_FRAMES)
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        assert await send_all(track, frames) == 480 * len(frames)
        assert track.stored == track.sent == 480 * len(frames)
        publisher.forget(track)
    stored = [decode_audio(raw.data) for raw in await bus.history("AUDIO", "audio.a")]
    assert [frame.pcm for frame in stored] == [*frames, b""]
    assert [frame.last for frame in stored] == [False] * len(frames) + [True]


async def test_many_jobs_share_a_connection_and_do_not_mix(bus: Bus) -> None:
    sounds = {f"j{n}": sound(100, seed=n) for n in range(8)}
    async with AudioPublisher(bus) as publisher:
        await asyncio.gather(*(send_all(publisher.track(job), frames) for job, frames in sounds.items()))
    for job, frames in sounds.items():
        assert await heard(bus, job) == (b"".join(frames), True)


async def test_a_crash_of_the_server_loses_nothing(nats_server: Server) -> None:
    frames = sound(3_000)
    async with connect(nats_server.url) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, frames))
        for part in (1, 2):
            await wait_until(lambda part=part: track.stored > part * 480_000, description="some of it is stored")
            acked = track.stored
            await nats_server.kill()
            await nats_server.start()
            await bus.nc.flush()
            assert len((await heard(bus, "a"))[0]) // 2 >= acked
        assert await sending == 480 * len(frames)
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_full_stream_makes_the_sender_wait_and_loses_nothing(nats_server: Server) -> None:
    frames = sound(4 * MOST_FRAMES)
    small = StreamSettings(audio_max_bytes=100_000)
    async with connect(nats_server.url, streams=small) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, frames))
        await wait_until(lambda: track.refused, description="a refusal")
        acked = track.stored
        assert track.sent - acked <= 480 * MOST_FRAMES
        assert not sending.done()
        assert len((await heard(bus, "a"))[0]) // 2 >= acked
        await set_up(bus.js, StreamSettings())
        assert await sending == 480 * len(frames)
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_stream_that_is_not_there_is_waited_for(bus: Bus) -> None:
    await bus.js.delete_stream("AUDIO")
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, sound(5)))
        await wait_until(lambda: track.refused, description="a refusal")
        await set_up(bus.js, StreamSettings())
        await sending
    assert await heard(bus, "a") == (b"".join(sound(5)), True)


async def test_a_track_may_begin_where_another_ended(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        first = publisher.track("a")
        for frame in sound(10):
            await first.send(frame)
        await wait_until(lambda: first.stored == 4_800, description="the first part is stored")
        publisher.forget(first)
        claim = await claim_audio(bus, "a")
        assert claim.start == 4_800
        await send_all(publisher.track("a", claim), sound(10, seed=2))
    assert await heard(bus, "a") == (b"".join(sound(10) + sound(10, seed=2)), True)
