from __future__ import annotations

import asyncio
import random

import psutil
import pytest

from bus import AudioPublisher, AudioTrack, Bus, connect
from bus.claim import claim_audio
from bus.topology import StreamSettings, set_up
from compose.servers import Server
from contract.audio import MAX_BYTES, MAX_MESSAGE_BYTES, MAX_MESSAGES, Reassembler, decode_audio
from tests.support import wait_until


def sound(frames: int, seed: int = 1) -> list[bytes]:
    noise = random.Random(seed)  # noqa: S311
    return [noise.randbytes(960) for _ in range(frames)]


async def send_all(track: AudioTrack, frames: list[bytes]) -> int:
    for frame in frames:
        await track.send(frame)
    return await track.finish()


async def heard(bus: Bus, job: str) -> tuple[bytes, bool]:
    """The audio as a reader reassembles it, and whether it found the end mark."""
    pcm, last = b"", False
    for raw in await bus.history("AUDIO", f"audio.{job}"):
        frame = decode_audio(raw.data)
        if frame.start == len(pcm) // 2:
            pcm, last = pcm + frame.pcm, frame.last
    return pcm, last


async def test_audio_is_stored_in_order_and_then_its_end(bus: Bus) -> None:
    frames = sound(3 * MAX_MESSAGES)
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        assert await send_all(track, frames) == 480 * len(frames)
        assert track.stored == track.sent == 480 * len(frames)
        publisher.forget(track)
    assert [decode_audio(raw.data).pcm for raw in await bus.history("AUDIO", "audio.a")] == [*frames, b""]


async def test_audio_sent_together_is_stored_together_up_to_a_limit(bus: Bus) -> None:
    """No more at a time than the window has room for, because audio too far ahead counts as a gap."""
    frames = sound(20 * MAX_MESSAGES)
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        rest = track.publish(frames)
        assert MAX_BYTES <= 2 * track.sent < MAX_BYTES + 960
        assert b"".join(rest) == b"".join(frames)[2 * track.sent :]
        await track.send(*rest)
        await track.finish()
    stored = [decode_audio(raw.data) for raw in await bus.history("AUDIO", "audio.a")]
    assert b"".join(frame.pcm for frame in stored) == b"".join(frames)
    assert [frame.last for frame in stored] == [False] * (len(stored) - 1) + [True]
    assert len(stored) < len(frames) / 3
    assert all(len(frame.pcm) <= MAX_MESSAGE_BYTES for frame in stored)


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
            await bus.connection.flushed()
            assert len((await heard(bus, "a"))[0]) // 2 >= acked
        assert await sending == 480 * len(frames)
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_full_stream_makes_the_sender_wait_and_loses_nothing(nats_server: Server) -> None:
    frames = sound(4 * MAX_MESSAGES)
    small = StreamSettings(audio_max_bytes=100_000)
    async with connect(nats_server.url, streams=small) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, frames))
        await wait_until(lambda: track.refused, description="a refusal")
        acked = track.stored
        assert track.sent - acked <= 480 * MAX_MESSAGES
        assert not sending.done()
        assert len((await heard(bus, "a"))[0]) // 2 >= acked
        await set_up(bus.connection.js, StreamSettings())
        assert await sending == 480 * len(frames)
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_it_waits_for_a_missing_stream(bus: Bus) -> None:
    await bus.connection.js.delete_stream("AUDIO")
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        sending = asyncio.create_task(send_all(track, sound(5)))
        await wait_until(lambda: track.refused, description="a refusal")
        await set_up(bus.connection.js, StreamSettings())
        await sending
    assert await heard(bus, "a") == (b"".join(sound(5)), True)


async def test_a_track_may_continue_another(bus: Bus) -> None:
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


async def cuts(bus: Bus, job: str) -> list[tuple[int, int]]:
    """Requests to cut: the sample that a reader expects when it finds one, and the sample that it names."""
    reassembler, found = Reassembler(0), []
    for raw in await bus.history("AUDIO", f"audio.{job}"):
        frame = decode_audio(raw.data)
        reassembler.take(raw.seq, frame)
        if reassembler.cuts(frame):
            found.append((reassembler.expected, frame.start))
    return found


