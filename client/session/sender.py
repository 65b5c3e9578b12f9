"""The sound of one job on its way to a server, across all the connections that this takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from audio import WIDTH
from client.session.backlog import Tail
from client.session.pacing import UPLOAD_MS, delay, frame_bytes, take_frames, take_rest


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
        # What has piled up without a connection goes out as an upload does, from all clients of a server at once.
        self._most = max(self._size, frame_bytes(UPLOAD_MS)) if paced else self._size
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

        Only the last frame is shorter than asked for; paced, one is longer if more sound has piled up.
        """
        while self.tail.unsent * WIDTH < self._size and not self.over:
            self._news.clear()
            await self._news.wait()
        return self.tail.take(self._most // WIDTH)

    def ack(self, samples: int) -> None:
        """The server has all below that sample for good; raises ServerError for sound that was never sent."""
        self.tail.ack(samples)
        self._room.set()

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
            chunk = await anext(chunks, None)
            if chunk is None:
                break
            buffer += chunk
        await self._keep(take_rest(buffer))

    async def _keep(self, pcm: bytes) -> None:
        while self.tail.full:
            self._room.clear()
            await self._room.wait()
        self.tail.add(pcm)
        self._news.set()
