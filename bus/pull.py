"""Messages of one JetStream consumer, asked for as they are used up.

nats-py's `fetch` makes a task and an inbox for each call and can wait out its whole timeout after a server restart;
this keeps one inbox, asks again by itself, and notices a consumer that is gone by its missing heartbeat.
Source for the protocol: ADR-13 "Pull Subscribe internals" of nats-architecture-and-design.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

EXPIRES = 60.0
HEARTBEAT = 2.0
SLOW_HEARTBEAT = 20.0
"""For readers of which there are many that wait for long: each heartbeat is a message like any other."""

_BEATS_MISSED = 2.5
_MAX_BYTES = 16 * 2**20

_ENDED = ("Batch Completed", "Message Size Exceeds MaxBytes")
"""Endings of a request, among the many that status 409 has, after which one just asks again."""


class Gone(Exception):
    """The consumer does not answer: it was deleted, or the server was restarted."""


class Pull:
    """One pull request at a time on one consumer."""

    def __init__(self, nc: Client, heartbeat: float = HEARTBEAT) -> None:
        self._nc = nc
        self._heartbeat = heartbeat
        self._inbox = nc.new_inbox()
        self._queue: deque[Msg | None] = deque()
        self._arrived = asyncio.Event()
        self._outstanding = 0
        self._subscription: Subscription | None = None
        self._ask_subject = ""
        self._asked = 0

    async def open(self, stream: str, consumer: str) -> None:
        """Begin with a consumer, or go over to another: what is left of the former is forgotten."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._inbox = self._nc.new_inbox()
        self._queue.clear()
        self._outstanding = 0
        self._ask_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def close(self) -> list[Msg]:
        """End; returns what had been delivered and not yet been taken."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()
        left = [msg for msg in self._queue if msg is not None and msg.reply]
        self._queue.clear()
        return left

    def interrupt(self) -> None:
        """Say that the connection was lost and came back: requests under way did not survive that."""
        self._queue.append(None)
        self._arrived.set()

    async def _on_message(self, msg: Msg) -> None:
        self._queue.append(msg)
        self._arrived.set()

    async def next(self, batch: Callable[[], int]) -> Msg:
        """The next message; asks for `batch()` more when nothing is under way. Raises Gone."""
        while True:
            while self._queue:
                msg = self._queue.popleft()
                if msg is None:
                    raise Gone("reconnected")
                if msg.reply:
                    self._outstanding -= 1
                    return msg
                self._on_status(msg)
            if self._outstanding <= 0:
                await self._ask(batch())
            self._arrived.clear()
            try:
                async with asyncio.timeout(_BEATS_MISSED * self._heartbeat):
                    await self._arrived.wait()
            except TimeoutError as exc:
                raise Gone("no heartbeat") from exc

    async def _ask(self, batch: int) -> None:
        self._outstanding = batch
        self._asked += 1
        request = {
            "batch": batch,
            "max_bytes": _MAX_BYTES,
            "expires": int(EXPIRES * 1e9),
            "idle_heartbeat": int(self._heartbeat * 1e9),
        }
        await self._nc.publish(self._ask_subject, json.dumps(request).encode(), reply=f"{self._inbox}.{self._asked}")

    def _on_status(self, msg: Msg) -> None:
        headers = msg.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == "100" or msg.subject != f"{self._inbox}.{self._asked}":
            return  # an idle heartbeat, or the end of an earlier request
        self._outstanding = 0  # the request has ended: 404 nothing there, 408 expired, 409 too large or worse
        if status == "503" or (status == "409" and not description.startswith(_ENDED)):
            raise Gone(f"{status} {description}".strip())
