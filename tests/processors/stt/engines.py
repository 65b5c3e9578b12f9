"""Fake speech engines with scripted behaviour. The bus that they work on is real."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bus import Bus
from contract import SpeechOptions
from processors.stt.__main__ import run_process
from processors.stt.core import DecodedSegment, DecodeResult, DeviceLost, Model, OutOfMemory, Part, UnsupportedOptions
from processors.stt.scheduling.scheduler import SpeechEngine
from processors.stt.worker import Settings, serve_utterances
from tests.support import wait_until

POISON = b"\xff\x7f" * 1_600


def result(text: str, language: str = "en") -> DecodeResult:
    return DecodeResult((DecodedSegment(text, 2, -0.1, compression_ratio=1.0),), language, 1.0)


@dataclass(eq=False)
class Audio:
    """A prepared utterance. `on_queue` is called when the scheduler puts it into its queue."""

    pcm: bytes
    options: SpeechOptions = field(default_factory=SpeechOptions)
    interim: bool = False
    group: Hashable = None
    seconds: float = 1.0
    parts: tuple[Part, ...] = ()
    on_queue: Callable[[], None] = field(default=lambda: None)

    @property
    def cost(self) -> float:
        """Seconds; the scheduler reads it once, as it queues the audio."""
        self.on_queue()
        return len(self.pcm) / 32_000

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class Length:
    """Its text is the number of samples; each batch is one call, which takes `seconds`.

    Fails on POISON and on the first `failures` batches; supports every language but Latin. `asked`: utterances that it
    was given. `queued`: those of them that had to be decoded. `batches`: samples of the utterances in each batch.
    """

    model = Model("length", "0" * 16)
    device = "cpu"
    batch_size = 8
    oversubscribed = False
    in_context = False

    def __init__(self, *, failures: int = 0, seconds: float = 0.0, workers: int = 1) -> None:
        self.workers = workers
        self.asked = 0
        self.queued = 0
        self.batches: list[list[int]] = []
        self._failures = failures
        self._seconds = seconds

    def context(self, samples: int, *, merged: bool = False) -> int:
        return 0

    @property
    def calls(self) -> int:
        """Utterances that were decoded, successfully or not."""
        return sum(map(len, self.batches))

    def prepare(
        self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
    ) -> Audio | DecodeResult:
        self.asked += 1
        if options.language == "la":
            raise UnsupportedOptions("language 'la': unknown to length")
        return Audio(pcm, options, interim, on_queue=self.count_queued)

    def count_queued(self) -> None:
        self.queued += 1

    def decode(self, batch: Sequence[Audio], turn: AbstractContextManager[None]) -> list[DecodeResult]:
        with turn:
            return self.call(batch)

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        """The call of the model."""
        self.batches.append([audio.samples for audio in batch])
        time.sleep(self._seconds)  # the duration of an inference
        if any(audio.pcm == POISON for audio in batch) or len(self.batches) <= self._failures:
            raise RuntimeError("cannot decode this")
        return [result(f" {audio.samples} samples", audio.options.language or "en") for audio in batch]


class Gated(Length):
    """Decodes a batch only when it is allowed to: `allow(n)` lets n batches through, `allow_all` every batch."""

    def __init__(self, *, workers: int = 1, seconds: float = 0.0) -> None:
        super().__init__(workers=workers, seconds=seconds)
        self.begun = 0
        self.running = 0
        self.max_running = 0
        """Batches that ran at the same time."""
        self._gate = threading.Semaphore(0)
        self._open = threading.Event()
        self._lock = threading.Lock()

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.max_running = max(self.max_running, self.running)
        try:
            if not self._open.is_set():
                self._gate.acquire(timeout=60)
            return self.call_now(batch)
        finally:
            with self._lock:
                self.running -= 1

    def call_now(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        return super().call(batch)

    def allow(self, batches: int = 1) -> None:
        self._gate.release(batches)

    def allow_all(self) -> None:
        self._open.set()
        self._gate.release(1_000)


class Stepped(Length):
    """Makes `steps` calls for each batch; `allow(n)` lets n calls return. `calls_made`: samples and step of each."""

    def __init__(self, *, steps: int = 3, workers: int = 1) -> None:
        super().__init__(workers=workers)
        self.calls_made: list[tuple[int, int]] = []
        self.running = 0
        self.max_running = 0
        self._steps = steps
        self._gate = threading.Semaphore(0)
        self._lock = threading.Lock()

    def decode(self, batch: Sequence[Audio], turn: AbstractContextManager[None]) -> list[DecodeResult]:
        for step in range(self._steps):
            with turn:
                with self._lock:
                    self.calls_made.append((batch[0].samples, step))
                    self.running += 1
                    self.max_running = max(self.max_running, self.running)
                self._gate.acquire(timeout=60)
                with self._lock:
                    self.running -= 1
            time.sleep(0.002)  # what a decoder does between two calls
        return self.call(batch)

    def allow(self, calls: int) -> None:
        self._gate.release(calls)

    async def called(self, samples: int, step: int) -> None:
        """Wait until this is the last call made."""
        await wait_until(lambda: self.calls_made[-1:] == [(samples, step)], description=f"call {samples}, {step}")


class LittleMemory(Gated):
    """Runs out of memory on more than `limit` utterances at a time, and on any that is longer than a second."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def call_now(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        if len(batch) > self._limit or any(audio.samples > 16_000 for audio in batch):
            self.batches.append([audio.samples for audio in batch])
            raise OutOfMemory("CUDA failed with error out of memory")
        return super().call_now(batch)


class TwoAtOnce(Length):
    """Decodes only if two batches run at the same time."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self._barrier = threading.Barrier(2, timeout=60)

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        self._barrier.wait()
        return super().call(batch)


class Stuck(Length):
    """Never finishes a batch of at least so many utterances, and creates a file when one has begun."""

    model = Model("stuck", "f" * 16)

    def __init__(self, begun: Path, least: int) -> None:
        super().__init__(seconds=0.2)
        self._begun = begun
        self._least = least

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        if len(batch) < self._least:
            return super().call(batch)
        self._begun.touch()
        threading.Event().wait()
        raise AssertionError("nothing sets that event")


class Lossy(Length):
    """Breaks its contract: returns one result too few."""

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        return super().call(batch)[1:]


class OutOfReach(Length):
    """Has no memory for its first `failures` batches."""

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        if len(self.batches) < self._failures:
            self.batches.append([])
            raise OutOfMemory("CUDA failed with error out of memory")
        return super().call(batch)


class Lost(Length):
    """Its device is lost at the first call."""

    def call(self, batch: Sequence[Audio]) -> list[DecodeResult]:
        raise DeviceLost("CUDA failed with error an illegal memory access was encountered")


def load_none(name: str) -> SpeechEngine:
    raise AssertionError(f"{name} is not loaded in this test")


async def _main(bus: Bus, settings: Settings) -> None:
    short = {"lossy": Lossy, "lost": Lost}
    engine = short[sys.argv[1]]() if sys.argv[1] in short else Stuck(Path(sys.argv[1]), int(sys.argv[2]))
    await serve_utterances(bus, engine, settings, load_none)


if __name__ == "__main__":
    run_process(_main)
