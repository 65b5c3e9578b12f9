"""Whisper on CTranslate2, a batch at a time. The only file that knows either CTranslate2 or faster-whisper.

Of faster-whisper it takes the log-mel features, the tokenizer and the names of models; what `WhisperModel.transcribe`
does with them, one window after the other, is in `decoder.py`, for many at once.
"""

from __future__ import annotations

import inspect
import itertools
import json
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ctranslate2
import numpy as np
import tokenizers
from faster_whisper import available_models, download_model
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.tokenizer import _LANGUAGE_CODES, Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from numpy.typing import NDArray

from processors.stt.core import Decoding, OutOfMemory, compression_ratio
from processors.stt.tokens import AlignedWord

Features = NDArray[np.float32]
"""Log-mel spectrogram: bands x frames of 10 ms."""

FRAMES_PER_SECOND = 100
FULL_WINDOW = 3_000
"""Frames that the encoder was trained on, 30 s, and the most that it takes."""

_TOKENS_PER_SECOND = 50
_MOST_TOKENS = 448
_MOST_PROMPT_TOKENS = _MOST_TOKENS // 2 - 1
_LATEST_START = 50
"""The first timestamp is at most 1 s, as in openai/whisper."""


@dataclass(frozen=True)
class Prompt:
    """What one decoding begins with; `before`: tokens of `Whisper.context`."""

    language: str
    task: str
    before: tuple[int, ...] = ()


@dataclass(frozen=True)
class Search:
    """How the decoder searches. Nothing in it is random: the same sound has the same text."""

    beam_size: int = 1
    repetition_penalty: float = 1.0


