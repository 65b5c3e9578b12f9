"""A Whisper of a given shape with random weights: as fast as a real one, with no network, and it understands nothing.

`python -m bench.random_whisper NAME FOLDER` writes it in CTranslate2 format. What decides the speed of a model is its
shape and how many tokens it writes. So that this one neither stops at once nor goes on to the limit, its position
encodings are made of the embeddings of tokens: whatever the sound, it writes TEXT_TOKENS pseudo-words, each nearly
certain, and then ends the text. The vocabulary is laid out as that of large-v3.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from faster_whisper.tokenizer import _LANGUAGE_CODES
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXT_TOKENS = 24
"""About 12 for each second of a sentence as it is in samples/; Korean needs so many, English a third of them."""

VOCABULARY = 51_866
_WORDS = 50_257
"""Ids below are text."""

_WINDOW, _CONTEXT = 1_500, 448
"""Positions of the encoder and of the decoder."""

_STD = 0.02
_STRENGTH = 40.0
"""How much longer a position's encoding is than the embedding of its token: nothing else in the decoder matters."""

_LOGIT = 30.0
"""Of the token that a position stands for; those of all others are near 0."""

Weights = NDArray[np.float16]


@dataclass(frozen=True)
class Shape:
    """Sizes of a Whisper. `alignment`: layer and head of the cross-attentions that words are timed by."""

    width: int
    heads: int
    encoder_layers: int
    decoder_layers: int
    bands: int
    alignment: tuple[tuple[int, int], ...]


SHAPES = {
    "tiny": Shape(384, 6, 4, 4, 80, ((2, 2), (3, 0), (3, 2), (3, 3), (3, 4), (3, 5))),
    "small": Shape(768, 12, 12, 12, 80, ((5, 3), (5, 9), (8, 0), (8, 4), (8, 7), (8, 8), (9, 0), (9, 7), (9, 9))),
    "large-v3-turbo": Shape(1_280, 20, 32, 4, 128, ((2, 4), (2, 11), (3, 3), (3, 6), (3, 11), (3, 14))),
}
"""Source: the configurations of openai/whisper-* on the Hugging Face hub."""


def build(shape: Shape, folder: Path, seed: int = 1) -> None:
    """Write a model folder; the same seed gives the same weights."""
    random = np.random.default_rng(seed)
    tokenizer = _tokenizer(random)
    spec = WhisperSpec(shape.encoder_layers, shape.heads, shape.decoder_layers, shape.heads)
    _fill(spec, shape, random)
    embeddings = _normal(random, VOCABULARY, shape.width)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = embeddings
    spec.decoder.position_encodings.encodings = _positions(tokenizer, embeddings, random)
    spec.decoder.layer_norm.gamma = np.full(shape.width, _LOGIT / (shape.width * _STD), np.float16)
    vocabulary = [tokenizer.id_to_token(number) for number in range(VOCABULARY)]
    vocabulary[_WORDS - 1] = ""  # by this CTranslate2 recognises a multilingual Whisper
    spec.register_vocabulary(vocabulary)
    spec.config.alignment_heads = [list(pair) for pair in shape.alignment]
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{code}|>") for code in _LANGUAGE_CODES]
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = [tokenizer.token_to_id("Ġ"), tokenizer.token_to_id("<|endoftext|>")]
    spec.validate()
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    features = {
        "feature_size": shape.bands,
        "sampling_rate": 16_000,
        "hop_length": 160,
        "chunk_length": 30,
        "n_fft": 400,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(features))


def _fill(spec: Any, shape: Shape, random: np.random.Generator) -> None:
    """All weights but those of the decoder's embeddings and positions."""
    width, encoder, decoder = shape.width, spec.encoder, spec.decoder
    for conv, inputs in ((encoder.conv1, shape.bands), (encoder.conv2, width)):
        conv.weight, conv.bias = _normal(random, width, inputs, 3), np.zeros(width, np.float16)
    encoder.position_encodings.encodings = _normal(random, _WINDOW, width)
    for stack in (encoder, decoder):
        _norm(stack.layer_norm, width)
        for layer in stack.layer:
            _attention(layer.self_attention, (3 * width,), width, random)
            _norm(layer.ffn.layer_norm, width)
            _linear(layer.ffn.linear_0, 4 * width, width, random)
            _linear(layer.ffn.linear_1, width, 4 * width, random, 0.1)
    for layer in decoder.layer:
        _attention(layer.attention, (width, 2 * width), width, random)


def _attention(attention: Any, inner: tuple[int, ...], width: int, random: np.random.Generator) -> None:
    _norm(attention.layer_norm, width)
    for linear, outputs in zip(attention.linear, inner, strict=False):
        _linear(linear, outputs, width, random)
    _linear(attention.linear[-1], width, width, random, 0.1)


def _linear(linear: Any, outputs: int, inputs: int, random: np.random.Generator, scale: float = 1.0) -> None:
    linear.weight, linear.bias = _normal(random, outputs, inputs, scale=scale), np.zeros(outputs, np.float16)


def _norm(norm: Any, width: int) -> None:
    norm.gamma, norm.beta = np.ones(width, np.float16), np.zeros(width, np.float16)


def _normal(random: np.random.Generator, *size: int, scale: float = 1.0) -> Weights:
    values: NDArray[np.float32] = random.standard_normal(size, np.float32) * np.float32(_STD * scale)
    return values.astype(np.float16)


def _positions(tokenizer: Tokenizer, embeddings: Weights, random: np.random.Generator) -> Weights:
    """Position encodings by which position p gives a token of its own: words, then the end of the text.

    Positions 0 to 2 are the start, which gives the language, the language and the task, which gives the time 0.
    """
    begin = [tokenizer.token_to_id(token) for token in ("<|en|>", "<|transcribe|>", "<|0.00|>")]
    words = random.choice(np.arange(1_000, _WORDS - 1), TEXT_TOKENS, replace=False).tolist()
    rest = _CONTEXT - len(begin) - TEXT_TOKENS
    tokens = [*begin, *words, *[tokenizer.token_to_id("<|endoftext|>")] * rest]
    return (embeddings[tokens].astype(np.float32) * _STRENGTH).astype(np.float16)


def _tokenizer(random: np.random.Generator) -> Tokenizer:
    """Bytes, then pseudo-words, then the special tokens at their places in large-v3."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words: dict[str, int] = {char: number for number, char in enumerate(alphabet)}
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    while len(words) < _WORDS:
        words.setdefault("Ġ" + "".join(random.choice(letters, 5)), len(words))
    tokenizer = Tokenizer(models.BPE(vocab=words, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tasks = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    times = [f"{step * 0.02:.2f}" for step in range(1_501)]
    specials = ["endoftext", "startoftranscript", *_LANGUAGE_CODES, *tasks, *times]
    tokenizer.add_special_tokens([f"<|{name}|>" for name in specials])
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise ValueError(f"{tokenizer.get_vocab_size()} tokens; large-v3 has {VOCABULARY}: its languages have changed")
    return tokenizer


def main() -> int:
    """Write the model; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.random_whisper", description=__doc__.partition("\n")[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path, help="is made if it is not there")
    args = parser.parse_args()
    build(SHAPES[args.shape], args.folder)
    print(f"{args.folder}: {sum(file.stat().st_size for file in args.folder.iterdir()) / 1e6:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
