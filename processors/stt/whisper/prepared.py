"""The sound of an encoder window, ready for the model. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

from contract import SpeechOptions
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Features
from processors.stt.whisper.language import Evidence

WINDOW_LENGTHS = (500, 600, 800, 1_000, 1_200, 1_500, 2_000, 2_500, FULL_WINDOW)
"""Possible window lengths in frames: few, so that utterances of similar length share a batch."""

MARGIN = 200
"""Frames of silence behind every utterance: with less, whisper-micro loses words at the end of long ones."""

LIVE_CONTEXT, MERGED_CONTEXT = 500, 700
"""Frames of context of an utterance by itself, and of several that share a window, for which nobody waits.

With less there are more errors in noise; but its words take as long to decode as one's own.
"""

_SHORT = 800
"""Frames of a window; texts of shorter sounds have tighter limits."""


def window_length(frames: int) -> int:
    """The shortest of WINDOW_LENGTHS that holds so many frames and the margin."""
    return next((length for length in WINDOW_LENGTHS if length >= frames + MARGIN), FULL_WINDOW)


def context_length(frames: int, shortest: int, longest: int) -> int:
    """Frames of earlier sound that a sound of so many frames shares its window with, at most `longest`.

    For this a long one takes a longer window than alone, up to the longest.
    """
    window = max(shortest, window_length(frames + longest))
    return min(longest, max(0, window - MARGIN - frames))


def text_length(frames: int, shortest: int) -> int:
    """Frames that the limit of a text is for. Sounds of more than 6 s share that of their window, and so a batch.

    Where all windows are full ones, as on a GPU perhaps, so that batches are what counts, all sounds share it.
    """
    length = window_length(frames)
    return length if length <= _SHORT and shortest < FULL_WINDOW else max(length, shortest)


def max_tokens(length: int) -> int:
    """Limit of a text in a window of this length: twice what the fastest speaker needs, so that loops end."""
    return 32 + 16 * length // FRAMES_PER_SECOND


@dataclass(frozen=True)
class PreparedPart:
    """One utterance in a sound; seconds from the sound's beginning. `speech`: the speech score of the utterance.

    Words from `own` on are its words, up to those of the next part. What lies before the first part is context.
    """

    own: float
    start: float
    end: float
    speech: float = 1.0

    @property
    def seconds(self) -> float:
        """Length of the utterance."""
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class PreparedAudio:
    """The sound of a window, ready for the model. `shortest`: frames of the shortest window that the model supports."""

    features: Features
    options: SpeechOptions
    context: tuple[int, ...] = ()
    """Tokens of the prompt."""
    shortest: int = FULL_WINDOW
    interim: bool = False
    """For an interim result: no second attempt, and word times only to tell its words from the context's."""
    parts: tuple[PreparedPart, ...] = ()
    """The utterances in it, in order; () is one that fills it."""
    language: str | None = None
    """Set if it is known already."""
    evidence: tuple[Evidence, ...] = ()
    """What was said around it, if its language is not known."""

    @property
    def heard(self) -> tuple[PreparedPart, ...]:
        """The utterances in it."""
        return self.parts or (PreparedPart(0.0, 0.0, self.seconds),)

    @property
    def is_shared(self) -> bool:
        """Whether there is more in it than one utterance."""
        return len(self.parts) > 1 or any(part.own > 0 for part in self.parts)

    @property
    def timestamps(self) -> bool:
        """Whether its text is decoded with timestamps.

        In a shared window the times of the words are used instead. Without timestamps, whisper-base makes fewer errors
        there, and a fifth fewer tokens.
        """
        return not self.is_shared and not self.interim

    @property
    def frames(self) -> int:
        """Its length, in frames of 10 ms."""
        return int(self.features.shape[1])

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def cost(self) -> float:
        """Seconds of its encoder window."""
        return max(window_length(self.frames), self.shortest) / FRAMES_PER_SECOND

    @property
    def group(self) -> Hashable:
        """Only sounds of the same group can share a batch."""
        return text_length(self.frames, self.shortest), self.shortest, len(self.context), self.timestamps

    def excerpt(
        self, first: int, last: int, language: str | None, evidence: tuple[Evidence, ...] = ()
    ) -> PreparedAudio:
        """Only the parts `first` to `last`, inclusive, without context."""
        begin, end = self.heard[first].own, self.heard[last].end
        parts = tuple(
            replace(part, own=part.own - begin, start=part.start - begin, end=part.end - begin)
            for part in self.heard[first : last + 1]
        )
        features = self.features[:, round(begin * FRAMES_PER_SECOND) : round(end * FRAMES_PER_SECOND)]
        return replace(self, features=features, parts=parts, language=language, evidence=evidence)
