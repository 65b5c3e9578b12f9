from __future__ import annotations

import asyncio

from nats.js.api import DiscardPolicy, RetentionPolicy, StreamConfig

from bus import Bus, connect
from bus.topology import StreamSettings, set_up
from compose.servers import Server
from contract import VERSION, Closed
from tests.support import connected_client


async def test_set_up_is_concurrent_and_repeatable(nats_url: str) -> None:
    async with connected_client(nats_url) as (_, js):
        await asyncio.gather(*(set_up(js, StreamSettings()) for _ in range(5)))
        await set_up(js, StreamSettings())
        assert {info.config.name for info in await js.streams_info()} == {"AUDIO", "SPEECH", "EVENTS"}


async def test_audio_is_refused_rather_than_discarded_when_the_stream_is_full(bus: Bus) -> None:
    config = (await bus.connection.js.stream_info("AUDIO")).config
    assert config.discard == DiscardPolicy.NEW
    assert config.retention == RetentionPolicy.LIMITS


async def test_an_older_stream_is_updated_and_keeps_its_messages(nats_url: str) -> None:
    async with connected_client(nats_url) as (_, js):
        await js.add_stream(
            StreamConfig(name="EVENTS", subjects=["events.*.closed"], max_age=60, metadata={"mine": "x"})
        )
        await js.publish("events.a.closed", Closed(job="a", samples=1, reason="stop").encode())
        await set_up(js, StreamSettings(events_days=2))
        info = await js.stream_info("EVENTS")
        assert info.config.subjects == ["events.>"]
        assert info.config.max_age == 2 * 86_400
        assert info.config.discard == DiscardPolicy.NEW
        assert info.config.allow_rollup_hdrs
        assert info.config.metadata
        assert info.config.metadata["mine"] == "x"
        assert info.state.messages == 1


async def test_a_changed_setting_reaches_an_existing_stream(nats_server: Server) -> None:
    async with connect(nats_server.url):
        pass
    async with connect(nats_server.url, streams=StreamSettings(audio_hours=1, audio_max_bytes=10_000_000)) as bus:
        config = (await bus.connection.js.stream_info("AUDIO")).config
        assert (config.max_age, config.max_bytes) == (3_600, 10_000_000)


async def test_a_newer_stream_is_left_alone(nats_url: str) -> None:
    async with connected_client(nats_url) as (_, js):
        newer = {"stenobus.contract": str(VERSION + 1)}
        await js.add_stream(StreamConfig(name="AUDIO", subjects=["audio.*", "sound.*"], max_age=60, metadata=newer))
        await set_up(js, StreamSettings())
        info = await js.stream_info("AUDIO")
        assert info.config.subjects == ["audio.*", "sound.*"]
        assert info.config.max_age == 60
