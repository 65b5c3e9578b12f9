"""What a server with a sliding window keeps of one utterance. Pure.

Such a server decodes the sound behind the last confirmed word again and again while somebody speaks. A word is
confirmed once two decodings in a row agree on it and on all before it: the local agreement of Macháček et al., "Turning
Whisper into Real-Time Transcription System" (2023).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Word = tuple[str, float]
"""A word as the model writes it, with the space before it, and where it ends in the utterance, in seconds."""


@dataclass
class SlidingWindow:
    """text: what is confirmed; start: where that ends, in seconds, which is where the next decoding begins."""

    text: str = ""
    start: float = 0.0
    _last: Sequence[Word] = field(default_factory=list)

    def update(self, words: Sequence[Word]) -> None:
        """Take what a decoding from `start` on gave."""
        agreed = 0
        for (word, _), (before, _) in zip(words, self._last, strict=False):
            if _plain(word) != _plain(before):
                break
            agreed += 1
        if agreed:
            self.text += "".join(word for word, _ in words[:agreed])
            self.start = words[agreed - 1][1]
        self._last = words[agreed:]


def _plain(word: str) -> str:
    return re.sub(r"\W", "", word.casefold())
