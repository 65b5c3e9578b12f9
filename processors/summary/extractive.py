"""A summary of sentences that were said, for when no language model is available. Pure: no I/O in this file.

The library sumy ranks sentences by how densely they contain the words that the meeting repeats (Luhn 1958, "The
Automatic Creation of Literature Abstracts", https://doi.org/10.1147/rd.22.0159). Its graph methods (LexRank, TextRank)
count each sentence as similar to itself, so that in a short meeting an isolated remark outranks the topic, and their
time is quadratic. Its parsers and NLTK's tokenizers are not used because they need downloaded data.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
from sumy.summarizers.luhn import LuhnSummarizer
from sumy.utils import get_stop_words

from contract import Summary, Transcript

KEY_POINTS = 5
SUMMARY_SENTENCES = 3
TITLE_LENGTH = 60
SIGNIFICANT_TERMS = 100
"""How many of the most frequent terms count. In a long meeting nearly every word is repeated, which means nothing."""

_END = re.compile(
    r"(?<=[.!?…])\s+|(?<=[\u3002\uff01\uff1f\uff61])\s*"
)  # the second: full-width marks, no space after them
_END_MARK = re.compile(r"[.!?…\u3002\uff01\uff1f\uff61]\W*$")
_WORD = re.compile(r"[^\W_]+")
_JOINED_SCRIPT = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\ud7af]")
_MIN_TERMS = 3


def summarize(
    job: str, transcripts: Sequence[Transcript], language: str | None, title: str | None, reason: str
) -> Summary:
    """Pick the most significant sentences, in their order. `transcripts`: in order of index, at least one with text.

    Decisions and action items stay empty: recognising them needs understanding, and a wrong guess would mislead.
    """
    spoken = list(dict.fromkeys(sentences(transcript.text for transcript in transcripts)))
    return Summary(
        job=job,
        title=title or shorten(rank(spoken, 1, language)[0]),
        summary=" ".join(map(_with_end_mark, rank(spoken, SUMMARY_SENTENCES, language))),
        key_points=rank(spoken, KEY_POINTS, language),
        language=language,
        engine="extractive",
        reason=reason,
    )


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Split texts at sentence-final punctuation; the end of a text ends a sentence, too."""
    for text in texts:
        yield from (piece for sentence in _END.split(text) if (piece := sentence.strip()))


def rank(candidates: Sequence[str], count: int, language: str | None) -> list[str]:
    """The `count` most significant of distinct sentences, in their order; very short ones only as a last resort."""
    long_enough = [sentence for sentence in candidates if len(set(_terms(sentence))) >= _MIN_TERMS]
    chosen = long_enough if len(long_enough) >= min(count, len(candidates)) else candidates
    # Of equal sentences the first wins, and all are equal if no word is repeated: prefer the longest to the greeting.
    longest_first = sorted(chosen, key=lambda sentence: -len(set(_terms(sentence))))
    document = ObjectDocumentModel([Paragraph([Sentence(sentence, _Terms) for sentence in longest_first])])
    summarizer = LuhnSummarizer()
    summarizer.stop_words = _stop_words(language)
    summarizer.significant_percentage = min(1.0, SIGNIFICANT_TERMS / (len(document.words) or 1))
    return sorted(map(str, summarizer(document, count)), key=chosen.index)


def shorten(sentence: str) -> str:
    """A title: the sentence without its end mark; a long one is cut between words if possible, else anywhere."""
    title = sentence.rstrip(".。｡ ") or sentence
    if len(title) <= TITLE_LENGTH:
        return title
    cut = textwrap.shorten(title, TITLE_LENGTH, placeholder="…")
    return cut if len(cut) > TITLE_LENGTH // 2 else title[: TITLE_LENGTH - 1] + "…"


def _with_end_mark(sentence: str) -> str:
    """Add the end mark that speech recognition sometimes omits."""
    return sentence if _END_MARK.search(sentence) else sentence + "."


class _Terms:
    """The part of sumy's tokenizer interface that its document model uses."""

    @staticmethod
    def to_words(sentence: str) -> tuple[str, ...]:
        return tuple(_terms(sentence))


def _terms(sentence: str) -> Iterator[str]:
    """Words; also pairs of characters in scripts that attach particles (예산은, 예산을) or do not separate words."""
    for word in _WORD.findall(sentence.lower()):
        yield word
        if len(word) > 2 and _JOINED_SCRIPT.search(word):
            yield from (word[at : at + 2] for at in range(len(word) - 1))


@cache
def _stop_words(language: str | None) -> frozenset[str]:
    try:
        return frozenset(get_stop_words(language)) if language else frozenset()
    except LookupError:
        return frozenset()
