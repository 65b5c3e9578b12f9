"""The sound of one job on its way to a server, across all the connections that this takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from audio import WIDTH
from client.pace import delay, frame_bytes, take_frames, take_rest
from client.tail import Tail


class Sound:
    """Reads ahead into a tail, and gives frames out of it to whatever connection there is.

    `paced`: as a microphone does, whose sound goes on without a connection; else as there is room.
    """

    def __init__(self, frame_ms: int, *, paced: bool, tail: Tail | None = None) -> None:
        self.paced = paced
        self.tail = tail or Tail()
        self.over = False
        """Nothing more will be read."""
        self.error: BaseException | None = None
        """Why the source broke, if it did."""
        self._frame_ms = frame_ms
        self._size = frame_bytes(frame_ms)
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    @property
    def all_sent(self) -> bool:
        """Whether a connection was given the sound to its end."""
        return self.over and not self.tail.unsent

    async def read(self, head: bytes, chunks: AsyncIterator[bytes], stop: asyncio.Event) -> None:
        """Read `head` and then `chunks`, of any size, until they end or break or `stop` is set."""
        reading, stopping = asyncio.create_task(self._read(head, chunks)), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([reading, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            reading.cancel()
            result, _ = await asyncio.gather(reading, stopping, return_exceptions=True)
            if isinstance(result, Exception):
                self.error = result
            self.over = True
            self._news.set()

    async def next_frame(self) -> bytes:
        """The next frame for the connection, as soon as there is one; nothing when the sound has been sent to its end.

        Only the last frame is shorter than the others.
        """
        while self.tail.unsent * WIDTH < self._size and not self.over:
            self._news.clear()
            await self._news.wait()
        return self.tail.take(self._size // WIDTH)

    def ack(self, samples: int) -> None:
        """The server has all below that sample for good; raises ServerError for sound that was never sent."""
        self.tail.ack(samples)
        self._room.set()

    async def _read(self, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        clock = asyncio.get_running_loop().time
        start, index = clock(), 0
        buffer = bytearray(head)
        ended = False
        while not ended:
            for frame in take_frames(buffer, self._size):
                if self.paced:
                    await asyncio.sleep(delay(clock(), start, index, self._frame_ms))
                await self._keep(frame)
                index += 1
            chunk = await anext(chunks, None)
            ended = chunk is None
            buffer += chunk or b""
        await self._keep(take_rest(buffer))

    async def _keep(self, pcm: bytes) -> None:
        while self.tail.full:
            self._room.clear()
            await self._room.wait()
        self.tail.add(pcm)
        self._news.set()
