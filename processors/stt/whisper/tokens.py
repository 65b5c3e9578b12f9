"""From the tokens of one window to spans of text and words, both with times. Pure.

The rules are from openai/whisper: `transcribe.py` (the meaning of timestamp tokens) and `timing.py` (words).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

PRECISION = 0.02
"""Seconds from one timestamp token to the next."""

SENTENCE_ENDS = ".。!！?？"  # noqa: RUF001 - full-width punctuation
_BEFORE = "\"'“¿([{-"
_AFTER = "\"'.。,，!！?？:：”)]}、"  # noqa: RUF001
_LONGEST_MEDIAN = 0.7
_SLACK = 0.5
"""Seconds. If words and timestamps differ by more, the timestamps are believed."""


@dataclass(frozen=True)
class Span:
    """Text tokens from second `start` to `end` of the window."""

    start: float
    end: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class AlignedWord:
    """A word and its number of tokens; times in seconds from the start of the window."""

    text: str
    tokens: int
    start: float
    end: float
    probability: float

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.end - self.start


def split_spans(tokens: Sequence[int], timestamp_begin: int, seconds: float) -> tuple[list[Span], float | None]:
    """Split the tokens of a window, `seconds` long, at pairs of timestamps.

    Also returns the second at which the next decoding must resume, if the last pair of timestamps opened a span that
    the model did not finish; otherwise None.
    """

    def is_time(token: int) -> bool:
        return token >= timestamp_begin

    def time_of(token: int) -> float:
        return (token - timestamp_begin) * PRECISION

    def text_of(part: Sequence[int]) -> tuple[int, ...]:
        return tuple(token for token in part if not is_time(token))

    cuts = [at for at in range(1, len(tokens)) if is_time(tokens[at]) and is_time(tokens[at - 1])]
    ends_closed = len(tokens) >= 2 and is_time(tokens[-1]) and not is_time(tokens[-2])
    if not cuts:
        times = [time_of(token) for token in tokens if token > timestamp_begin]
        return [Span(0.0, min(times[-1], seconds) if times else seconds, text_of(tokens))], None
    if ends_closed:
        cuts.append(len(tokens))
    found, begin = [], 0
    for cut in cuts:
        part = tokens[begin:cut]
        found.append(Span(time_of(part[0]), max(time_of(part[0]), time_of(part[-1])), text_of(part)))
        begin = cut
    return found, None if ends_closed else time_of(tokens[begin - 1])


def assign_words(found: Sequence[Span], words: Sequence[AlignedWord]) -> list[tuple[Span, list[AlignedWord]]]:
    """Give each span its words, and adjust the times of both to each other."""
    lengths = [word.seconds for word in words if word.seconds > 0]
    median = min(_LONGEST_MEDIAN, statistics.median(lengths)) if lengths else 0.0
    rest = _join_punctuation(_shorten_at_sentence_ends(list(words), 2 * median))
    placed, last_end = [], 0.0
    for span in found:
        mine, tokens = [], 0
        while rest and tokens < len(span.tokens):
            tokens += rest[0].tokens
            mine.append(rest.pop(0))
        mine = [word for word in mine if word.text]
        if mine:
            span, mine = _reconcile(span, mine, median, last_end)
            last_end = span.end
        placed.append((span, mine))
    return placed


def _shorten_at_sentence_ends(words: list[AlignedWord], longest: float) -> list[AlignedWord]:
    """The aligner gives a pause between two sentences to a word beside it."""
    for at in range(1, len(words)):
        word = words[at]
        if longest and word.seconds > longest:
            if word.text in SENTENCE_ENDS:
                words[at] = replace(word, end=word.start + longest)
            elif words[at - 1].text in SENTENCE_ENDS:
                words[at] = replace(word, start=word.end - longest)
    return words


def _join_punctuation(words: list[AlignedWord]) -> list[AlignedWord]:
    """Join opening marks to the next word and other marks to the word before; word times do not change."""
    after = len(words) - 1
    for at in range(len(words) - 2, -1, -1):
        mark = words[at]
        if mark.text.startswith(" ") and mark.text.strip() in _BEFORE and mark.text.strip():
            word = words[after]
            words[after] = replace(word, text=mark.text + word.text, tokens=mark.tokens + word.tokens)
            words[at] = replace(mark, text="", tokens=0)
        else:
            after = at
    before = 0
    for at in range(1, len(words)):
        mark = words[at]
        if mark.text and mark.text in _AFTER and not words[before].text.endswith(" "):
            word = words[before]
            words[before] = replace(word, text=word.text + mark.text, tokens=word.tokens + mark.tokens)
            words[at] = replace(mark, text="", tokens=0)
        elif mark.text:
            before = at
    return [word for word in words if word.tokens]


def _reconcile(span: Span, words: list[AlignedWord], median: float, last_end: float) -> tuple[Span, list[AlignedWord]]:
    if words[0].start == words[-1].end:  # all words at one instant: alignment failed
        end = max(span.end, span.start + PRECISION)
        return replace(span, end=end), _spread(words, span.start, end)
    words = _shorten_after_pause(words, median, last_end)
    first, start = words[0], words[0].start
    if first.start + _SLACK < span.start < first.end:
        start = max(0.0, min(first.end - median, span.start))
        words[0] = replace(first, start=start)
        start = span.start
    last, end = words[-1], words[-1].end
    if last.start < span.end < last.end - _SLACK:
        words[-1] = replace(last, end=max(last.start + median, span.end))
        end = span.end
    return replace(span, start=start, end=max(start, end)), words


def _shorten_after_pause(words: list[AlignedWord], median: float, last_end: float) -> list[AlignedWord]:
    """Shorten the first word, or the first two, if the aligner gave them part of the pause before."""
    longest = 2 * median
    first = words[0]
    long_pair = len(words) > 1 and words[1].end - first.start > 2 * longest
    if first.end - last_end > 4 * median and (first.seconds > longest or long_pair):
        if len(words) > 1 and words[1].seconds > longest:
            boundary = max(words[1].end / 2, words[1].end - longest)
            first, words[1] = replace(first, end=boundary), replace(words[1], start=boundary)
        words[0] = replace(first, start=max(0.0, first.end - longest))
    return words


def _spread(words: list[AlignedWord], start: float, end: float) -> list[AlignedWord]:
    step = (end - start) / len(words)
    return [replace(w, start=start + n * step, end=start + (n + 1) * step) for n, w in enumerate(words)]
