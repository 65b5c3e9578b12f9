"""Whisper on CTranslate2, a batch at a time. The only file that imports CTranslate2 or faster-whisper.

From faster-whisper come the log-mel features, the tokenizer and the model names. Its `WhisperModel.transcribe` works
through one recording window by window; `decoder.py` does the same for a batch.
"""

from __future__ import annotations

import inspect
import itertools
import json
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
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

from processors.stt.core import DeviceLost, Hypothesis, OutOfMemory, compression_ratio
from processors.stt.whisper import cuda
from processors.stt.whisper.tokens import AlignedWord

Features = NDArray[np.float32]
"""Log-mel spectrogram: bands x frames of 10 ms."""

FRAMES_PER_SECOND = 100
FULL_WINDOW = 3_000
"""Frames of the window that Whisper was trained on, 30 s; the encoder accepts no more."""

_TOKENS_PER_SECOND = 50
_MAX_TOKENS = 448
_MAX_PROMPT_TOKENS = _MAX_TOKENS // 2 - 1
_MAX_INITIAL_TIMESTAMP = 50
"""The first timestamp is at most 1 s, as in openai/whisper."""


@dataclass(frozen=True)
class Prompt:
    """What a decoding starts from. `context`: tokens from `Whisper.context`.

    `timestamps`: whether the text has them; without, there are fewer tokens to decode.
    """

    language: str
    task: str
    context: tuple[int, ...] = ()
    timestamps: bool = True


@dataclass(frozen=True)
class Search:
    """Parameters of the beam search. Nothing is random: the same audio always gives the same text."""

    beam_size: int = 1
    repetition_penalty: float = 1.0


