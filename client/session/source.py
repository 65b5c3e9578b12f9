"""Sound from files and pipes, read in a thread so that a slow disk or a silent pipe never holds up the socket."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import suppress

import audio

_AHEAD = 32
_RAW_BYTES = 3_200


def pcm(path: str, missing: Callable[[float, float], None], *, raw: bool = False) -> Iterator[bytes]:
    """Yield 16 kHz mono s16le of a file, or of stdin for `-`; `raw` says that it is such samples already.

    `missing(start, seconds)` is told of damage that became silence. Raises audio.AudioError for what cannot be read or
    decoded.
    """
    if path != "-" and not raw:
        yield from audio.decode(path, missing)
        return
    stdin = path == "-"
    try:
        # Unbuffered: a pipe is read as it comes, and a thread blocked in stdin when the process leaves holds no lock.
        with open(sys.stdin.fileno() if stdin else path, "rb", buffering=0, closefd=not stdin) as file:
            if raw:
                yield from iter(lambda: file.read(_RAW_BYTES), b"")
            else:
                yield from audio.decode(file, missing)
    except OSError as exc:
        name = "stdin" if stdin else path
        raise audio.AudioError(f"{name}: {(exc.strerror or str(exc)).lower()}") from exc


async def in_thread(chunks: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Run an iterator in a thread of its own, a bounded number of chunks ahead; raises what it raises.

    Closing the generator does not wait for a thread that is blocked in a read: it ends with its next chunk, or with the
    process.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    left = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is waiting any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        try:
            for chunk in chunks:
                room.acquire()
                if left.is_set():
                    return
                put(chunk)
            put(None)
        except Exception as exc:  # noqa: BLE001 - raised again where the chunks are read
            put(exc)

    threading.Thread(target=pump, name="source", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            room.release()
            yield item
    finally:
        left.set()
        room.release()
