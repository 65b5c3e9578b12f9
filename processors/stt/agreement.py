"""What of an interim hypothesis will stay: LocalAgreement-2. Pure.

A word is stable once two hypotheses in a row agree on all words up to it, and then it is not taken back.
Source: Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis
Selection" (Interspeech 2020); Machacek et al., "Turning Whisper into Real-Time Transcription System"
(arXiv:2307.14743).
"""

from __future__ import annotations

import re

from contract import Partial

_WORD = re.compile(r"\s*(?:[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9d]|[^\s\u3040-\u30ff\u3400-\u9fff\uff66-\uff9d]+)")
"""A word with the space before it; Chinese and Japanese, which have no spaces, go by character."""


def agree(previous: Partial | None, hypothesis: Partial) -> Partial:
    """The hypothesis as it is shown after `previous`: what was stable is kept, and what both say becomes stable."""
    if previous is None or (previous.index, previous.start) != (hypothesis.index, hypothesis.start):
        return hypothesis.model_copy(update={"stable": 0})
    kept = previous.text[: previous.stable]
    old, new, fixed = _WORD.findall(previous.text), _WORD.findall(hypothesis.text), len(_WORD.findall(kept))
    common = fixed  # where the engine thinks better of a stable word, what follows can still be agreed on
    while common < min(len(old), len(new)) and _same(old[common], new[common]):
        common += 1
    text = kept + "".join(new[fixed:])
    stable = kept + "".join(new[fixed:common])
    return hypothesis.model_copy(update={"text": text, "stable": len(stable)})


def _same(one: str, other: str) -> bool:
    return _bare(one) == _bare(other)


def _bare(word: str) -> str:
    return "".join(char for char in word.casefold() if char.isalnum())
