"""Pulls the messages of one JetStream consumer.

nats-py's `fetch` makes a task and an inbox for each call, and after a server restart can wait out its whole timeout.
This keeps one inbox, requests more messages by itself, and notices by missing heartbeats that a consumer is gone.
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
"""For readers that are many and mostly idle: each heartbeat costs as much as any other message."""

_BEATS_MISSED = 2.5
_MAX_BYTES = 16 * 2**20

_ENDED = ("Batch Completed", "Message Size Exceeds MaxBytes")
"""Descriptions of status 409 after which another request is all that is needed."""


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
        """Begin with a consumer, or switch to another; undelivered messages of the former are dropped."""
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            self._inbox = self._nc.new_inbox()
        self._queue.clear()
        self._outstanding = 0
        self._ask_subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)

    async def close(self) -> list[Msg]:
        """End; returns the messages that were delivered but not returned by `next`."""
        if self._subscription is not None and not self._nc.is_closed:
            await self._subscription.unsubscribe()
        left = [msg for msg in self._queue if msg is not None and msg.reply]
        self._queue.clear()
        return left

    def interrupt(self) -> None:
        """Note that the connection was lost and came back: pull requests did not survive that."""
        self._queue.append(None)
        self._arrived.set()

    async def _on_message(self, msg: Msg) -> None:
        self._queue.append(msg)
        self._arrived.set()

    async def next(self, batch: Callable[[], int]) -> Msg:
        """The next message; requests `batch()` more when no request is open. Raises Gone."""
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
        self._outstanding = 0  # the request has ended: 404 no messages, 408 expired, 409 too large or worse
        if status == "503" or (status == "409" and not description.startswith(_ENDED)):
            raise Gone(f"{status} {description}".strip())
