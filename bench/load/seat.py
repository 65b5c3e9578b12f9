"""A place for one client at a time: its meetings, one behind the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random
from time import monotonic
from typing import Any

import httpx

from bench.load.client import Client, ClientFailed, open_client
from bench.load.pacer import Pacer
from bench.load.plan import Plan
from bench.load.report import Meeting
from bench.load.sound import Sound

WELCOME_WITHIN = 30.0
_PAUSE = 1.0
"""Seconds before a client that failed comes anew."""


class Seat:
    """`meetings`: those that are over. `seated`: set once the first has begun to stream, or has failed."""

    def __init__(
        self, plan: Plan, stream: int, place: int, sound: tuple[Sound, int], http: httpx.AsyncClient, pacer: Pacer
    ) -> None:
        self.meetings: list[Meeting] = []
        self.seated = asyncio.Event()
        self.client: Client | None = None
        self._plan = plan
        self._stream = stream
        self._place = place
        self._sound, self._frame = sound
        self._http = http
        self._pacer = pacer
        self._random = Random(f"{plan.seed} {stream}")  # noqa: S311 - not for secrets
        self._over = asyncio.Event()

    def finish(self) -> None:
        """Let the meeting come to its end, and no other begin."""
        self._over.set()

    async def run(self) -> None:
        """Meetings until `finish`, or one meeting; what goes wrong is noted with the meeting."""
        anew = bool(self._plan.burst or self._plan.meeting)
        while not self._over.is_set():
            await self._meet()
            self.seated.set()
            if not anew:
                return
            if self.meetings[-1].error is not None:
                await self._wait_for_the_end(_PAUSE)

    async def _meet(self) -> None:
        plan, asked, job, error = self._plan, monotonic(), "", None
        self.client = client = Client(self._sound, self._frame, plan.frame_ms, times=plan.times)
        try:
            job, url = await self._create()
            await open_client(url, client)
            await _within(WELCOME_WITHIN, client.welcomed, "was not welcomed")
            await (self._say_at_once(client) if plan.burst else self._say(client))
            client.stop(leave=plan.leave)
            what = f"was not {'acked' if plan.leave else 'served'} to the end"
            await _within(plan.end_within, client.ended, what)
        except ClientFailed as exc:
            error = str(exc)
        finally:
            client.abort()
        self.meetings.append(client.meeting(self._stream, job, asked, error))
        self.client = None

    async def _create(self) -> tuple[str, str]:
        try:
            answer = await self._http.post("/api/v1/stream/create", json=dict(self._plan.options))
        except httpx.HTTPError as exc:
            raise ClientFailed(f"no job was created: {exc or type(exc).__name__}") from exc
        if not answer.is_success:
            raise ClientFailed(f"no job was created: {answer.status_code} {answer.text[:200]}")
        found: dict[str, Any] = answer.json()
        return found["job_id"], found["ws_url"]

    async def _say(self, client: Client) -> None:
        """In real time, to the end of the meeting."""
        self._pacer.add(self._place, client.send_frame)
        self.seated.set()
        try:
            seconds = self._random.uniform(*self._plan.meeting) if self._plan.meeting else None
            over = asyncio.create_task(self._wait_for_the_end(seconds))
            await asyncio.wait({over, client.ended}, return_when=asyncio.FIRST_COMPLETED)
            over.cancel()
        finally:
            self._pacer.remove(self._place, client.send_frame)
        if client.ended.done():
            client.ended.result()
            raise ClientFailed("the server ended the job before its sound had ended")

    async def _say_at_once(self, client: Client) -> None:
        for _ in range(round(self._plan.burst * 1_000 / self._plan.frame_ms)):
            client.send_frame()
        self.seated.set()

    async def _wait_for_the_end(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass


async def _within(seconds: float, what: Awaitable[None], complaint: str) -> None:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.shield(what)
    except TimeoutError as exc:
        raise ClientFailed(f"a client {complaint} within {seconds:g} s") from exc