class Whisper:
    """A loaded model. Its methods block and may be called from several threads."""

    def __init__(self, folder: Path, *, device: str, compute_type: str, workers: int, threads: int) -> None:
        """Load from a folder; raises whatever CTranslate2 does. threads: cores for each of the workers, on a CPU."""
        self._model = ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=compute_type, inter_threads=workers, intra_threads=threads
        )
        self._extract = _extractor(folder)
        self._lock = threading.Lock()
        self._texts: dict[tuple[str, str], Any] = {}
        self._hf: Any = _tokenizer(folder, self._model.is_multilingual)
        self.multilingual: bool = self._model.is_multilingual
        codes = _LANGUAGE_CODES if self.multilingual else ("en",)
        self.languages = (
            frozenset(code for code in codes if self._has(code)) if self.multilingual else frozenset({"en"})
        )
        self.timestamp_begin: int = self._text("en", "transcribe").timestamp_begin
        # The model's own list if it has one; faster-whisper's is that of OpenAI's vocabulary, and others differ.
        own = _json(folder / "config.json").get("suppress_ids")
        self._suppressed = (
            [-1] if own is not None else list(get_suppressed_tokens(self._text("en", "transcribe"), [-1]))
        )

    def features(self, sound: NDArray[np.float32]) -> Features:
        """The features of mono sound at 16 kHz; the padding at its end, a frame, is not among them."""
        found: Features = self._extract(sound)[:, :-1]
        return found

    def context(self, text: str | None, hotwords: str | None) -> tuple[int, ...]:
        """What stands before the start of a transcript: likely words, then the text that came before."""
        text_tokens = self._encode(text)[-_MOST_PROMPT_TOKENS:]
        room = _MOST_PROMPT_TOKENS - len(text_tokens)
        found = [*self._encode(hotwords)[:room], *text_tokens]
        return (self._text("en", "transcribe").sot_prev, *found) if found else ()

    def encode(self, windows: Sequence[Features], frames: int) -> Any:
        """Encode windows, each cut or padded to `frames`; what comes back is for the methods below."""
        bands = windows[0].shape[0]
        stacked = np.zeros((len(windows), bands, frames), np.float32)
        for row, window in enumerate(windows):
            length = min(frames, window.shape[1])
            stacked[row, :, :length] = window[:, :length]
        with _out_of_memory():
            return self._model.encode(ctranslate2.StorageView.from_array(stacked))

    def pick(self, encoded: Any, rows: Sequence[int]) -> Any:
        """Some of the encoded windows."""
        if list(rows) == list(range(encoded.shape[0])):
            return encoded
        with _out_of_memory():
            return ctranslate2.StorageView.from_array(np.asarray(_in_memory(encoded))[list(rows)])

    def detect(self, encoded: Any) -> list[dict[str, float]]:
        """The probability of each language for each window, most likely first."""
        with _out_of_memory():
            found = self._model.detect_language(encoded)
        return [
            {token[2:-2]: float(p) for token, p in languages if token[2:-2] in self.languages} for languages in found
        ]

    def generate(self, encoded: Any, prompts: Sequence[Prompt], search: Search, most_tokens: int) -> list[Decoding]:
        """Decode each window. `before` of all prompts must be of the same length; most_tokens: of each text."""
        starts = [[*prompt.before, *self._text(prompt.language, prompt.task).sot_sequence] for prompt in prompts]
        with _out_of_memory():
            results = self._model.generate(
                encoded,
                starts,
                beam_size=search.beam_size,
                repetition_penalty=search.repetition_penalty,
                # CTranslate2 allows half of it, or what the prompt leaves of it if that is less.
                max_length=min(_MOST_TOKENS, max(2 * most_tokens, len(starts[0]) + most_tokens)),
                return_scores=True,
                return_no_speech_prob=True,
                max_initial_timestamp_index=_LATEST_START,
                suppress_tokens=self._suppressed,
            )
        return [self._generated(result) for result in results]

    def _generated(self, result: Any) -> Decoding:
        tokens = result.sequences_ids[0]
        text = self.text(tokens)
        return Decoding(
            tokens=tuple(tokens),
            # The score is a mean over the tokens; Whisper's own counts the end of the text as one more.
            mean_log_probability=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
            compression_ratio=compression_ratio(text.strip()),
            no_speech_probability=float(result.no_speech_prob),
        )

    def align(
        self, encoded: Any, language: str, task: str, tokens: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[list[AlignedWord]]:
        """When each word of each window was said. tokens: of text alone, none empty; frames: without padding.

        Windows whose texts have different numbers of tokens are aligned one after the other: CTranslate2 pads the
        shorter ones, and has the padding in the mean over the tokens by which it scales the attention.
        """
        tokenizer = self._text(language, task)
        together: dict[int, list[int]] = defaultdict(list)
        for row, text in enumerate(tokens):
            together[len(text)].append(row)
        found: list[list[AlignedWord]] = [[] for _ in tokens]
        with _out_of_memory():
            if len(together) > 1:
                encoded = _in_memory(encoded)  # once for all groups
            for rows in together.values():
                texts = [list(tokens[row]) for row in rows]
                lengths = [frames[row] for row in rows]
                results = self._model.align(self.pick(encoded, rows), tokenizer.sot_sequence, texts, lengths)
                for row, text, result in zip(rows, texts, results, strict=True):
                    found[row] = _words(tokenizer, text, result)
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """Put tokens together; those that are no text are left out."""
        found: str = self._text("en", "transcribe").decode(list(tokens))
        return found

    def _has(self, code: str) -> bool:
        return self._hf.token_to_id(f"<|{code}|>") is not None

    def _encode(self, text: str | None) -> list[int]:
        if not text or not text.strip():
            return []
        end = self._text("en", "transcribe").eot
        found = self._hf.encode(" " + text.strip(), add_special_tokens=False).ids
        return [token for token in found if token < end]  # from there on they are the model's own signs

    def _text(self, language: str, task: str) -> Any:
        key = (language, task)
        with self._lock:
            if key not in self._texts:
                self._texts[key] = Tokenizer(self._hf, self._model.is_multilingual, task, language)
            return self._texts[key]


def _in_memory(encoded: Any) -> Any:
    """Encoded windows where they can be taken apart; those that are there already are not copied."""
    if encoded.device != "cpu":
        encoded = encoded.to_device(ctranslate2.Device.cpu)
    return encoded if encoded.dtype == ctranslate2.DataType.float32 else encoded.to(ctranslate2.DataType.float32)


def _words(tokenizer: Any, tokens: list[int], result: Any) -> list[AlignedWord]:
    """From the path of the aligner, pairs of token and time, to words. Source: `find_alignment` of faster-whisper."""
    words, parts = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    if not result.alignments or len(parts) <= 1:
        return []
    path = np.asarray(result.alignments)
    begins = np.diff(path[:, 0], prepend=-1) > 0
    times = path[begins, 1] / _TOKENS_PER_SECOND
    edges = np.cumsum([0, *(len(part) for part in parts[:-1])])
    probabilities = result.text_token_probs
    return [
        AlignedWord(
            words[n], len(parts[n]), float(times[a]), float(times[b]), float(np.mean(probabilities[a:b], dtype=float))
        )
        for n, (a, b) in enumerate(itertools.pairwise(edges))
    ]


@contextmanager
def _out_of_memory() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if isinstance(exc, MemoryError) or "out of memory" in str(exc).lower():
            raise OutOfMemory(str(exc)) from exc
        raise


def _extractor(folder: Path) -> Any:
    known = inspect.signature(FeatureExtractor.__init__).parameters
    return FeatureExtractor(**{k: v for k, v in _json(folder / "preprocessor_config.json").items() if k in known})


def _tokenizer(folder: Path, multilingual: bool) -> Any:
    if (folder / "tokenizer.json").is_file():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizers.Tokenizer.from_pretrained("openai/whisper-tiny" + ("" if multilingual else ".en"))


def _json(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def known_models() -> list[str]:
    """Names that need no owner and no path."""
    return list(available_models())


def download(name: str, *, cached: bool = False) -> Path:
    """The folder of a model of the hub, or of the cache alone; raises whatever the hub's client does."""
    return Path(download_model(name, local_files_only=cached))


def gpus() -> int:
    """How many there are that CTranslate2 can use."""
    found: int = ctranslate2.get_cuda_device_count()
    return found


def compute_types(device: Literal["cpu", "cuda"]) -> frozenset[str]:
    """What a device here can calculate with."""
    return frozenset(ctranslate2.get_supported_compute_types(device))
