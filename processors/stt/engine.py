"""The speech engine: Whisper by faster-whisper on CTranslate2. The only file that knows either."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import threading
from pathlib import Path
from typing import Any, Literal

import ctranslate2
import numpy as np
import structlog
from faster_whisper import WhisperModel, available_models, download_model
from numpy.typing import NDArray

from audio import RATE, WIDTH, to_float32
from bus import StartError
from bus.messages import SpeechOptions
from processors.stt.core import (
    MAX_COMPRESSION_RATIO,
    MAX_NO_SPEECH_PROBABILITY,
    MIN_LOG_PROBABILITY,
    Decoding,
    Heard,
    HeardSegment,
    HeardWord,
    Model,
    Unfit,
    is_better,
    is_poor,
)

log = structlog.get_logger()

Device = Literal["auto", "cpu", "cuda"]

DEFAULT_MODEL = {"cpu": "small", "cuda": "large-v3-turbo"}
PREFERRED_COMPUTE_TYPES = {"cpu": ("int8", "float32"), "cuda": ("float16", "int8", "float32")}
"""The first that the device supports is what `auto` means; every device supports float32."""

FALLBACK = {"beam_size": 5, "repetition_penalty": 1.1}
"""How a window is decoded again if it came out poor. Nothing in it is random: the same sound has the same text.

