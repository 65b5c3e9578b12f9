"""Step 3: byte-level BPE on the grammar, laid out like the vocabulary of a multilingual Whisper.

Ids 0 to 50,256 are text (a few hundred used, the rest fillers), from 50,257 the special tokens at Whisper's own places.
"""

import json
from pathlib import Path
from random import Random
from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from tools.whisper_micro.grammar import sentence, written

SIZE = 51_865
TEXT = 50_257
_MERGED = 900
_FILLER = "<|unused"
_FIRST_LANGUAGES = ["en", "zh", "de", "es", "ru", "ko", "fr", "ja", "pt", "tr"]


class Specials(NamedTuple):
    """Ids of the special tokens that training uses."""

    end: int
    start: int
    languages: dict[str, int]
    transcribe: int
    previous: int
    no_speech: int
    no_timestamps: int
    first_timestamp: int  # 0.00 s; each further one is 0.02 s later, up to 30.00 s

    @property
    def timestamps(self) -> range:
        return range(self.first_timestamp, self.first_timestamp + 1_501)


def build(folder: Path) -> None:
    """Write tokenizer.json."""
    random = Random(7)
    text = [" " + written(sentence("en", random), "en") for _ in range(30_000)]
    text += [" " + written(sentence("ko", random), "ko") for _ in range(20_000)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(text, trainers.BpeTrainer(vocab_size=_MERGED, initial_alphabet=alphabet, special_tokens=[]))

    layout = json.loads(bpe.to_str())
    vocabulary = layout["model"]["vocab"]
    vocabulary.update({f"{_FILLER}{number}|>": number for number in range(len(vocabulary), TEXT)})
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    layout["added_tokens"] = [
        {"id": TEXT + number, "content": content, **flags} for number, content in enumerate(_special_tokens())
    ]
    tokenizer = Tokenizer.from_str(json.dumps(layout))
    if tokenizer.get_vocab_size() != SIZE:
        raise ValueError(f"{tokenizer.get_vocab_size()} tokens; Whisper has {SIZE}: its languages have changed")
    tokenizer.save(str(folder / "tokenizer.json"))
    print(f"{text_tokens(tokenizer)} text tokens")


def load(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def text_tokens(tokenizer: Tokenizer) -> int:
    """Number of text ids that are not fillers."""
    return sum(number < TEXT and not token.startswith(_FILLER) for token, number in tokenizer.get_vocab().items())


def specials(tokenizer: Tokenizer) -> Specials:
    def number(name: str) -> int:
        return tokenizer.token_to_id(f"<|{name}|>")

    return Specials(
        end=number("endoftext"),
        start=number("startoftranscript"),
        languages={language: number(language) for language in ("en", "ko")},
        transcribe=number("transcribe"),
        previous=number("startofprev"),
        no_speech=number("nospeech"),
        no_timestamps=number("notimestamps"),
        first_timestamp=number("0.00"),
    )


def _special_tokens() -> list[str]:
    languages = _FIRST_LANGUAGES + sorted(LANGUAGES.keys() - {*_FIRST_LANGUAGES, "yue"})
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    times = [f"{step * 0.02:.2f}" for step in range(1_501)]
    return [f"<|{name}|>" for name in ("endoftext", "startoftranscript", *languages, *tasks, *times)]
