"""Audio from files, pipes and stored jobs, read in a thread: a slow disk or a silent pipe must not block the socket."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import httpx

import audio
from client.api import TIMEOUT, audio_url, explain
from client.errors import ClientError, ServerError, UnreachableError, refusal, unexpected
from client.route import http_options

_AHEAD = 32
_RAW_BYTES = 3_200
_WAV_HEADER = 44
_WAV_BYTES = 65_536


@dataclass(frozen=True)
class Choice:
    """What to decode of a file: the best track or the one of this number, and a channel as in audio.read_channel."""

    track: int | None = None
    channel: str = "mix"


@dataclass(frozen=True)
class Findings:
    """Who hears, from another thread, what decoding a file finds besides its sound."""

    tell: Callable[[str], None] = lambda _sentence: None
    """Gets each sentence about what is unusual."""
    take: Callable[[audio.Taken], None] = lambda _taken: None
    """Is told, before the first chunk, which track and channel are decoded."""
    holes: list[tuple[float, float]] = field(default_factory=list)
    """Start and length in seconds of damage that became silence."""


def pcm(path: str, findings: Findings, choice: Choice = Choice(), *, raw: bool = False) -> Iterator[bytes]:
    """Yield 16 kHz mono s16le of a file, or of stdin for `-`; `raw`: it consists of such samples already.

    Raises audio.AudioError for what cannot be read or decoded.
    """
    decode = partial(
        audio.decode,
        missing=lambda *hole: findings.holes.append(hole),
        track=choice.track,
        channel=choice.channel,
        tell=findings.tell,
        taken=findings.take,
    )
    if path != "-" and not raw:
        yield from decode(path)
        return
    stdin = path == "-"
    try:
        # Unbuffered: a pipe is read as it comes, and a thread that is blocked in stdin at exit holds no lock.
        with open(sys.stdin.fileno() if stdin else path, "rb", buffering=0, closefd=not stdin) as file:
            if raw:
                yield from iter(lambda: file.read(_RAW_BYTES), b"")
            else:
                yield from decode(file)
    except OSError as exc:
        name = "stdin" if stdin else path
        raise audio.AudioError(f"{name}: {(exc.strerror or str(exc)).lower()}") from exc


def stored_audio(server: str, job_id: str) -> Iterator[bytes]:
    """Yield a job's stored audio, mono s16le at 16 kHz; blocks. Raises UnreachableError, ServerError."""
    url = audio_url(server, job_id)
    try:
        with httpx.stream("GET", url, timeout=TIMEOUT, **http_options(url)) as response:
            if not response.is_success:
                raise refusal(response.status_code, response.read(), response.headers)
            header = b""
            for piece in response.iter_bytes(_WAV_BYTES):
                if len(header) >= _WAV_HEADER:
                    yield piece
                    continue
                header += piece
                if len(header) >= _WAV_HEADER:
                    if header[:4] != b"RIFF" or header[36:40] != b"data":
                        raise ServerError(f"{url} is not a WAV file as Stenobus servers make them")
                    if len(header) > _WAV_HEADER:
                        yield header[_WAV_HEADER:]
    except httpx.TransportError as exc:
        raise UnreachableError(f"cannot read {url}: {explain(exc)}") from exc


async def in_thread(chunks: Iterable[bytes]) -> AsyncGenerator[bytes]:
    """Run an iterator in a thread of its own, a bounded number of chunks ahead.

    Raises the AudioError or ClientError that it raises, and a ClientError for anything else. Closing the generator does
    not wait for a thread that is blocked in a read: it ends with its next chunk, or with the process.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
    room = threading.Semaphore(_AHEAD)
    left = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(queue.put_nowait, item)

    def pump() -> None:
        try:
            for chunk in chunks:
                room.acquire()
                if left.is_set():
                    return
                put(chunk)
            put(None)
        except (audio.AudioError, ClientError) as exc:
            put(exc)
        except BaseException as exc:  # noqa: BLE001 - the capture must end, whatever it is
            put(unexpected("reading the audio", exc))

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