Five beams are what the Whisper paper takes against repetition (arXiv:2212.04356, 4.5). Not `no_repeat_ngram_size`:
where somebody does say a thing twice it makes up words, and the score, being that of the restricted search, hides it.
"""


class Engine:
    """A loaded speech model, warm: the first utterance takes no longer than the next.

    `model`: what `find_model` takes; empty: DEFAULT_MODEL. `languages`: the codes that `transcribe` takes.
    `workers`: how many threads may call `transcribe` at the same time; each inference uses `threads` cores on a CPU
    (0: the cores there are, divided by the workers). Raises StartError if there is no such model, device or type.
    """

    def __init__(
        self,
        model: str = "",
        *,
        device: Device = "auto",
        compute_type: str = "auto",
        workers: int = 1,
        threads: int = 0,
        beam_size: int = 1,
    ) -> None:
        self.device = choose_device(device)
        self.compute_type = choose_compute_type(compute_type, self.device)
        self.beam_size = beam_size
        name = model or DEFAULT_MODEL[self.device]
        folder = find_model(name)
        is_path = folder == Path(name).expanduser()
        self.model = Model(folder.resolve().name if is_path else name, hash_model(folder))
        try:
            self._whisper = _Whisper(
                str(folder),
                device=self.device,
                compute_type=self.compute_type,
                cpu_threads=threads or max(1, _cores() // workers),
                num_workers=workers,
            )
            self.languages = self._whisper.languages()
            self.transcribe(bytes(RATE * WIDTH), SpeechOptions())
        except Exception as exc:  # the engine's parts have no error class in common
            raise StartError(f"STT_MODEL={name!r}: cannot be used on {self.device}: {_first_line(exc)}") from exc

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        """Transcribe one utterance: mono s16le at 16 kHz, up to 30 s. Blocks; may be called from several threads.

        The same sound and options give the same result, whatever was transcribed before, here and by any other worker
        with this model, compute type and kind of processor.
        Raises AudioError on half a sample, Unfit on a language that the model does not know.
        """
        if options.language is not None and options.language not in self.languages:
            accepted = ", ".join(["null (detect)", *sorted(self.languages)])
            raise Unfit(f"language {options.language!r}: unknown to {self.model.name}; accepted: {accepted}")
        told = self._whisper.local
        told.no_speech, told.fallback = 0.0, None
        found, info = self._whisper.transcribe(
            to_float32(pcm),
            language=options.language,
            task=options.task,
            initial_prompt=options.prompt,
            beam_size=self.beam_size,
            temperature=0.0,
            compression_ratio_threshold=MAX_COMPRESSION_RATIO,
            log_prob_threshold=MIN_LOG_PROBABILITY,
            no_speech_threshold=MAX_NO_SPEECH_PROBABILITY,
            condition_on_previous_text=False,  # an utterance is one window: nothing to carry over but mistakes
            word_timestamps=True,
            vad_filter=False,  # the segmenter has done it
        )
        segments = tuple(_segment(segment) for segment in found)  # decoding happens here: `found` is a generator
        return Heard(
            segments=segments,
            language=info.language,
            language_probability=float(info.language_probability),
            no_speech_probability=told.no_speech,
            decoding={
                **options.model_dump(),
                "compute_type": self.compute_type,
                "temperature": 0.0,
                "beam_size": self.beam_size,
                "fallback": told.fallback,
            },
        )


class _Whisper(WhisperModel):  # type: ignore[misc] # faster-whisper has no types
    """faster-whisper with three things mended.

    Language detection and decoding share one encoder pass: on a CPU half of the time. What comes out poor is decoded
    again by rule, not by chance. Words that the aligner puts all at one instant do not cost the segment its text.
    `local` tells what this thread has met, also where there is no text: `no_speech`, the highest no-speech probability
    of the windows, and `fallback`, how one was decoded whose second decoding was kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.local = threading.local()

    def languages(self) -> frozenset[str]:
        """Codes that this very model has: faster-whisper's list is that of the largest."""
        return frozenset(code for code in self.supported_languages if self.hf_tokenizer.token_to_id(f"<|{code}|>"))

    def detect_language(self, audio: Any = None, features: Any = None, **kwargs: Any) -> Any:
        # Decoding leaves out the last frame, which is padding; without it here both encode the same window.
        return super().detect_language(audio, features[..., : max(1, features.shape[-1] - 1)], **kwargs)

    def encode(self, features: NDArray[np.float32]) -> Any:
        last = getattr(self.local, "encoded", None)
        if last is None or not np.array_equal(last[0], features):
            last = self.local.encoded = features, super().encode(features)
        return last[1]

    def generate_with_fallback(self, encoded: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
        kept = super().generate_with_fallback(encoded, prompt, tokenizer, options)
        if is_poor(_decoding(kept)):
            other = FALLBACK | {"beam_size": max(FALLBACK["beam_size"], options.beam_size)}
            second = super().generate_with_fallback(encoded, prompt, tokenizer, dataclasses.replace(options, **other))
            if is_better(_decoding(second), _decoding(kept)):
                kept, self.local.fallback = second, other
        self.local.no_speech = max(self.local.no_speech, kept[0].no_speech_prob)
        return kept

    def add_word_timestamps(self, segments: Any, *args: Any, **kwargs: Any) -> Any:
        spans = [(segment["start"], segment["end"]) for segment in segments[0]]
        result = super().add_word_timestamps(segments, *args, **kwargs)
        for segment, (start, end) in zip(segments[0], spans, strict=True):
            if segment["start"] == segment["end"]:  # of no length: faster-whisper would drop it
                segment.update(start=start, end=max(end, start + self.time_precision))
                _spread(segment["words"], segment["start"], segment["end"])
        return result


def _decoding(result: Any) -> Decoding:
    generated, mean_log_probability, _, compression_ratio = result
    return Decoding(mean_log_probability, compression_ratio, generated.no_speech_prob)


def _spread(words: Any, start: float, end: float) -> None:
    step = (end - start) / max(1, len(words))
    for index, word in enumerate(words):
        word.update(start=start + index * step, end=start + (index + 1) * step)


def _segment(segment: Any) -> HeardSegment:
    return HeardSegment(
        text=segment.text,
        tokens=len(segment.tokens),
        mean_log_probability=float(segment.avg_logprob),
        compression_ratio=float(segment.compression_ratio),
        words=tuple(HeardWord(w.word, float(w.start), float(w.end), float(w.probability)) for w in segment.words),
    )


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """What `auto` means here; raises StartError if there is no GPU and one is asked for."""
    gpus = ctranslate2.get_cuda_device_count()
    if device == "auto":
        return "cuda" if gpus else "cpu"
    if device == "cuda" and not gpus:
        raise StartError("STT_DEVICE='cuda': there is no usable CUDA device; accepted here: auto, cpu")
    return device


def choose_compute_type(compute_type: str, device: Literal["cpu", "cuda"]) -> str:
    """What `auto` means on this device; raises StartError on a type that it does not support."""
    supported = ctranslate2.get_supported_compute_types(device)
    if compute_type == "auto":
        return next(name for name in PREFERRED_COMPUTE_TYPES[device] if name in supported)
    if compute_type not in supported:
        accepted = ", ".join(["auto", *sorted(supported)])
        raise StartError(f"STT_COMPUTE_TYPE={compute_type!r}: not supported by {device}; accepted here: {accepted}")
    return compute_type


def find_model(name: str) -> Path:
    """The folder of a model in CTranslate2 format; raises StartError.

    `name`: the path of such a folder, or a name that faster-whisper knows or `owner/name` on the Hugging Face hub:
    these are downloaded if they are not in the cache.
    """
    if name in available_models():
        return _download(name, "not in the cache")
    folder = Path(name).expanduser()
    if (folder / "model.bin").is_file():
        return folder
    if folder.is_dir():
        raise _no_model(name, "there is no model.bin in that folder")
    if folder.exists():
        raise _no_model(name, "that is not a folder")
    if is_hub_id(name):
        return _download(name, "neither a folder here nor in the cache")
    is_path = name.startswith((".", "~")) or "/" in name or os.sep in name
    raise _no_model(name, "there is no such folder" if is_path else "there is no such model")


def is_hub_id(name: str) -> bool:
    """Whether a name may be `owner/name` on the Hugging Face hub; a path with one slash looks the same."""
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _download(name: str, wrong: str) -> Path:
    try:
        folder = Path(download_model(name, local_files_only=True))
        if (folder / "model.bin").is_file():  # a download that broke off leaves a folder without
            return folder
    except (OSError, ValueError):  # not there, or no valid name: the hub's sentence about it comes below
        pass
    log.info("downloading the speech model", model=name)
    try:
        folder = Path(download_model(name))
    except Exception as exc:
        raise _no_model(name, f"{wrong}, and cannot be downloaded ({_first_line(exc)})") from exc
    if not (folder / "model.bin").is_file():
        raise _no_model(name, "what was downloaded has no model.bin")
    return folder


def _no_model(name: str, wrong: str) -> StartError:
    return StartError(
        f"STT_MODEL={name!r}: {wrong}; accepted: the path of a folder with a Whisper model in CTranslate2 format, "
        f"owner/name of one on the Hugging Face hub, or one of {', '.join(available_models())}"
    )


def hash_model(folder: Path) -> str:
    """First 16 hex digits of SHA-256 over a model folder: each file's name and SHA-256 in the order of the names.

    READMEs, hidden files and subfolders are no part of a model.
    """
    total = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.is_file() and not path.name.lower().startswith((".", "readme")):
            with path.open("rb") as file:
                total.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _first_line(exc: Exception) -> str:
    return str(exc).partition("\n")[0] or type(exc).__name__
