"""A scripted model in place of `Whisper`, which records its calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from contract import SpeechOptions
from processors.stt.core import Hypothesis
from processors.stt.whisper.backend import FULL_WINDOW, Features, Prompt, Search
from processors.stt.whisper.prepared import PreparedAudio
from processors.stt.whisper.tokens import AlignedWord

BEGIN = 1_000
"""The first timestamp token."""


def at(seconds: float) -> int:
    """The timestamp token of a time."""
    return BEGIN + round(seconds * 50)


def decoded(*tokens: int, log_probability: float = -0.2, ratio: float = 1.0, no_speech: float = 0.0) -> Hypothesis:
    return Hypothesis(log_probability, ratio, no_speech, tokens)


def sound(
    name: int, seconds: float, options: SpeechOptions | None = None, *, shortest: int = 500, interim: bool = False
) -> PreparedAudio:
    """Audio whose features are its name and the number of each frame; the scripted model reads both."""
    frames = round(seconds * 100)
    features = np.stack([np.full(frames, name), np.arange(frames)]).astype(np.float32)
    return PreparedAudio(features, options or SpeechOptions(), shortest=shortest, interim=interim)


@dataclass(frozen=True)
class Window:
    """What is encoded: a sound from frame `start` on, in a window of `frames`."""

    sound: int
    start: int
    frames: int


Answer = Callable[[Window, Search], Hypothesis]


class Scripted:
    """A scripted `Whisper`. Each text token is a word of a tenth of a second."""

    timestamp_begin = BEGIN

    def __init__(
        self, answer: Answer, languages: Mapping[int, Mapping[str, float]] | None = None, *, multilingual: bool = True
    ) -> None:
        self.multilingual = multilingual
        self._answer = answer
        self._languages = languages or {}
        self.encoded: list[list[Window]] = []
        self.detected: list[list[int]] = []
        self.generated: list[tuple[list[Window], list[Prompt], Search, int]] = []
        self.aligned: list[tuple[list[Window], str, str]] = []

    def encode(
        self, windows: Sequence[Features], frames: int, call: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> list[Window]:
        assert frames <= FULL_WINDOW
        with call():
            found = [Window(int(window[0, 0]), int(window[1, 0]), frames) for window in windows]
            self.encoded.append(found)
        return found

    def in_memory(self, encoded: list[Window]) -> list[Window]:
        return encoded

    def between(self, encoded: list[Window], row: int, start: float, end: float) -> list[Window]:
        """The part is named by the whole second that it starts at."""
        return [replace(encoded[row], start=encoded[row].start + int(start) * 100)]

    def select(self, encoded: list[Window], rows: Sequence[int]) -> list[Window]:
        return [encoded[row] for row in rows]

    def detect_languages(self, encoded: list[Window]) -> list[Mapping[str, float]]:
        self.detected.append([window.sound for window in encoded])
        return [self._languages.get(window.sound, {"en": 0.9, "ko": 0.1}) for window in encoded]

    def generate(
        self, encoded: list[Window], prompts: Sequence[Prompt], search: Search, max_tokens: int
    ) -> list[Hypothesis]:
        self.generated.append((list(encoded), list(prompts), search, max_tokens))
        return [self._answer(window, search) for window in encoded]

    def align(
        self, encoded: list[Window], language: str, task: str, tokens: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[list[AlignedWord]]:
        assert all(tokens)  # the real one cannot align nothing
        assert len(encoded) == len(tokens) == len(frames)
        self.aligned.append((list(encoded), language, task))
        return [
            [AlignedWord(f" w{token}", 1, n / 10, (n + 1) / 10, 0.9) for n, token in enumerate(row)] for row in tokens
        ]

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(f" w{token}" for token in tokens)
