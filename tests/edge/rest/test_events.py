"""The event feed, and events that processors have added."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgpack
import pytest

from bus import Bus
from contract import Closed, Opened, Segmented, dead_letter
from edge.rest import events
from edge.rest.events import extra_events, extra_json
from tests.edge.conftest import Edge, running_edge
from tests.edge.meeting import SUMMARY, close, complete, hold, said, transcribe
from tests.support import connected_client, wait_until

PROBLEM = "application/problem+json"


@dataclass
class Event:
    id: int
    kind: str
    data: Any


@dataclass
class Feed:
    """An event stream as a browser reads it."""

    events: list[Event] = field(default_factory=list)
    comments: int = 0
    retry: int = 0
    ended: bool = False

    def take(self, block: str) -> None:
        fields = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self.comments += "" in fields
        self.retry = int(fields.get("retry", self.retry))
        if "data" in fields:
            self.events.append(Event(int(fields["id"]), fields["event"], json.loads(fields["data"])))

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    async def read(self, response: httpx.Response) -> None:
        left = ""
        async for text in response.aiter_text():
            *blocks, left = (left + text).split("\n\n")
            for block in blocks:
                self.take(block)
        self.ended = True


@asynccontextmanager
async def following(edge: Edge, job: str, last: int | None = None) -> AsyncIterator[Feed]:
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    feed = Feed()
    async with (
        httpx.AsyncClient(base_url=edge.url, timeout=60) as http,
        http.stream("GET", f"/api/v1/jobs/{job}/events", headers=headers) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        reading = asyncio.create_task(feed.read(response))
        try:
            yield feed
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def test_the_feed_of_a_completed_job_has_all_events_and_ends(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    async with following(edge, job) as feed:
        await wait_until(lambda: feed.ended, description="the end")
    assert feed.kinds == ["opened", "closed", "transcript", "transcript", "segmented", "summary", "completed"]
    opened, closed, first, _, segmented, summary, completed = feed.events
    record = (await edge.get(f"/api/v1/jobs/{job}")).json()
    assert opened.data["options"]["source"] == "live"
    assert closed.data == {"duration": 2.0, "reason": "stop"}
    assert first.data == {"generation": 1, **record["segments"][0]}
    assert segmented.data == completed.data == {"segments": 2, "duration": 2.0}
    assert summary.data == record["summary"]
    assert feed.retry > 0
    ids = [event.id for event in feed.events]
    assert ids == sorted(set(ids))


async def test_the_feed_of_a_live_job_follows_it(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    async with following(edge, job) as feed:
        await worker.create(Opened(job=job))
        await wait_until(lambda: feed.kinds == ["opened"], description="opened")
        await close(worker, job, 16_000)
        await transcribe(worker, said(job, text="Hello."))
        await wait_until(lambda: feed.kinds[2:] == ["transcript", "segmented"], description="the transcript")
        assert not feed.ended
        await complete(worker, redis_url, job, said(job, text="Hello."))
        await wait_until(lambda: feed.ended, description="the end")
    assert feed.kinds[-2:] == ["summary", "completed"]


async def test_a_feed_continues_after_the_last_event_id(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await worker.create(Opened(job=job))
    await worker.create(said(job, 0, "One."))
    async with following(edge, job) as feed:
        await wait_until(lambda: len(feed.events) == 2, description="two events")
    await worker.create(said(job, 1, "Two."))
    async with following(edge, job, feed.events[-1].id) as later:
        await wait_until(lambda: later.events, description="what came since")
        assert [event.data["text"] for event in later.events] == ["Two."]
    await complete(worker, redis_url, job, said(job, 0), said(job, 1))
    async with following(edge, job, later.events[-1].id) as last:
        await wait_until(lambda: last.ended, description="the end")
    assert last.kinds == ["summary", "completed"]
    async with httpx.AsyncClient(base_url=edge.url) as http:
        headers = {"Last-Event-ID": str(last.events[-1].id)}
        assert (await http.get(f"/api/v1/jobs/{job}/events", headers=headers)).status_code == 204


async def test_a_correction_after_the_end_is_sent_before_it(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.replace(said(job, 0, "Better."))
    async with following(edge, job) as feed:
        await wait_until(lambda: feed.ended, description="the end")
    texts = [event.data["text"] for event in feed.events if event.kind == "transcript"]
    assert (sorted(texts), feed.kinds[-1]) == (["Better.", "Goodbye."], "completed")
    async with httpx.AsyncClient(base_url=edge.url) as http:
        headers = {"Last-Event-ID": str(feed.events[-1].id)}
        assert (await http.get(f"/api/v1/jobs/{job}/events", headers=headers)).status_code == 204


async def test_events_that_are_not_for_clients_are_left_out(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await worker.store(f"events.{job}.closed", b"garbage")
    await worker.store(f"events.{job}.of_a_newer_version", b"\x80")
    await worker.publish(dead_letter("SPEECH", 1, f"speech.{job}.1.live", "no luck", "stt"))
    await worker.create(Segmented(job=job, segments=1, samples=16_000))
    await complete(worker, redis_url, job, said(job))
    async with following(edge, job) as feed:
        await wait_until(lambda: feed.ended, description="the end")
    assert feed.kinds == ["segmented", "summary", "completed"]
    assert feed.events[1].data["title"] == SUMMARY.title


async def test_a_silent_feed_has_comments(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT", 0.05)
    job = await edge.create()
    async with following(edge, job) as feed:
        await wait_until(lambda: feed.comments >= 3, description="three heartbeats")
    assert feed.events == []


async def test_a_client_that_leaves_ends_the_reader(edge: Edge, worker: Bus) -> None:
    job = await edge.create()
    await worker.create(Opened(job=job))

    async def readers() -> int:
        return len(await worker.connection.js.consumers_info("EVENTS"))

    async def nobody() -> bool:
        return await readers() == 0

    async with following(edge, job) as feed:
        await wait_until(lambda: feed.events, description="an event")
        assert await readers() == 1
    await wait_until(nobody, description="the reader of the stream is gone")


async def test_an_edge_that_stops_ends_its_feeds(
    nats_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_URL", redis_url)
    async with running_edge(nats_url) as edge:
        job = await edge.create()
        async with following(edge, job) as feed:
            await wait_until(lambda: feed.retry, description="the feed")
            edge.bus.stopping.set()
            await wait_until(lambda: feed.ended, description="the end of the feed")


async def test_a_client_that_stops_reading_loses_its_feed(
    edge: Edge, worker: Bus, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(events, "SEND_TIMEOUT", 0.5)
    job = await edge.create()
    for index in range(40):  # more than the buffers of both sides hold
        await worker.create(said(job, index, "x" * 500_000))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(edge.url.rpartition(":")[2]), limit=1_024)
    writer.write(f"GET /api/v1/jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert b"200 OK" in await reader.readline()
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await wait_until(lambda: "event feed ended" in caplog.text, description="the feed ends")
    assert "Traceback" not in caplog.text
    writer.close()


async def test_an_unreadable_last_event_id_is_refused(edge: Edge) -> None:
    job = await edge.create()
    async with httpx.AsyncClient(base_url=edge.url) as http:
        for last in ("x", "-1", "1.5", "9" * 19, "\u0661"):
            response = await http.get(f"/api/v1/jobs/{job}/events", headers={b"Last-Event-ID": last.encode()})
            assert (response.status_code, response.headers["content-type"]) == (400, PROBLEM), last
            assert "is not the id of an event" in response.json()["detail"]


async def test_expired_events(edge: Edge, worker: Bus, redis_url: str) -> None:
    job = await edge.create()
    await hold(worker, redis_url, job)
    await worker.connection.js.purge_stream("EVENTS")
    response = await edge.get(f"/api/v1/jobs/{job}/events")
    assert (response.status_code, response.headers["content-type"]) == (410, PROBLEM)
    assert f"GET /api/v1/jobs/{job} has the result" in response.json()["detail"]


async def test_head_has_the_headers_only(edge: Edge) -> None:
    job = await edge.create()
    async with httpx.AsyncClient(base_url=edge.url) as http:
        response = await http.head(f"/api/v1/jobs/{job}/events")
    assert (response.status_code, response.content) == (200, b"")


async def test_a_job_has_the_last_event_of_each_unknown_kind(edge: Edge, nats_url: str) -> None:
    job = await edge.create()
    async with connected_client(nats_url) as (_, js):
        for mood in ("calm", "lively"):
            await js.publish(f"events.{job}.mood", msgpack.packb({"job": job, "mood": mood, "share": 0.5}))
        await js.publish(f"events.{job}.mood.0", msgpack.packb({"job": job, "mood": "of a part"}))
        await js.publish(f"events.{job}.noise", b"\xc1garbage")
        await js.publish(f"events.{job}.list", msgpack.packb([1, 2]))
    answer = await edge.get(f"/api/v1/jobs/{job}")
    assert answer.status_code == 200
    assert answer.json()["extra"] == {"mood": {"mood": "lively", "share": 0.5}}


async def test_extra_events_are_of_this_job_and_of_unknown_kinds(bus: Bus) -> None:
    await bus.publish(Closed(job="a", samples=1, reason="stop"))
    await bus.connection.js.publish("events.b.mood", msgpack.packb({"job": "b", "mood": "calm"}))
    assert await extra_events(bus, "a") == {}
    assert await extra_events(bus, "b") == {"mood": {"mood": "calm"}}


def test_bytes_and_infinity_become_json() -> None:
    data = msgpack.packb({"job": "a", "sound": b"\x00\xff", "level": float("-inf")})
    assert extra_json(data) == {"sound": "AP8=", "level": None}
