"""What is known of a language model, and how much text fits its context window. Pure: no I/O in this file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

ANSWER_SHARE = 4
"""A quarter of the context is kept for the answer."""

THINKING_SHARE = 2
"""Half of it where the model thinks first: its thoughts fill the context as the answer does."""

MIN_CONTEXT = 4_096
"""Tokens. In a smaller context, summaries of the parts of a long meeting would hardly be shorter than the parts."""

TEMPLATE_TOKENS = 192
"""Room for what a chat template puts around the messages; that of gpt-oss adds a text of its own."""

MIN_PART = 256
"""Tokens. A part that is cut off at this size is not cut off for its size."""

SAMPLE_TOKENS = 2_000
"""Enough to measure how many tokens a model makes of a script; at most one for each byte."""

_MARGIN = 1.25
"""Parts of one meeting differ in how many tokens their characters take."""

_WORD = re.compile(rb" ?[A-Za-z]+")
_ASCII = bytes(range(128))
_FEWEST = 0.4
"""No tokenizer that is known makes fewer tokens than this share of our estimate."""
_FEWEST_PER_BYTE = 0.15
"""Tokens of an estimate for each byte that is not ASCII, where the model has not counted a sample."""


@dataclass(frozen=True)
class Model:
    """A language model as it is used. context: tokens of prompt and answer together.

    think: value of the request's field `think`; None: the field is left out. thinks: it thinks whatever is asked of it.
    density: tokens for each byte that is not ASCII; None: not measured. No tokenizer makes more than one of a byte, and
    some make that many of Hangul, Thai or emoji.
    """

    context: int
    think: bool | str | None = None
    thinks: bool = False
    density: float | None = None

    @classmethod
    def described(cls, info: Mapping[str, Any], capabilities: list[str], context: int) -> Model:
        """A model as Ollama's `/api/show` describes it (`model_info`, `capabilities`), in at most `context` tokens.

        gpt-oss only thinks less, it cannot be told not to:
        https://github.com/ollama/ollama/blob/main/docs/capabilities/thinking.mdx
        """
        family = str(info.get("general.architecture", ""))
        window = info.get(f"{family}.context_length")
        if isinstance(window, int) and window > 0:
            context = min(context, window)
        always = family.replace("-", "") == "gptoss"
        can_think = "thinking" in capabilities
        return cls(context, think=("low" if always else False) if can_think else None, thinks=always)

    @property
    def answer(self) -> int:
        """Tokens that are kept for the answer."""
        return self.context // (THINKING_SHARE if self.thinks else ANSWER_SHARE)

    def room(self, messages: list[dict[str, str]]) -> int:
        """Tokens that fit into the prompt beside these messages; negative if not even they do."""
        asked = sum(self.tokens(message["content"]) for message in messages)
        return self.context - self.answer - TEMPLATE_TOKENS - asked

    def tokens(self, text: str) -> int:
        """An upper estimate of the tokens of a text, without the model's tokenizer.

        Words in Latin letters have at most one token for every three of them; digits, marks and other spaces may be
        tokens of their own.
        """
        return int(_cost(text, 1.0 if self.density is None else self.density)) + 1

    def fewest(self, messages: list[dict[str, str]]) -> int:
        """Fewer tokens than the prompt can have: a model that reports less has not read all of it."""
        density = _FEWEST_PER_BYTE if self.density is None else self.density
        return int(sum(_cost(message["content"], density) for message in messages) * _FEWEST)

    def measured(self, text: str, tokens: int) -> Model:
        """The same model, when it has counted this many tokens in a sample."""
        size = len(text.encode().translate(None, _ASCII))
        return replace(self, density=min(1.0, max(0.05, _MARGIN * tokens / size)))

    def parts(self, text: str, limit: int) -> list[str]:
        """Cut a text into pieces of at most `limit` tokens: between lines, else between words, else anywhere."""
        density = 1.0 if self.density is None else self.density
        pieces: list[list[str]] = []
        size = 0.0
        for line in _lines(text, limit, density):
            cost = _cost(line, density)
            size += cost + _cost("\n", density)
            if not pieces or int(size) + 1 > limit:
                pieces.append([])
                size = cost
            pieces[-1].append(line)
        return ["\n".join(piece) for piece in pieces]


def sample(text: str, size: int) -> str:
    """Lines of about `size` bytes in which most bytes are not ASCII; empty if hardly any are.

    The densest lines give an estimate that holds for all the others.
    """
    chosen: list[bytes] = []
    for line in sorted((line.encode() for line in text.splitlines() if line), key=_ascii_share):
        chosen.append(line[:size])
        size -= len(line)
        if size <= 0:
            break
    found = b"\n".join(chosen)
    return found.decode(errors="ignore") if found and _ascii_share(found) < 0.75 else ""


def _ascii_share(data: bytes) -> float:
    return 1 - len(data.translate(None, _ASCII)) / len(data)


def _cost(text: str, density: float) -> float:
    data = text.encode()
    words = [len(word) for word in _WORD.findall(data)]
    wide = len(data.translate(None, _ASCII))
    marks = len(data) - wide - sum(words)
    return sum(max(1.0, size / 3) for size in words) + marks + wide * density


def _lines(text: str, limit: int, density: float) -> Iterator[str]:
    longest = max(1, int((limit - 1) / max(1.0, 4 * density)))  # characters that fit in any script: at most four bytes
    for line in text.splitlines():
        rest = line.strip()
        while int(_cost(rest, density)) + 1 > limit:
            head = rest[:longest]
            cut = head.rfind(" ")
            yield rest[: cut if cut > 0 else longest].strip()
            rest = rest[cut if cut > 0 else longest :].strip()
        if rest:
            yield rest
