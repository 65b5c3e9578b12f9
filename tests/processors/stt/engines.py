"""Speech engines that behave as a test wants; the bus that they work on is real."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bus import Bus
from contract import SpeechOptions
from processors.stt.__main__ import Settings, run_process, serve_utterances
from processors.stt.core import Heard, HeardSegment, Model, OutOfMemory, Unfit

POISON = b"\xff\x7f" * 1_600


def heard(text: str, language: str = "en") -> Heard:
    """What an engine says that has understood something."""
    return Heard((HeardSegment(text, 2, -0.1, compression_ratio=1.0),), language, 1.0)


@dataclass(eq=False)
class Sound:
    """A prepared sound: its samples are its text."""

    pcm: bytes
    options: SpeechOptions = field(default_factory=SpeechOptions)
    draft: bool = False
    group: Hashable = None
    taken: Callable[[], None] = field(default=lambda: None)

    @property
    def cost(self) -> float:
        """Seconds; the scheduler asks for it as it takes the sound in."""
        self.taken()
        return len(self.pcm) / 32_000

    @property
    def samples(self) -> int:
        return len(self.pcm) // 2


class Length:
    """Hears how many samples there are; each batch takes `seconds`.

    Fails on POISON and on the first `stumbles` batches; knows no Latin. `asked`: sounds that it was given, fit or not.
    `queued`: those that came to wait. `batches`: samples of the sounds in each batch, as far as it was decoded.
    """

    model = Model("length", "0" * 16)
    device = "cpu"

    def __init__(self, *, stumbles: int = 0, seconds: float = 0.0, workers: int = 1) -> None:
        self.workers = workers
        self.asked = 0
        self.queued = 0
        self.batches: list[list[int]] = []
        self._stumbles = stumbles
        self._seconds = seconds

    @property
    def calls(self) -> int:
        """Sounds that were decoded, whatever came of it."""
        return sum(map(len, self.batches))

    def prepare(self, pcm: bytes, options: SpeechOptions, *, draft: bool = False) -> Sound | Heard:
        self.asked += 1
        if options.language == "la":
            raise Unfit("language 'la': unknown to length")
        return Sound(pcm, options, draft, taken=self._take)

    def _take(self) -> None:
        self.queued += 1

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        self.batches.append([sound.samples for sound in sounds])
        time.sleep(self._seconds)  # the length of an inference
        if any(sound.pcm == POISON for sound in sounds) or len(self.batches) <= self._stumbles:
            raise RuntimeError("cannot hear this")
        return [heard(f" {sound.samples} samples", sound.options.language or "en") for sound in sounds]


class Gated(Length):
    """Decodes a batch only when it is let: `let(n)` lets n batches through, `let_all` whatever comes."""

    def __init__(self, *, workers: int = 1, seconds: float = 0.0) -> None:
        super().__init__(workers=workers, seconds=seconds)
        self.begun = 0
        self.running = 0
        self.most = 0
        """Batches that were under way at the same time."""
        self._gate = threading.Semaphore(0)
        self._open = threading.Event()
        self._lock = threading.Lock()

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            if not self._open.is_set():
                self._gate.acquire(timeout=60)
            return self.decode_now(sounds)
        finally:
            with self._lock:
                self.running -= 1

    def decode_now(self, sounds: Sequence[Sound]) -> list[Heard]:
        return super().decode(sounds)

    def let(self, batches: int = 1) -> None:
        self._gate.release(batches)

    def let_all(self) -> None:
        self._open.set()
        self._gate.release(1_000)


class Cramped(Gated):
    """Has room for so many sounds at a time, and none for one that is longer than a second."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def decode_now(self, sounds: Sequence[Sound]) -> list[Heard]:
        if len(sounds) > self._room or any(sound.samples > 16_000 for sound in sounds):
            self.batches.append([sound.samples for sound in sounds])
            raise OutOfMemory("CUDA failed with error out of memory")
        return super().decode_now(sounds)


class Together(Length):
    """Hears something only if two batches are under way at the same time."""

    def __init__(self) -> None:
        super().__init__(workers=2)
        self._barrier = threading.Barrier(2, timeout=60)

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        self._barrier.wait()
        return super().decode(sounds)


class Stuck(Length):
    """Says by a file that a batch of so many sounds or more has begun, and never ends it; hears smaller ones."""

    model = Model("stuck", "f" * 16)

    def __init__(self, begun: Path, least: int) -> None:
        super().__init__(seconds=0.2)
        self._begun = begun
        self._least = least

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        if len(sounds) < self._least:
            return super().decode(sounds)
        self._begun.touch()
        threading.Event().wait()
        raise AssertionError("nothing sets that event")


async def _main(bus: Bus, settings: Settings) -> None:
    await serve_utterances(bus, Stuck(Path(sys.argv[1]), int(sys.argv[2])), settings)


if __name__ == "__main__":
    run_process(_main)
