"""Whether the server can store messages, which it does not say by itself.

After a write that failed, such as one to a full disk, a stream answers no publish any more, not even when there is room
again: only a restart of nats-server helps (`setWriteErr` in its filestore.go; releases before 2.12 switch JetStream off
instead). Reads and requests for information go on as if nothing had happened.
"""

from __future__ import annotations

import asyncio
import json

import nats.errors
import structlog

from bus.connection import ACK_TIMEOUT, Connection

log = structlog.get_logger()

STREAMS = ("AUDIO", "SPEECH", "EVENTS")
_EVERY = 2.0
_NOT_FOUND = 404


class Storage:
    """Watches whether the streams can be written. `trouble` says in one sentence why not; None: they can."""

    def __init__(self, connection: Connection) -> None:
        self.trouble: str | None = None
        self._connection = connection

    async def watch(self) -> None:
        """Keep `trouble` up to date until this is cancelled."""
        await self._connection.connected.wait()
        while True:
            if self._connection.is_up:
                self._note(await self._look())
            await asyncio.sleep(_EVERY)

    def _note(self, trouble: str | None) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            if trouble:
                log.error("bus: nothing can be stored", reason=trouble)
            else:
                log.info("bus: messages are stored again")

    async def _look(self) -> str | None:
        for stream in STREAMS:
            try:
                fault = await self._fault(stream)
            except TimeoutError:
                return self.trouble  # a slow answer says nothing about the disk
            except nats.errors.Error:
                return None  # the connection is lost, and says so itself
            if fault:
                return f"NATS at {self._connection.url} cannot write {stream}: {fault}"
        refusal = self._connection.refusal
        return refusal and f"NATS at {self._connection.url} takes no more: {refusal}"

    async def _fault(self, stream: str) -> str | None:
        """Why a stream cannot be written. A purge of what is not there changes nothing, and tells of a failed write."""
        request = json.dumps({"filter": f"{stream.lower()}.there.is.none"}).encode()
        try:
            answer = await self._connection.nc.request(f"$JS.API.STREAM.PURGE.{stream}", request, timeout=ACK_TIMEOUT)
        except nats.errors.NoRespondersError:
            return "JetStream is switched off"
        error = json.loads(answer.data).get("error", {})
        return None if error.get("code", _NOT_FOUND) == _NOT_FOUND else str(error.get("description", error))