class Whisper:
    """A loaded model. Its methods block and may be called from several threads."""

    def __init__(self, folder: Path, *, device: str, compute_type: str, workers: int, threads: int) -> None:
        """Load from a folder; raises whatever CTranslate2 raises. threads: cores for each worker, on a CPU."""
        self._model = ctranslate2.models.Whisper(
            str(folder), device=device, compute_type=compute_type, inter_threads=workers, intra_threads=threads
        )
        self._aligns_at_once = device != "cpu"
        # On a GPU half as much to copy, where the model computes with no more precision.
        self._feature_type = np.float32 if device == "cpu" or compute_type == "float32" else np.float16
        self._extract = _extractor(folder)
        self._lock = threading.Lock()
        self._tokenizers: dict[tuple[str, str], Any] = {}
        self._vocabulary: Any = _load_vocabulary(folder, self._model.is_multilingual)
        self.multilingual: bool = self._model.is_multilingual
        codes = _LANGUAGE_CODES if self.multilingual else ("en",)
        self.languages = (
            frozenset(code for code in codes if self._has(code)) if self.multilingual else frozenset({"en"})
        )
        self.timestamp_begin: int = self._tokenizer("en", "transcribe").timestamp_begin
        # faster-whisper's list is for OpenAI's vocabulary, and other models differ: prefer the model's own list.
        own = _json(folder / "config.json").get("suppress_ids")
        self._suppressed = (
            [-1] if own is not None else list(get_suppressed_tokens(self._tokenizer("en", "transcribe"), [-1]))
        )

    def features(self, samples: NDArray[np.float32]) -> Features:
        """The features of mono audio at 16 kHz, without the frame of padding that the extractor appends."""
        found: Features = self._extract(samples)[:, :-1]
        return found

    def context(self, text: str | None, hotwords: str | None) -> tuple[int, ...]:
        """Prompt tokens before the transcript: hotwords, then earlier text; empty if there are neither."""
        text_tokens = self._encode(text)[-_MAX_PROMPT_TOKENS:]
        room = _MAX_PROMPT_TOKENS - len(text_tokens)
        found = [*self._encode(hotwords)[:room], *text_tokens]
        return (self._tokenizer("en", "transcribe").sot_prev, *found) if found else ()

    def encode(
        self, windows: Sequence[Features], frames: int, call: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> Any:
        """Encode windows, each cut or padded to `frames`. The methods below take the result.

        call: entered for each call of the model. On a CPU each window is a call of its own: together they would take
        no less time, and something more urgent would have to wait for all of them.
        """
        if self._model.device == "cpu" and len(windows) > 1:
            rows = [np.asarray(self.in_memory(self.encode([window], frames, call))) for window in windows]
            return ctranslate2.StorageView.from_array(np.concatenate(rows))
        bands = windows[0].shape[0]
        stacked = np.zeros((len(windows), bands, frames), self._feature_type)
        for row, window in enumerate(windows):
            length = min(frames, window.shape[1])
            stacked[row, :, :length] = window[:, :length]
        with call(), _translated_errors():
            return self._model.encode(ctranslate2.StorageView.from_array(stacked))

    def in_memory(self, encoded: Any) -> Any:
        """Encoded windows as float32 on the CPU; copied only if they are not that already."""
        if encoded.device != "cpu":
            encoded = encoded.to_device(ctranslate2.Device.cpu)
        return encoded if encoded.dtype == ctranslate2.DataType.float32 else encoded.to(ctranslate2.DataType.float32)

    def between(self, encoded: Any, row: int, start: float, end: float) -> Any:
        """What was encoded of one window from second `start` to `end`: one row, which still knows what is around."""
        first = int(start * _TOKENS_PER_SECOND)
        last = min(max(math.ceil(end * _TOKENS_PER_SECOND), first + 1), encoded.shape[1])
        with _translated_errors():
            return _piece(encoded, row * encoded.shape[1] + first, (1, last - first, encoded.shape[2]))

    def select(self, encoded: Any, rows: Sequence[int]) -> Any:
        """Some of the encoded windows. Those that follow each other are not copied."""
        count, *size = encoded.shape
        if list(rows) == list(range(count)):
            return encoded
        with _translated_errors():
            if list(rows) == list(range(rows[0], rows[-1] + 1)):
                return _piece(encoded, rows[0] * size[0], (len(rows), *size))
            return ctranslate2.StorageView.from_array(np.asarray(self.in_memory(encoded))[list(rows)])

    def detect_languages(self, encoded: Any) -> list[dict[str, float]]:
        """The probability of each language for each window, most likely first."""
        with _translated_errors():
            found = self._model.detect_language(encoded)
        return [
            {token[2:-2]: float(p) for token, p in languages if token[2:-2] in self.languages} for languages in found
        ]

    def generate(self, encoded: Any, prompts: Sequence[Prompt], search: Search, max_tokens: int) -> list[Hypothesis]:
        """Decode each window. All prompts must have the same length, and timestamps or not. max_tokens: per text."""
        starts = [self._start(prompt) for prompt in prompts]
        length = min(_MAX_TOKENS, max(2 * max_tokens, len(starts[0]) + max_tokens))
        limit = min(length // 2, length - len(starts[0]) + 1)  # what CTranslate2 makes of it
        with _translated_errors():
            results = self._model.generate(
                encoded,
                starts,
                beam_size=search.beam_size,
                repetition_penalty=search.repetition_penalty,
                max_length=length,
                return_scores=True,
                return_no_speech_prob=True,
                max_initial_timestamp_index=_MAX_INITIAL_TIMESTAMP,
                suppress_tokens=self._suppressed,
            )
        return [self._hypothesis(result, limit) for result in results]

    def _start(self, prompt: Prompt) -> list[int]:
        tokenizer = self._tokenizer(prompt.language, prompt.task)
        return [*prompt.context, *tokenizer.sot_sequence, *([] if prompt.timestamps else [tokenizer.no_timestamps])]

    def _hypothesis(self, result: Any, limit: int) -> Hypothesis:
        tokens = result.sequences_ids[0]
        text = self.text(tokens)
        return Hypothesis(
            tokens=tuple(tokens),
            # CTranslate2 averages over the text tokens; Whisper also counts the end-of-text token.
            mean_log_probability=float(result.scores[0]) * len(tokens) / (len(tokens) + 1),
            compression_ratio=compression_ratio(text.strip()),
            no_speech_probability=float(result.no_speech_prob),
            is_cut=len(tokens) >= limit,
        )

    def align(
        self, encoded: Any, language: str, task: str, tokens: Sequence[Sequence[int]], frames: Sequence[int]
    ) -> list[list[AlignedWord]]:
        """When each word of each window was said. tokens: text only, none empty. frames: without padding.

        CTranslate2 pads shorter texts, and if all windows have as many frames, includes the padding in the mean by
        which it scales the attention, so that a text's times would depend on its batch. Then, and on a CPU, where it is
        faster, only texts with the same number of tokens are aligned together.
        """
        tokenizer = self._tokenizer(language, task)
        at_once = self._aligns_at_once and len(set(frames)) > 1
        together: dict[int, list[int]] = defaultdict(list)
        for row, text in enumerate(tokens):
            together[0 if at_once else len(text)].append(row)
        found: list[list[AlignedWord]] = [[] for _ in tokens]
        with _translated_errors():
            if len(together) > 1:
                encoded = self.in_memory(encoded)  # copied once, not once per group
            for rows in together.values():
                texts = [list(tokens[row]) for row in rows]
                lengths = [frames[row] for row in rows]
                results = self._model.align(self.select(encoded, rows), tokenizer.sot_sequence, texts, lengths)
                for row, text, result in zip(rows, texts, results, strict=True):
                    found[row] = _words(tokenizer, text, result)
        return found

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens; timestamps and other special tokens are left out."""
        found: str = self._tokenizer("en", "transcribe").decode(list(tokens))
        return found

    def _has(self, code: str) -> bool:
        return self._vocabulary.token_to_id(f"<|{code}|>") is not None

    def _encode(self, text: str | None) -> list[int]:
        if not text or not text.strip():
            return []
        end = self._tokenizer("en", "transcribe").eot
        found = self._vocabulary.encode(" " + text.strip(), add_special_tokens=False).ids
        return [token for token in found if token < end]  # higher ids are special tokens

    def _tokenizer(self, language: str, task: str) -> Any:
        key = (language, task)
        with self._lock:
            if key not in self._tokenizers:
                self._tokenizers[key] = Tokenizer(self._vocabulary, self._model.is_multilingual, task, language)
            return self._tokenizers[key]


def _words(tokenizer: Any, tokens: list[int], result: Any) -> list[AlignedWord]:
    """Words from the alignment path, pairs of token and time. Source: `find_alignment` in faster-whisper."""
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
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if isinstance(exc, MemoryError) or cuda.is_out_of_memory(str(exc)):
            raise OutOfMemory(str(exc)) from exc
        if cuda.is_sticky(str(exc)):
            raise DeviceLost(str(exc)) from exc
        raise


@dataclass(frozen=True)
class _Memory:
    """Memory that a StorageView owns, by the array interface, which NumPy defines and CUDA extends."""

    owner: Any
    interface: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        if name == f"__{'' if self.owner.device == 'cpu' else 'cuda_'}array_interface__":
            return self.interface
        raise AttributeError(name)


def _piece(encoded: Any, first: int, shape: tuple[int, ...]) -> Any:
    """What lies in one piece from vector number `first` on, without copying it from the device.

    Types that the array interface does not have, as bfloat16, are converted and copied.
    """
    if encoded.dtype not in (ctranslate2.DataType.float32, ctranslate2.DataType.float16):
        encoded = encoded.to(ctranslate2.DataType.float32)
    interface = getattr(encoded, "__array_interface__" if encoded.device == "cpu" else "__cuda_array_interface__")
    width = np.dtype(interface["typestr"]).itemsize
    address = interface["data"][0] + first * shape[-1] * width
    return ctranslate2.StorageView.from_array(_Memory(encoded, {**interface, "shape": shape, "data": (address, False)}))


def _extractor(folder: Path) -> Any:
    known = inspect.signature(FeatureExtractor.__init__).parameters
    return FeatureExtractor(**{k: v for k, v in _json(folder / "preprocessor_config.json").items() if k in known})


def _load_vocabulary(folder: Path, multilingual: bool) -> Any:
    if (folder / "tokenizer.json").is_file():
        return tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    return tokenizers.Tokenizer.from_pretrained("openai/whisper-tiny" + ("" if multilingual else ".en"))


def _json(path: Path) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def known_models() -> list[str]:
    """Model names that need neither an owner nor a path."""
    return list(available_models())


def download(name: str, *, cached: bool = False) -> Path:
    """The folder of a model, downloaded unless `cached` limits it to the cache. Raises what the hub client raises."""
    return Path(download_model(name, local_files_only=cached))


def gpus() -> int:
    """Number of GPUs that CTranslate2 can use."""
    found: int = ctranslate2.get_cuda_device_count()
    return found


def gpu_fault() -> str | None:
    """Why no GPU can be used, as `cuda.explain` puts it; None: one can. Loads cuBLAS and runs one small kernel."""
    if not gpus():
        return cuda.NO_GPU
    if (fault := cuda.load_cublas()) is not None:
        return fault
    try:
        one = ctranslate2.StorageView.from_array(np.zeros(1, np.float32)).to_device(ctranslate2.Device.cuda)
        one.to(ctranslate2.DataType.float16)
    except (RuntimeError, MemoryError) as exc:
        return cuda.explain(str(exc) or "out of memory")
    return None


def compute_types(device: Literal["cpu", "cuda"]) -> frozenset[str]:
    """Compute types that a device of this machine supports."""
    return frozenset(ctranslate2.get_supported_compute_types(device))
