"""The speech engine: a loaded model that prepares utterances one by one and decodes them in batches."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from audio import RATE, to_float32
from bus import StartError
from contract import SpeechOptions
from processors.stt.core import DecodeResult, Model, OutOfMemory, Part, UnsupportedOptions
from processors.stt.filters.hallucination import remove_hallucinations
from processors.stt.filters.speech import SPEECH_THRESHOLD, SpeechDetector
from processors.stt.whisper.backend import FRAMES_PER_SECOND, Search, Whisper
from processors.stt.whisper.cuda import explain, kernel_cache, note_start
from processors.stt.whisper.decoder import FALLBACK, NO_TURNS, Turn, decode
from processors.stt.whisper.models import (
    DEFAULT_MODEL,
    Device,
    choose_compute_type,
    choose_device,
    cores,
    find_model,
    first_line,
    hash_model,
)
from processors.stt.whisper.prepared import (
    LIVE_CONTEXT,
    MERGED_CONTEXT,
    PreparedAudio,
    PreparedPart,
    context_length,
)
from processors.stt.whisper.warmup import choose_batch_size, warm_up

TINY_MODEL = 100_000_000
"""Bytes of weights. On a CPU, several calls of a model below this run at the same time, on one core each."""

SMALL_MODEL = 300_000_000
"""As TINY_MODEL, but each call may use two cores: the encoder of whisper-base needs half the time on two, its decoder
no less. On two cores it so decodes 1.7 times as many utterances as with one call on both, and one alone is no later."""

SHORTEST_WINDOW = 15.0
"""Seconds of the shortest encoder window of a model that was trained on 30 s. How it was chosen: decision 21."""

CPU_BATCH = 8
"""Utterances. They are encoded one by one on a CPU; together they are only decoded."""

Context = Literal["auto", "on", "off"]

_MIN_AUDIO = 0.1
"""Seconds; no word is shorter."""


class Engine:
    """A loaded speech model. It is warmed up, so that the first utterance takes no longer than the next.

    `model`: as for `find_model`; empty: DEFAULT_MODEL. `languages`: the language codes that it knows. `workers`: how
    many calls of the model run at the same time (0: two on a GPU; on a CPU one for each core if the model is small,
    else one). `threads`: cores for each of them on a CPU (0: all cores divided by the workers, but at least two unless
    the model is tiny). `oversubscribed`: concurrent calls share cores. `batch_size`: the most utterances of a batch
    (0: 8 on a CPU; on a GPU as many as it encodes fast enough, which is measured). After the start it is the number for
    which there is memory. `shortest_window`: seconds of the shortest encoder window, up to 30 (0: what the model's
    folder says, else SHORTEST_WINDOW). `context`: whether an utterance is decoded with what was said around it (auto:
    unless the model's folder says that it was trained on short windows). Raises StartError if there is no such model,
    device or type.
    """

    def __init__(
        self,
        model: str = "",
        *,
        device: Device = "auto",
        compute_type: str = "auto",
        workers: int = 0,
        threads: int = 0,
        batch_size: int = 0,
        beam_size: int = 1,
        shortest_window: float = 0,
        context: Context = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.compute_type = choose_compute_type(compute_type, self.device)
        name = model or DEFAULT_MODEL[self.device]
        folder = find_model(name)
        is_path = folder == Path(name).expanduser()
        self.model = Model(folder.resolve().name if is_path else name, hash_model(folder))
        self.workers = workers or _default_workers(self.device, folder)
        threads = threads or _default_threads(self.workers, folder)
        self.oversubscribed = self.device == "cpu" and self.workers * threads > cores()
        self._search = Search(beam_size)
        self._detector = SpeechDetector()
        try:
            trained_on = _shortest_window(folder)
            self._shortest = round((shortest_window or trained_on or SHORTEST_WINDOW) * FRAMES_PER_SECOND)
            self.in_context = not trained_on if context == "auto" else context == "on"
            self._whisper = Whisper(
                folder,
                device=self.device,
                compute_type=self.compute_type,
                workers=self.workers,
                threads=threads,
            )
            self.languages = self._whisper.languages
            self.batch_size = self._warm_up(batch_size)
        except Exception as exc:  # the libraries' errors have no common class
            reason = explain(str(exc)) or first_line(exc)
            raise StartError(f"STT_MODEL={name!r}: cannot be used on {self.device}: {reason}") from exc

    def _warm_up(self, batch_size: int) -> int:
        """Make the calls that are slow only the first time; returns the largest batch."""
        if self.device == "cpu":
            features = self._whisper.features(np.zeros(RATE, np.float32))
            decode(self._whisper, [PreparedAudio(features, SpeechOptions(), shortest=self._shortest)], self._search)
            return batch_size or CPU_BATCH
        size = batch_size or choose_batch_size(self._whisper)
        size = warm_up(self._whisper, size, self.workers, self._shortest, (self._search, FALLBACK))
        note_start(kernel_cache(os.environ))
        return size

    def context(self, samples: int, *, merged: bool = False) -> int:
        """How many samples of earlier sound are decoded in front of so many samples, at most.

        merged: these are several utterances.
        """
        if not self.in_context:
            return 0
        per_frame = RATE // FRAMES_PER_SECOND
        longest = MERGED_CONTEXT if merged else LIVE_CONTEXT
        return context_length(-(-samples // per_frame), self._shortest, longest) * per_frame

    def prepare(
        self, pcm: bytes, options: SpeechOptions, *, parts: Sequence[Part] = (), interim: bool = False
    ) -> PreparedAudio | DecodeResult:
        """Do what needs no model: returns the prepared audio, or an empty result if there is no speech to decode.

        pcm: mono s16le at 16 kHz, up to 30 s. parts: the utterances in it, in order; none: it is one utterance.
        interim: for an interim result, without word times. May be called from several threads. Raises AudioError on
        half a sample, UnsupportedOptions on unknown languages.
        """
        self._check_languages(options)
        samples = to_float32(pcm)
        heard = [self._hear(part, samples) for part in parts or [Part(0, 0, len(samples))]]
        if all(part.speech < SPEECH_THRESHOLD for part in heard):
            nothing = [self._with_parameters(_nothing(part, options), options) for part in heard]
            return nothing[0] if len(nothing) == 1 else replace(nothing[0], parts=tuple(nothing))
        return PreparedAudio(
            self._whisper.features(samples),
            options,
            self._whisper.context(options.prompt, options.hotwords),
            self._shortest,
            interim,
            tuple(heard),
        )

    def _hear(self, part: Part, samples: NDArray[np.float32]) -> PreparedPart:
        said = samples[part.own : part.end]
        speech = self._detector.score(said) if len(said) >= _MIN_AUDIO * RATE else 0.0
        return PreparedPart(part.own / RATE, part.start / RATE, part.end / RATE, speech)

    def _check_languages(self, options: SpeechOptions) -> None:
        accepted = ", ".join(["null (detect)", *sorted(self.languages)])
        if options.language is not None and options.language not in self.languages:
            raise UnsupportedOptions(
                f"language {options.language!r}: unknown to {self.model.name}; accepted: {accepted}"
            )
        if options.allowed_languages is not None and self.languages.isdisjoint(options.allowed_languages):
            raise UnsupportedOptions(
                f"allowed_languages {options.allowed_languages}: unknown to {self.model.name}; accepted: {accepted}"
            )

    def decode(self, batch: Sequence[PreparedAudio], turn: Turn = NO_TURNS) -> list[DecodeResult]:
        """Transcribe sounds of one `group` together. Blocks; may be called from several threads.

        The result of a sound with several utterances has their results in `parts`.
        turn: entered for each call of the model; up to `workers` calls run at the same time.
        The same audio and options always give the same result, whatever else is in the batch, also in other workers
        with this model, compute type and kind of processor; nearly always in float16, where rounding depends on the
        batch. Raises OutOfMemory if the batch is too large, DeviceLost.
        """
        try:
            found = decode(self._whisper, batch, self._search, turn)
        except OutOfMemory as exc:
            reason = str(exc)
        else:
            return [self._judged(result, audio) for result, audio in zip(found, batch, strict=True)]
        raise OutOfMemory(reason)  # not in the except clause: with its traceback it would keep what was encoded alive

    def _judged(self, result: DecodeResult, audio: PreparedAudio) -> DecodeResult:
        """The result without what nobody said; each utterance is judged for itself."""
        found = []
        for one, part in zip(result.parts or (result,), audio.heard, strict=True):
            said = _nothing(part, audio.options) if part.speech < SPEECH_THRESHOLD else one
            said = remove_hallucinations(said, part.seconds, part.speech)
            found.append(self._with_parameters(said, audio.options))
        return found[0] if len(found) == 1 else replace(found[0], parts=tuple(found))

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> DecodeResult:
        """Prepare and decode one utterance."""
        audio = self.prepare(pcm, options)
        return audio if isinstance(audio, DecodeResult) else self.decode([audio])[0]

    def _with_parameters(self, result: DecodeResult, options: SpeechOptions) -> DecodeResult:
        """The result with all parameters of its decoding, as transcripts record them."""
        return replace(
            result,
            decoding={
                **options.model_dump(exclude_none=True),
                "compute_type": self.compute_type,
                "temperature": 0.0,
                "beam_size": self._search.beam_size,
                **result.decoding,
            },
        )


def _default_workers(device: str, folder: Path) -> int:
    if device == "cuda":
        return 2  # while one waits for the host between two tokens, the GPU works for the other
    return cores() if _size(folder) < SMALL_MODEL else 1


def _default_threads(workers: int, folder: Path) -> int:
    return max(1 if _size(folder) < TINY_MODEL else min(2, cores()), cores() // workers)


def _size(folder: Path) -> int:
    return (folder / "model.bin").stat().st_size


def _nothing(part: PreparedPart, options: SpeechOptions) -> DecodeResult:
    """The result of an utterance without speech."""
    return DecodeResult((), options.language or "", 0.0, 1.0 - part.speech, {"speech": round(part.speech, 3)})


def _shortest_window(folder: Path) -> float:
    """The shortest window that the model was trained on, in seconds, from its config.json; 0 if that says nothing."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return float(config.get("shortest_window", 0))
