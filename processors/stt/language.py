"""Which language an utterance is decoded in: what was detected in it, and what the job was in so far. Pure.

A short utterance says little about its language: whisper-micro is wrong about a third of the pieces with half a second
of speech, nearly always with a probability over 0.9, and about none with two seconds. With large models too the wrong
detections are the improbable ones, down to 0.3 (SYSTRAN/faster-whisper issue 1322). So what is clear stands, wherever
the job was before, and people who switch are understood; what is not clear is weighed against the job's evidence, as
log-odds: that is Bayes' rule with "people go on in the language that they spoke" as the prior.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract import RATE, Transcript

CLEAR = 0.8
"""Probability from which a detection may stand for itself."""

CLEAR_SECONDS = 1.5
"""Length of an utterance from which it does; the segmenter's padding is 0.6 s of that."""

FULL_SECONDS = 3.0
"""Length from which a detection counts fully; a shorter one in proportion."""

MEMORY = 8
"""Utterances of the job that are evidence, the latest ones."""

DECAY = 0.8
"""What an utterance counts, compared with the one after it."""

HOLD = math.log(9)
"""Log-odds of the prior at most: one utterance in ten is in another language than those before it."""

FULL_EVIDENCE = 2.0
"""Evidence from which the prior has all its weight: two or three confident sentences."""

_LEAST = 0.01
"""Probability below which none is believed, nor above its complement: networks are surer than they are right."""


@dataclass(frozen=True)
class Earlier:
    """What an earlier utterance of the job says about its language.

    probability: what detection gave `language`, not the outcome of `choose`, else evidence would feed on itself.
    seconds: length of the utterance. confidence: of its text, 0 to 1; without text it is no evidence.
    """

    language: str
    probability: float
    seconds: float
    confidence: float


@dataclass(frozen=True)
class Choice:
    """The language to decode with, and what detection alone gave it; `held`: detection alone had chosen another."""

    language: str
    probability: float
    held: bool = False


def earlier(transcript: Transcript) -> Earlier:
    """What a transcript says about the language of its job."""
    return Earlier(
        transcript.language or "",
        transcript.language_probability,
        (transcript.end - transcript.start) / RATE,
        transcript.confidence if transcript.text else 0.0,
    )


def needs_evidence(detected: Mapping[str, float], seconds: float, allowed: Sequence[str] | None = None) -> bool:
    """Whether earlier utterances could change what `choose` returns: without them it would be in doubt."""
    if allowed is not None and len(set(allowed)) == 1:
        return False
    among = _among(detected, allowed)
    return not among or not _is_clear(among, seconds)


def choose(
    detected: Mapping[str, float],
    seconds: float,
    allowed: Sequence[str] | None = None,
    evidence: Sequence[Earlier] = (),
) -> Choice:
    """The language of an utterance.

    detected: probabilities of the likeliest languages, by code. seconds: length of the utterance. allowed: the only
    codes that may be returned, None: any; the probabilities are then among these. evidence: earlier utterances of the
    job, oldest first. Where nothing that was detected is allowed and there is no evidence, it is the first allowed.
    Raises ValueError where there is nothing to choose from.
    """
    among = _among(detected, allowed)
    alone = max(among, key=among.__getitem__) if among else None
    if alone is not None and _is_clear(among, seconds):
        return Choice(alone, among[alone])
    prior = _prior([one for one in evidence if one.language and (allowed is None or one.language in allowed)])
    candidates = [*among, *(code for code in prior if code not in among)]
    if not candidates:
        if not allowed:
            raise ValueError("no language was detected, none is allowed in particular, and there is no evidence")
        return Choice(allowed[0], 0.0)
    weight = _weight(seconds) if among else 0.0

    def score(code: str) -> float:
        return weight * math.log(max(among.get(code, 0.0), _LEAST)) + prior.get(code, 0.0)

    best = max(candidates, key=score)
    return Choice(best, among.get(best, 0.0), held=alone not in (None, best))


def _among(detected: Mapping[str, float], allowed: Sequence[str] | None) -> dict[str, float]:
    """Probabilities of the allowed languages alone, likeliest first; of equals the one that is allowed first."""
    codes = list(detected) if allowed is None else [code for code in dict.fromkeys(allowed) if code in detected]
    total = sum(detected[code] for code in codes if detected[code] > 0)
    found = {code: detected[code] / total for code in codes if detected[code] > 0} if total > 0 else {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _is_clear(among: Mapping[str, float], seconds: float) -> bool:
    return seconds >= CLEAR_SECONDS and max(among.values()) >= CLEAR


def _weight(seconds: float) -> float:
    return min(1.0, max(0.0, seconds) / FULL_SECONDS)


def _prior(evidence: Sequence[Earlier]) -> dict[str, float]:
    """Log-odds for each language of the evidence, HOLD in all."""
    strength: dict[str, float] = defaultdict(float)
    for age, one in enumerate(reversed(evidence[-MEMORY:])):
        strength[one.language] += DECAY**age * _weight(one.seconds) * one.confidence * _log_odds(one.probability)
    total = max(sum(strength.values()), FULL_EVIDENCE)
    return {code: HOLD * each / total for code, each in strength.items() if each > 0}


def _log_odds(probability: float) -> float:
    """From 0, for even odds and less."""
    bounded = min(max(probability, 0.5), 1 - _LEAST)
    return math.log(bounded / (1 - bounded))
