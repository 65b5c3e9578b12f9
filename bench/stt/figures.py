"""What a run gave: latencies, throughput, and how many streams were held. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.speech import Sentence, word_error_rate


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one utterance. Without a text it was given up after `latency`."""

    sentence: int
    latency: float
    text: str | None


@dataclass(frozen=True)
class Trial:
    """What came of one run. seconds: of the run; cpu: of processor time; batches: how many were decoded together."""

    answers: Sequence[Answer]
    seconds: float
    cpu: float
    batches: Sequence[int]

    def latency(self, q: float) -> Latency:
        """A percentile; raises ValueError if there was no utterance."""
        ordered = sorted(self.answers, key=lambda answer: answer.latency)
        value = percentile([answer.latency for answer in ordered], q)
        given_up = [answer.latency for answer in ordered if answer.text is None]
        return Latency(value, exact=not given_up or value < min(given_up))

    def throughput(self, sentences: Sequence[Sentence]) -> float:
        """Seconds of sound, with the padding, that became text in a second."""
        return self._done(sentences) / self.seconds

    def per_core(self, sentences: Sequence[Sentence]) -> float:
        """The same in a second of processor time."""
        return self._done(sentences) / self.cpu

    def _done(self, sentences: Sequence[Sentence]) -> float:
        return sum(sentences[answer.sentence].seconds for answer in self.answers if answer.text is not None)

    @property
    def batch(self) -> float:
        """How many were decoded together, on average."""
        return sum(self.batches) / len(self.batches) if self.batches else 0.0

    @property
    def given_up(self) -> int:
        """How many had no text when the run was ended."""
        return sum(answer.text is None for answer in self.answers)

    def word_error_rate(self, sentences: Sequence[Sentence]) -> float:
        """Over what has a text."""
        done = [answer for answer in self.answers if answer.text is not None]
        return word_error_rate([sentences[answer.sentence].text for answer in done], [str(a.text) for a in done])


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds; not exact: it was at least that, since the run was ended before."""

    seconds: float
    exact: bool = True

    def __str__(self) -> str:
        return f"{'' if self.exact else '>'}{self.seconds * 1_000:.0f}"


def percentile(values: Sequence[float], q: float) -> float:
    """By nearest priority; raises ValueError if there are none."""
    if not values:
        raise ValueError("there is nothing to take a percentile of")
    return sorted(values)[max(0, math.ceil(q * len(values) / 100) - 1)]


def merge(trials: Sequence[Trial]) -> Trial:
    """One trial out of those that several processes had at the same time."""
    return Trial(
        [answer for trial in trials for answer in trial.answers],
        max(trial.seconds for trial in trials),
        sum(trial.cpu for trial in trials),
        [size for trial in trials for size in trial.batches],
    )


def most_held(held: Callable[[int], bool], known: Mapping[int, bool], most: int) -> int:
    """The most streams, up to `most`, of which `held` says that they were; 0: not even one.

    `known`: what is known already. From the most that were held it goes on by doubling, then halves the gap to the
    fewest above that were not, until that is an eighth.
    """
    low = max((streams for streams, was in known.items() if was), default=0)
    high = min((streams for streams, was in known.items() if not was and streams > low), default=0)
    while not high:
        if low >= most:
            return low
        streams = min(most, max(1, 2 * low))
        low, high = (streams, 0) if held(streams) else (low, streams)
    while high - low > max(1, low // 8):
        streams = (low + high) // 2
        low, high = (streams, high) if held(streams) else (low, streams)
    return low
