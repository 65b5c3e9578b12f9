"""A GPU with little memory: a stand-in for the model of CTranslate2 that computes on the CPU and keeps accounts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from processors.stt.whisper.engine import Engine


class Encoded:
    """What was encoded; its rows take memory for as long as anybody holds it."""

    def __init__(self, view: Any, memory: Starved) -> None:
        self.view = view
        self._rows = view.shape[0]
        self._memory = memory
        memory.used += self._rows

    def __del__(self) -> None:
        self._memory.used -= self._rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.view, name)


class Starved:
    """The model of an engine on a GPU that has room for `room` windows; decoding one takes as much as having it.

    Where there is no room it raises `error`. `sizes`: of the batches that it was to decode. `calls`: their
    kind, rows, and frames, beam or tokens; `threads`: who made them. While `is_open` is not set it encodes nothing.
    """

    device = "cuda"

    def __init__(self, model: Any, room: float, error: str) -> None:
        self.room, self.used, self.error = room, 0, error
        self.sizes: list[int] = []
        self.calls: list[tuple[str, int, int]] = []
        self.threads: set[int] = set()
        self.is_open = threading.Event()
        self.is_open.set()
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, features: Any, **more: Any) -> Encoded:
        assert self.is_open.wait(60)
        self._count("encode", features.shape[0], features.shape[2])
        self._reserve(features.shape[0])
        return Encoded(self._model.encode(features, **more), self)

    def detect_language(self, encoded: Any) -> Any:
        return self._model.detect_language(_view(encoded))

    def generate(self, encoded: Any, prompts: Sequence[Sequence[int]], **more: Any) -> Any:
        self.sizes.append(len(prompts))
        self._count("generate", len(prompts), more["beam_size"])
        self._reserve(len(prompts))
        return self._model.generate(_view(encoded), prompts, **more)

    def align(self, encoded: Any, start: Sequence[int], texts: Sequence[Sequence[int]], *more: Any) -> Any:
        self._count("align", len(texts), max(map(len, texts)))
        return self._model.align(_view(encoded), start, texts, *more)

    def _count(self, kind: str, rows: int, detail: int) -> None:
        self.calls.append((kind, rows, detail))
        self.threads.add(threading.get_ident())

    def _reserve(self, rows: int) -> None:
        if self.used + rows > self.room:
            raise RuntimeError(self.error)


def _view(encoded: Any) -> Any:
    return encoded.view if isinstance(encoded, Encoded) else encoded


def starve(engine: Engine, room: float, error: str) -> Starved:
    """Put the model of an engine onto such a GPU."""
    whisper: Any = engine._whisper
    whisper._model = Starved(whisper._model, room, error)
    found: Starved = whisper._model
    return found
