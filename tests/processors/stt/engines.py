"""Speech engines that behave as a test wants; the bus that they work on is real."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from bus import Bus
from bus.messages import SpeechOptions
from processors.stt.__main__ import Settings, run_process, serve_utterances
from processors.stt.core import Heard, HeardSegment, Model, Unfit

POISON = b"\xff\x7f" * 1_600


class Length:
    """Hears how many samples there are; each takes `seconds`. Fails on POISON and `stumbles` times; knows no Latin."""

    model = Model("length", "0" * 16)

    def __init__(self, *, stumbles: int = 0, seconds: float = 0.0) -> None:
        self.calls = 0
        self._stumbles = stumbles
        self._seconds = seconds

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        self.calls += 1
        time.sleep(self._seconds)  # the length of an inference
        if pcm == POISON or self.calls <= self._stumbles:
            raise RuntimeError("cannot hear this")
        if options.language == "la":
            raise Unfit("language 'la': unknown to length")
        text = f" {len(pcm) // 2} samples"
        return Heard((HeardSegment(text, 2, -0.1, compression_ratio=1.0),), options.language or "en", 1.0)


class Together(Length):
    """Hears something only if two inferences are under way at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self._barrier = threading.Barrier(2, timeout=5)

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        self._barrier.wait()
        return super().transcribe(pcm, options)


class Stuck:
    """Says by a file that an inference has begun, and never ends it."""

    model = Model("stuck", "f" * 16)

    def __init__(self, begun: Path) -> None:
        self._begun = begun

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        self._begun.touch()
        threading.Event().wait()
        raise AssertionError("nothing sets that event")


async def _main(bus: Bus, settings: Settings) -> None:
    await serve_utterances(bus, Stuck(Path(sys.argv[1])), settings)


if __name__ == "__main__":
    run_process(_main)
