"""The paced sender: reads a source ahead into the backlog, and hands out frames to the current connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from client.errors import ClientError, unexpected
from client.session.outgoing import UPLOAD_MS, Backlog, delay, frame_bytes, take_frames, take_rest
from contract import WIDTH


class Sender:
    """The audio of one job across all of its connections.

    `paced`: in real time, as from a microphone, which goes on without a connection; else as fast as there is room.
    """

    def __init__(self, frame_ms: int, *, paced: bool, backlog: Backlog | None = None) -> None:
        self.paced = paced
        self.backlog = backlog or Backlog()
        self.ended = False
        """The source has ended or failed, or was stopped."""
        self.error: Exception | None = None
        """Why reading or sending failed, if it did."""
        self._frame_ms = frame_ms
        self._size = frame_bytes(frame_ms)
        # After an outage all clients of a server send their backlog at once: in long messages, as an upload.
        self._most = max(self._size, frame_bytes(UPLOAD_MS)) if paced else self._size
        self._added = asyncio.Event()
        self._acked = asyncio.Event()

    @property
    def all_sent(self) -> bool:
        """Whether the current connection was given the audio to its end."""
        return self.ended and not self.backlog.unsent

    async def read(self, head: bytes, chunks: AsyncIterator[bytes], stop: asyncio.Event) -> None:
        """Read `head` and then `chunks`, of any size, until they end or fail or `stop` is set.

        Raises nothing: what failed is left in `error`, for after the audio before it was delivered.
        """
        reading = asyncio.create_task(self._read(head, chunks))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            if reading.done() and not self.error:
                self.error = _failure(reading)
        finally:
            stopping.cancel()
            reading.cancel()
            await asyncio.gather(reading, stopping, return_exceptions=True)
            self.ended = True
            self._added.set()

    async def next_frame(self) -> bytes:
        """Return the next frame as soon as there is one; empty when all audio has been sent.

        Only the last frame is shorter than asked for. A paced one is longer if there is a backlog.
        """
        while self.backlog.unsent * WIDTH < self._size and not self.ended:
            self._added.clear()
            await self._added.wait()
        return self.backlog.take(self._most // WIDTH)

    def ack(self, samples: int) -> None:
        """Drop audio that the server has stored; raises ServerError for audio that was never sent."""
        self.backlog.ack(samples)
        self._acked.set()

    async def _read(self, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        clock = asyncio.get_running_loop().time
        start, index = clock(), 0
        buffer = bytearray(head)
        while True:
            if self.paced:
                for frame in take_frames(buffer, self._size):
                    await asyncio.sleep(delay(clock(), start, index, self._frame_ms))
                    await self._keep(frame)
                    index += 1
            else:
                await self._keep(take_rest(buffer))
            try:
                chunk = await anext(chunks, None)
            except Exception as exc:  # noqa: BLE001 - raised once the audio before it is delivered
                self.error = exc
                return
            if chunk is None:
                break
            buffer += chunk
        await self._keep(take_rest(buffer))

    async def _keep(self, pcm: bytes) -> None:
        while self.backlog.full:
            self._acked.clear()
            await self._acked.wait()
        self.backlog.add(pcm)
        self._added.set()


def _failure(task: asyncio.Task[None]) -> ClientError | None:
    """Why a task failed that should not have; None where it ended as it should."""
    if task.cancelled():
        return ClientError("reading the audio was cancelled")
    exc = task.exception()
    return None if exc is None else unexpected("reading the audio", exc)
