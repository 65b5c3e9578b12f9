"""What is called before anybody speaks, and how large a batch may be. The tiny model stands in for one on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bus import StartError
from processors.stt.core import DeviceLost, OutOfMemory
from processors.stt.whisper import engine as engine_module
from processors.stt.whisper.backend import FULL_WINDOW, Search, Whisper
from processors.stt.whisper.cuda import has_started
from processors.stt.whisper.decoder import FALLBACK
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.warmup import choose_batch_size, warm_up
from tests.processors.stt.sounds import MICRO
from tests.processors.stt.starved import Starved

MEMORY = "CUDA failed with error out of memory"


@pytest.fixture
def starved() -> Starved:
    whisper: Any = Whisper(MICRO, device="cpu", compute_type="int8", workers=2, threads=1)
    return Starved(whisper._model, 1_000, MEMORY)


@pytest.fixture
def gpu(starved: Starved) -> Whisper:
    whisper: Any = Whisper(MICRO, device="cpu", compute_type="int8", workers=2, threads=1)
    whisper._model = starved
    found: Whisper = whisper
    return found


def test_each_kind_of_call_is_made_by_each_worker_alone_and_at_the_largest_batch(
    gpu: Whisper, starved: Starved
) -> None:
    assert warm_up(gpu, 2, 2, 1_500, (Search(), FALLBACK)) == 2
    made = {kind: [call[1:] for call in starved.calls if call[0] == kind] for kind in ("encode", "generate", "align")}
    for rows in (1, 2):
        assert made["encode"].count((rows, 1_500)) == made["encode"].count((rows, FULL_WINDOW)) == 2
        assert made["generate"].count((rows, 1)) == made["generate"].count((rows, 5)) == 2
    assert sum(call[0] for call in made["align"]) >= 2 * 2 * (1 + 2)
    assert len(starved.threads) == 2
    assert starved.used == 0


def test_the_largest_batch_is_the_one_for_which_all_workers_have_memory(gpu: Whisper, starved: Starved) -> None:
    starved.room = 7  # two workers, each with what it encoded and as much again to decode it
    assert warm_up(gpu, 4, 2, 1_500, (Search(), FALLBACK)) == 2
    starved.room = 1
    with pytest.raises(OutOfMemory):
        warm_up(gpu, 4, 2, 1_500, (Search(), FALLBACK))
    starved.error = "CUDA failed with error unspecified launch failure"
    with pytest.raises(DeviceLost):
        warm_up(gpu, 4, 2, 1_500, (Search(), FALLBACK))


class Timed:
    """Encodes so many windows in so many seconds, and has room for so many."""

    def __init__(self, per_window: float, room: int) -> None:
        self.now = 0.0
        self._per_window = per_window
        self._room = room

    def features(self, _samples: object) -> None:
        pass

    def encode(self, windows: list[object], _frames: int) -> None:
        if len(windows) > self._room:
            raise OutOfMemory(MEMORY)
        self.now += self._per_window * len(windows)


@pytest.mark.parametrize(("per_window", "room", "size"), [(0.015, 99, 16), (0.03, 99, 8), (0.3, 99, 1), (0.001, 5, 4)])
def test_a_batch_takes_no_longer_than_a_final_may_wait(per_window: float, room: int, size: int) -> None:
    timed: Any = Timed(per_window, room)
    assert choose_batch_size(timed, lambda: float(timed.now)) == size
    timed = Timed(per_window, 0)
    with pytest.raises(OutOfMemory):
        choose_batch_size(timed)


@pytest.fixture
def pretended(starved: Starved, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starved:
    """Engines find a GPU, which is the stand-in."""

    def load(folder: Path, **more: Any) -> Whisper:
        whisper: Any = Whisper(folder, **more | {"device": "cpu", "compute_type": "int8"})
        whisper._model = starved
        found: Whisper = whisper
        return found

    monkeypatch.setattr(engine_module, "Whisper", load)
    monkeypatch.setattr(engine_module, "choose_device", lambda _: "cuda")
    monkeypatch.setattr(engine_module, "choose_compute_type", lambda *_: "float16")
    monkeypatch.setenv("CUDA_CACHE_PATH", str(tmp_path))
    return starved


@pytest.mark.usefixtures("pretended")
def test_an_engine_on_a_gpu_has_two_workers_and_notes_that_it_has_started(tmp_path: Path) -> None:
    assert not has_started(tmp_path)
    engine = Engine(str(MICRO), batch_size=2)
    assert (engine.workers, engine.batch_size) == (2, 2)
    assert has_started(tmp_path)


def test_an_engine_on_a_full_gpu_says_so_in_one_sentence(pretended: Starved) -> None:
    pretended.room = 1
    with pytest.raises(StartError) as caught:
        Engine(str(MICRO))
    assert str(caught.value) == (
        f"STT_MODEL={str(MICRO)!r}: cannot be used on cuda: too little memory of the GPU is free: end what else uses "
        "it, or choose a smaller STT_MODEL"
    )
