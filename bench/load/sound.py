"""What clients say: the sound of samples/, decoded once."""

from __future__ import annotations

from collections.abc import Sequence

from audio import decode
from bench.load.plan import Plan
from bench.speech import load_sentences, tape
from contract import WIDTH
from tools.system import ROOT

SPEECH = ("meeting", "standup", "monologue", "korean", "noisy", "quiet")
"""Those of samples/ in which somebody speaks."""

SILENCE = ("silence",)

_GOLDEN = 0.6180339887
"""Multiples of this share of a circle lie far from each other, however many they are."""


class Sound:
    """Endless frames of mono s16le at 16 kHz: after the last comes the first again."""

    def __init__(self, pcm: bytes, frame_samples: int) -> None:
        size = frame_samples * WIDTH
        self._pcm = memoryview(pcm[: len(pcm) // size * size])
        self._size = size
        self._frames = len(self._pcm) // size
        if not self._frames:
            raise ValueError(f"{len(pcm) // WIDTH} samples are less than a frame of {frame_samples}")

    def place(self, stream: int) -> int:
        """The frame from which a client goes on: another for each."""
        return int(stream * _GOLDEN % 1 * self._frames)

    def frame(self, number: int) -> memoryview:
        """One frame; numbers may be as large as you like."""
        at = number % self._frames * self._size
        return self._pcm[at : at + self._size]


def load(names: Sequence[str]) -> bytes:
    """Files of samples/, one after the other. Raises AudioError."""
    return b"".join(part for name in names for part in decode(ROOT / "samples" / f"{name}.flac"))


def sounds(plan: Plan, streams: range) -> list[tuple[Sound, int]]:
    """What each of some clients says, and from which frame on. Raises AudioError, ValueError."""
    if not plan.talk:
        sound = Sound(load(SILENCE if plan.silent else SPEECH), plan.frame_samples)
        return [(sound, sound.place(stream)) for stream in streams]
    sentences = load_sentences(ROOT / "samples")
    return [
        (Sound(tape(sentences, plan.talk, plan.seed * 10_000 + stream)[0], plan.frame_samples), 0) for stream in streams
    ]
