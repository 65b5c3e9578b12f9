"""A summary made of the speakers' own sentences, where no language model is at hand. Pure: no I/O in this file.

Sentences are ranked by how densely they hold the words that the meeting repeats (Luhn 1958, "The Automatic Creation of
Literature Abstracts", https://doi.org/10.1147/rd.22.0159), by sumy. Its graph methods (LexRank, TextRank) count a
sentence as like itself, so that a remark unlike all others outranks the topic of a short meeting; and they take the
square of the time. Its parsers and NLTK's tokenizers, which need downloaded data, are not used.
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
TELLING_TERMS = 100
"""How many of the most repeated terms count. In a long meeting nearly every word comes twice: that says nothing."""

_END = re.compile(r"(?<=[.!?…])\s+|(?<=[\u3002\uff01\uff1f\uff61])\s*")  # the latter: full-width, no space after
_END_MARK = re.compile(r"[.!?…\u3002\uff01\uff1f\uff61]\W*$")
_WORD = re.compile(r"[^\W_]+")
_JOINED_SCRIPT = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\ud7af]")
_MIN_TERMS = 3


def summarize(
    job: str, transcripts: Sequence[Transcript], language: str | None, title: str | None, reason: str
) -> Summary:
    """Pick the most telling sentences, in order of speech. `transcripts`: in order of index, at least one with text.

    Decisions and action items are left empty: to tell them from talk takes understanding, and a guess would mislead.
    """
    spoken = list(dict.fromkeys(sentences(transcript.text for transcript in transcripts)))
    return Summary(
        job=job,
        title=title or shorten(rank(spoken, 1, language)[0]),
        summary=" ".join(map(_ended, rank(spoken, SUMMARY_SENTENCES, language))),
        key_points=rank(spoken, KEY_POINTS, language),
        language=language,
        engine="extractive",
        reason=reason,
    )


def sentences(texts: Iterable[str]) -> Iterator[str]:
    """Cut at sentence-final punctuation; the end of a text ends a sentence as well."""
    for text in texts:
        yield from (piece for sentence in _END.split(text) if (piece := sentence.strip()))


def rank(candidates: Sequence[str], count: int, language: str | None) -> list[str]:
    """The `count` most telling of distinct sentences, in their order; remarks of a word or two only where needed."""
    telling = [sentence for sentence in candidates if len(set(_terms(sentence))) >= _MIN_TERMS]
    chosen = telling if len(telling) >= min(count, len(candidates)) else candidates
    # Among equals, as all are where nothing is repeated, the first wins: the one that says most, not the greeting.
    longest_first = sorted(chosen, key=lambda sentence: -len(set(_terms(sentence))))
    document = ObjectDocumentModel([Paragraph([Sentence(sentence, _Terms) for sentence in longest_first])])
    summarizer = LuhnSummarizer()
    summarizer.stop_words = _stop_words(language)
    summarizer.significant_percentage = min(1.0, TELLING_TERMS / (len(document.words) or 1))
    return sorted(map(str, summarizer(document, count)), key=chosen.index)


def shorten(sentence: str) -> str:
    """A title: the sentence without its end mark, cut at a word where it is long, else within one."""
    title = sentence.rstrip(".。｡ ") or sentence
    if len(title) <= TITLE_LENGTH:
        return title
    cut = textwrap.shorten(title, TITLE_LENGTH, placeholder="…")
    return cut if len(cut) > TITLE_LENGTH // 2 else title[: TITLE_LENGTH - 1] + "…"


def _ended(sentence: str) -> str:
    """With an end mark, which speech recognition does not always set."""
    return sentence if _END_MARK.search(sentence) else sentence + "."


class _Terms:
    """sumy's tokenizer interface, as far as its document model uses it."""

    @staticmethod
    def to_words(sentence: str) -> tuple[str, ...]:
        return tuple(_terms(sentence))


def _terms(sentence: str) -> Iterator[str]:
    """Words; and pairs of characters where words carry particles (예산은, 예산을) or are not spaced at all."""
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
