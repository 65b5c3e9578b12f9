"""Which language an utterance is decoded in: the detected one, or the one that the job used so far. Pure.

Detection fails on short utterances: whisper-micro gets a third of those with half a second of speech wrong, nearly
always with a probability above 0.9, and none with two seconds. With large models the wrong detections are the ones with
a low probability, down to 0.3 (SYSTRAN/faster-whisper issue 1322). So a clear detection is accepted, whatever the job
used before, which lets people switch languages. An unclear one is weighed against the job's earlier utterances, as
log-odds: this is Bayes' rule, and the prior is that people go on in the language that they spoke.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from contract import RATE, Transcript

CLEAR = 0.8
"""Probability from which a detection is clear."""

CLEAR_SECONDS = 1.5
"""Length from which an utterance can be clear; 0.6 s of it is the segmenter's padding."""

FULL_SECONDS = 3.0
"""Length from which a detection has full weight; below, the weight is proportional to the length."""

MEMORY = 8
"""How many of the job's latest utterances are evidence."""

DECAY = 0.8
"""Weight of an utterance relative to the one after it."""

HOLD = math.log(9)
"""Maximum log-odds of the prior: one utterance in ten is in another language than the ones before."""

FULL_EVIDENCE = 2.0
"""Evidence from which the prior has its full weight: two or three confident sentences."""

_LEAST = 0.01
"""Probabilities are clamped to this and its complement, because networks are overconfident."""


@dataclass(frozen=True)
class Evidence:
    """What an earlier utterance says about the language of its job.

    probability: detection's for `language`, even if `choose_language` overruled it; otherwise evidence would reinforce
    itself. seconds: length of the utterance. confidence: of its text, 0 to 1; 0 without text.
    """

    language: str
    probability: float
    seconds: float
    confidence: float


@dataclass(frozen=True)
class Choice:
    """The language to decode in, and its probability by detection; `held`: detection alone would choose another."""

    language: str
    probability: float
    held: bool = False


def evidence_from(transcript: Transcript) -> Evidence:
    """The evidence in a transcript."""
    return Evidence(
        transcript.language or "",
        transcript.language_probability,
        (transcript.end - transcript.start) / RATE,
        transcript.confidence if transcript.text else 0.0,
    )


def needs_evidence(detected: Mapping[str, float], seconds: float, allowed: Sequence[str] | None = None) -> bool:
    """Whether the detection is unclear, so that earlier utterances could change what `choose_language` returns."""
    if allowed is not None and len(set(allowed)) == 1:
        return False
    among = restrict(detected, allowed)
    return not among or not _is_clear(among, seconds)


def choose_language(
    detected: Mapping[str, float],
    seconds: float,
    allowed: Sequence[str] | None = None,
    evidence: Sequence[Evidence] = (),
) -> Choice:
    """The language of an utterance.

    detected: probabilities by language code. seconds: length of the utterance. allowed: the only codes that may be
    returned; None: any. evidence: earlier utterances of the job, oldest first. If no detected language is allowed and
    there is no evidence, the first allowed one is returned. Raises ValueError if there is nothing to choose from.
    """
    among = restrict(detected, allowed)
    alone = max(among, key=among.__getitem__) if among else None
    if alone is not None and _is_clear(among, seconds):
        return Choice(alone, among[alone])
    prior = _prior([one for one in evidence if one.language and (allowed is None or one.language in allowed)])
    candidates = [*among, *(code for code in prior if code not in among)]
    if not candidates:
        if not allowed:
            raise ValueError("no language was detected, no languages are allowed, and there is no evidence")
        return Choice(allowed[0], 0.0)
    weight = _weight(seconds) if among else 0.0

    def score(code: str) -> float:
        return weight * math.log(max(among.get(code, 0.0), _LEAST)) + prior.get(code, 0.0)

    best = max(candidates, key=score)
    return Choice(best, among.get(best, 0.0), held=alone not in (None, best))


def choose_together(
    detected: Sequence[Mapping[str, float]], seconds: Sequence[float], allowed: Sequence[str] | None
) -> list[str]:
    """The language of each of several utterances in a row; the others are evidence for an unclear one.

    detected: as for `choose_language`, empty for an utterance without speech, which goes with its neighbour.
    """
    evidence = [
        Evidence(code, among[code], length, 1.0) if (code := next(iter(among), "")) else None
        for among, length in zip(detected, seconds, strict=True)
    ]
    chosen: list[str] = []
    for at, (among, length) in enumerate(zip(detected, seconds, strict=True)):
        farthest_first = sorted(range(len(detected)), key=lambda other: -abs(other - at))
        others = [one for other in farthest_first if other != at and (one := evidence[other])]
        chosen.append(choose_language(among, length, allowed, others).language if among else "")
    known = next((code for code in chosen if code), "en")
    for at, code in enumerate(chosen):
        known = chosen[at] = code or known
    return chosen


def restrict(detected: Mapping[str, float], allowed: Sequence[str] | None) -> dict[str, float]:
    """Probabilities of the allowed languages only, adding up to 1, likeliest first; ties in the order of `allowed`."""
    codes = list(detected) if allowed is None else [code for code in dict.fromkeys(allowed) if code in detected]
    total = sum(detected[code] for code in codes if detected[code] > 0)
    found = {code: detected[code] / total for code in codes if detected[code] > 0} if total > 0 else {}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _is_clear(among: Mapping[str, float], seconds: float) -> bool:
    return seconds >= CLEAR_SECONDS and max(among.values()) >= CLEAR


def _weight(seconds: float) -> float:
    return min(1.0, max(0.0, seconds) / FULL_SECONDS)


def _prior(evidence: Sequence[Evidence]) -> dict[str, float]:
    """Log-odds of each language in the evidence; they add up to HOLD at most."""
    strength: dict[str, float] = defaultdict(float)
    for age, one in enumerate(reversed(evidence[-MEMORY:])):
        strength[one.language] += DECAY**age * _weight(one.seconds) * one.confidence * _log_odds(one.probability)
    total = max(sum(strength.values()), FULL_EVIDENCE)
    return {code: HOLD * each / total for code, each in strength.items() if each > 0}


def _log_odds(probability: float) -> float:
    """0 for a probability of a half or less."""
    bounded = min(max(probability, 0.5), 1 - _LEAST)
    return math.log(bounded / (1 - bounded))