async def test_a_cut_is_stored_at_the_requested_sample(bus: Bus) -> None:
    frames = sound(2 * MAX_MESSAGES)
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        await track.cut()
        for frame in frames[:MAX_MESSAGES]:
            await track.send(frame)
        rest = [asyncio.create_task(track.cut()), *(asyncio.create_task(track.send(f)) for f in frames[MAX_MESSAGES:])]
        await asyncio.gather(*rest)
        await track.cut()
        assert await track.finish() == 480 * len(frames)
    assert await cuts(bus, "a") == [(480 * n,) * 2 for n in (0, MAX_MESSAGES, 2 * MAX_MESSAGES)]
    assert await heard(bus, "a") == (b"".join(frames), True)


async def test_cuts_without_audio_between_them_are_one(bus: Bus) -> None:
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        await track.send(sound(1)[0])
        for _ in range(5):
            await track.cut()
    assert await cuts(bus, "a") == [(480, 480)]


async def test_a_cut_waits_for_audio_that_was_refused_and_later_audio_for_the_cut(nats_server: Server) -> None:
    frames = sound(2 * MAX_MESSAGES)
    small = StreamSettings(audio_max_bytes=20_000)
    async with connect(nats_server.url, streams=small) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        for frame in frames[:MAX_MESSAGES]:
            await track.send(frame)
        await wait_until(lambda: track.refused, description="a refusal")
        cutting = asyncio.create_task(track.cut())
        rest = asyncio.create_task(send_all(track, frames[MAX_MESSAGES:]))
        await wait_until(lambda: track.waiting > 0.5, description="nothing moves")
        assert not cutting.done()
        assert track.sent == 480 * MAX_MESSAGES
        await set_up(bus.connection.js, StreamSettings())
        await asyncio.gather(cutting, rest)
        assert await cuts(bus, "a") == [(480 * MAX_MESSAGES,) * 2]
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_cut_whose_acks_are_lost_is_stored_at_the_requested_sample(
    nats_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    frames = sound(20)
    async with connect(nats_server.url) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        for frame in frames[:10]:
            await track.send(frame)
        await track.drained()
        assert nats_server.child
        server = psutil.Process(nats_server.child.pid)
        server.suspend()
        try:
            # The signal takes a moment to arrive, in which the server would still answer.
            await wait_until(lambda: server.status() == psutil.STATUS_STOPPED, description="the server is suspended")
            cutting = asyncio.create_task(track.cut())
            rest = asyncio.create_task(send_all(track, frames[10:]))
            await wait_until(lambda: "trying again" in caplog.text, description="no ack has come")
            assert track.waiting > 0
            assert track.sent == 4_800
        finally:
            server.resume()
        await asyncio.gather(cutting, rest)
        assert set(await cuts(bus, "a")) == {(4_800, 4_800)}
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_crash_of_the_server_does_not_move_a_cut(nats_server: Server) -> None:
    frames = sound(600)
    async with connect(nats_server.url) as bus, AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        for part in range(3):
            for frame in frames[200 * part : 200 * part + 200]:
                await track.send(frame)
            cutting = asyncio.create_task(track.cut())
            if part:
                await nats_server.kill()
                await nats_server.start()
            await cutting
        await track.finish()
        assert sorted(set(await cuts(bus, "a"))) == [(96_000 * part,) * 2 for part in (1, 2, 3)]
        assert await heard(bus, "a") == (b"".join(frames), True)


async def test_a_failure_of_the_resending_ends_the_publisher(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    async def publish() -> None:
        async with AudioPublisher(bus) as publisher:
            publisher.track("a")
            await asyncio.Event().wait()

    monkeypatch.setattr(AudioTrack, "resend_if_due", lambda _track: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await publish()


async def test_an_ack_that_cannot_be_processed_ends_its_job_alone(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = AudioTrack.answered

    def fail_for_a(track: AudioTrack, token: int, answer: bytes) -> None:
        if track.job == "a":
            raise ZeroDivisionError
        answered(track, token, answer)

    monkeypatch.setattr(AudioTrack, "answered", fail_for_a)
    async with AudioPublisher(bus) as publisher:
        one, other = publisher.track("a"), publisher.track("b")
        for track in (one, other):
            await track.send(bytes(960))
        await other.drained()
        with pytest.raises(RuntimeError, match="the acks of job a cannot be processed"):
            await one.drained()
        with pytest.raises(RuntimeError):
            await one.finish()  # now and later
