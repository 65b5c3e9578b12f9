"""The speech engine: a loaded model that prepares utterances one by one and decodes them in batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audio import RATE, to_float32
from bus import StartError
from contract import SpeechOptions
from processors.stt.core import DecodeResult, Model, UnsupportedOptions
from processors.stt.filters.hallucination import remove_hallucinations
from processors.stt.filters.speech import SPEECH_THRESHOLD, SpeechDetector
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Search, Whisper
from processors.stt.whisper.decoder import NO_TURNS, PreparedAudio, Turn, decode
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

SMALL_MODEL = 100_000_000
"""Bytes of weights. On a CPU, models below this run faster as several inferences on one core each."""

_MIN_AUDIO = 0.1
"""Seconds; no word is shorter."""


class Engine:
    """A loaded speech model. It is warmed up, so that the first utterance takes no longer than the next.

    `model`: as for `find_model`; empty: DEFAULT_MODEL. `languages`: the language codes that it knows. `workers`: how
    many calls of the model run at the same time (0: one for each core if the model is small, else one). `threads`:
    cores for each of them on a CPU (0: all cores divided by the workers). `shortest_window`: seconds of the shortest
    encoder window that the model supports, up to 30 (0: what the model's folder says, else 30).
    Raises StartError if there is no such model, device or type.
    """

    def __init__(
        self,
        model: str = "",
        *,
        device: Device = "auto",
        compute_type: str = "auto",
        workers: int = 0,
        threads: int = 0,
        beam_size: int = 1,
        shortest_window: float = 0,
    ) -> None:
        self.device = choose_device(device)
        self.compute_type = choose_compute_type(compute_type, self.device)
        name = model or DEFAULT_MODEL[self.device]
        folder = find_model(name)
        is_path = folder == Path(name).expanduser()
        self.model = Model(folder.resolve().name if is_path else name, hash_model(folder))
        self.workers = workers or _default_workers(self.device, folder)
        self._search = Search(beam_size)
        self._detector = SpeechDetector()
        try:
            self._shortest = round((shortest_window or _shortest_window(folder)) * FRAMES_PER_SECOND)
            self._whisper = Whisper(
                folder,
                device=self.device,
                compute_type=self.compute_type,
                workers=self.workers,
                threads=threads or max(1, cores() // self.workers),
            )
            self.languages = self._whisper.languages
            self._warm_up()
        except Exception as exc:  # the libraries' errors have no common class
            raise StartError(f"STT_MODEL={name!r}: cannot be used on {self.device}: {first_line(exc)}") from exc

    def _warm_up(self) -> None:
        features = self._whisper.features(np.zeros(RATE, np.float32))
        decode(self._whisper, [PreparedAudio(features, SpeechOptions(), shortest=self._shortest)], self._search)

    def prepare(self, pcm: bytes, options: SpeechOptions, *, interim: bool = False) -> PreparedAudio | DecodeResult:
        """Do what needs no model: returns the prepared audio, or an empty result if there is no speech to decode.

        pcm: one utterance, mono s16le at 16 kHz, up to 30 s. interim: for an interim result, without word times. May be
        called from several threads. Raises AudioError on half a sample, UnsupportedOptions on unknown languages.
        """
        self._check_languages(options)
        samples = to_float32(pcm)
        speech = self._detector.score(samples)
        if len(samples) < _MIN_AUDIO * RATE or speech < SPEECH_THRESHOLD:
            nothing = DecodeResult((), options.language or "", 0.0, 1.0 - speech, {"speech": round(speech, 3)})
            return self._with_parameters(nothing, options)
        return PreparedAudio(
            self._whisper.features(samples),
            options,
            self._whisper.context(options.prompt, options.hotwords),
            self._shortest,
            interim,
            speech,
        )

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
        """Transcribe utterances of one `group` together. Blocks; may be called from several threads.

        turn: entered for each call of the model; up to `workers` calls run at the same time.
        The same audio and options always give the same result, whatever else is in the batch, also in other workers
        with this model, compute type and kind of processor. Raises OutOfMemory if the batch is too large.
        """
        return [
            self._with_parameters(
                remove_hallucinations(result, audio.frames / FRAMES_PER_SECOND, audio.speech), audio.options
            )
            for result, audio in zip(decode(self._whisper, batch, self._search, turn), batch, strict=True)
        ]

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
    small = device == "cpu" and (folder / "model.bin").stat().st_size < SMALL_MODEL
    return cores() if small else 1


def _shortest_window(folder: Path) -> float:
    """The shortest window that the model was trained on, in seconds, from its config.json; 30 if that says nothing."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return float(config.get("shortest_window", FULL_WINDOW / FRAMES_PER_SECOND))
