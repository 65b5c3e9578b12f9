"""The speech engine: a loaded model that prepares sounds one by one and decodes them in batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from audio import RATE, WIDTH, to_float32
from bus import StartError
from contract import SpeechOptions
from processors.stt.core import Heard, Model, Unfit
from processors.stt.decoder import Sound, decode
from processors.stt.guards import SPEECH, guarded
from processors.stt.models import (
    DEFAULT_MODEL,
    Device,
    choose_compute_type,
    choose_device,
    cores,
    find_model,
    first_line,
    hash_model,
)
from processors.stt.speech import SpeechDetector
from processors.stt.whisper import FRAMES_PER_SECOND, FULL_WINDOW, Search, Whisper

SMALL_MODEL = 100_000_000
"""Bytes of weights below which, on a CPU, one core for each of several inferences beats several cores for one."""

_LEAST_SOUND = 0.1
"""Seconds; no word is shorter."""


class Engine:
    """A loaded speech model, warm: the first utterance takes no longer than the next.

    `model`: what `find_model` takes; empty: DEFAULT_MODEL. `languages`: the codes that it knows. `workers`: how many
    threads may call `decode` at the same time (0: on a small model one for each core, else one); each inference uses
    `threads` cores on a CPU (0: the cores there are, divided by the workers). `shortest_window`: seconds of the
    shortest encoder window that the model understands, up to 30; 0: what the model's folder says, else 30.
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
        self.workers = workers or _workers(self.device, folder)
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
        except Exception as exc:  # the engine's parts have no error class in common
            raise StartError(f"STT_MODEL={name!r}: cannot be used on {self.device}: {first_line(exc)}") from exc

    def _warm_up(self) -> None:
        pcm = bytes(RATE * WIDTH)
        sound = Sound(self._whisper.features(to_float32(pcm)), SpeechOptions(), shortest=self._shortest)
        decode(self._whisper, [sound], self._search)

    def prepare(self, pcm: bytes, options: SpeechOptions, *, draft: bool = False) -> Sound | Heard:
        """Do what needs no model: the sound as the model takes it, or what was heard if there is nothing to decode.

        pcm: one utterance, mono s16le at 16 kHz, up to 30 s. draft: an interim result is wanted, without words. May be
        called from several threads. Raises AudioError on half a sample, Unfit on a language that is unknown.
        """
        self._check_languages(options)
        sound = to_float32(pcm)
        speech = self._detector.strength(sound)
        if len(sound) < _LEAST_SOUND * RATE or speech < SPEECH:
            nothing = Heard((), options.language or "", 0.0, 1.0 - speech, {"speech": round(speech, 3)})
            return self._told(nothing, options)
        return Sound(
            self._whisper.features(sound),
            options,
            self._whisper.context(options.prompt, options.hotwords),
            self._shortest,
            draft,
            speech,
        )

    def _check_languages(self, options: SpeechOptions) -> None:
        accepted = ", ".join(["null (detect)", *sorted(self.languages)])
        if options.language is not None and options.language not in self.languages:
            raise Unfit(f"language {options.language!r}: unknown to {self.model.name}; accepted: {accepted}")
        if options.allowed_languages is not None and self.languages.isdisjoint(options.allowed_languages):
            raise Unfit(
                f"allowed_languages {options.allowed_languages}: unknown to {self.model.name}; accepted: {accepted}"
            )

    def decode(self, sounds: Sequence[Sound]) -> list[Heard]:
        """Transcribe sounds of one `group` together. Blocks; up to `workers` threads may call it at the same time.

        The same sound and options give the same result, whatever was transcribed before or beside it, here and by any
        other worker with this model, compute type and kind of processor. Raises OutOfMemory where the device has no
        room for so many.
        """
        found = decode(self._whisper, sounds, self._search)
        return [
            self._told(guarded(heard, sound.frames / FRAMES_PER_SECOND, sound.speech), sound.options)
            for heard, sound in zip(found, sounds, strict=True)
        ]

    def transcribe(self, pcm: bytes, options: SpeechOptions) -> Heard:
        """Prepare and decode one utterance."""
        sound = self.prepare(pcm, options)
        return sound if isinstance(sound, Heard) else self.decode([sound])[0]

    def _told(self, heard: Heard, options: SpeechOptions) -> Heard:
        return replace(
            heard,
            decoding={
                **options.model_dump(exclude_none=True),
                "compute_type": self.compute_type,
                "temperature": 0.0,
                "beam_size": self._search.beam_size,
                **heard.decoding,
            },
        )


def _workers(device: str, folder: Path) -> int:
    small = device == "cpu" and (folder / "model.bin").stat().st_size < SMALL_MODEL
    return cores() if small else 1


def _shortest_window(folder: Path) -> float:
    """What the model's config.json says of the windows that it was trained on, in seconds; usual is 30."""
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return float(config.get("shortest_window", FULL_WINDOW / FRAMES_PER_SECOND))
