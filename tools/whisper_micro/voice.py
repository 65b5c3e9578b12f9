"""Speech synthesis with espeak-ng."""

import io
import shutil
import subprocess
import wave

import numpy as np
from numpy.typing import NDArray

from audio import Converter

_AUDIBLE = 200
"""Softer samples (of 32,768) at either end are cut off."""


def speak(text: str, voice: str, speed: int, pitch: int) -> NDArray[np.int16]:
    """Mono 16 kHz, from the first audible sample to the last. voice: of espeak-ng, optionally with a +variant.

    speed: words a minute. pitch: 0 to 99. Raises OSError if espeak-ng is missing, ValueError for an unknown voice.
    """
    program = espeak()
    said = subprocess.run(
        [program, "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", "--", text],
        capture_output=True,
        check=False,
    )
    if said.returncode or not said.stdout:
        raise ValueError(f"espeak-ng cannot say {text!r} as {voice!r}: {said.stderr.decode(errors='replace').strip()}")
    with wave.open(io.BytesIO(said.stdout)) as reader:
        converter = Converter("pcm_s16le", reader.getframerate())
        pcm = converter.push(reader.readframes(reader.getnframes())) + converter.flush()
    sound = np.frombuffer(pcm, "<i2").astype(np.int16)
    audible = np.flatnonzero(np.abs(sound.astype(np.int32)) > _AUDIBLE)
    return sound[audible[0] : audible[-1] + 1] if len(audible) else sound[:0]


def phonemes(text: str, language: str) -> list[str]:
    """The phonemes of a text in IPA, without stress marks. Raises OSError if espeak-ng is missing."""
    voice = "ko" if language == "ko" else "en-us"
    said = subprocess.run(
        [espeak(), "-q", "--ipa=1", "--sep=|", "-v", voice, "--", text], capture_output=True, text=True, check=True
    ).stdout
    for mark in "\n _":
        said = said.replace(mark, "|")
    for stress in "ˈˌ":
        said = said.replace(stress, "")
    return [phone for phone in said.split("|") if phone and not phone.startswith("(")]


def espeak() -> str:
    """The path of the program. Raises OSError that says what to install."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise OSError("espeak-ng is not installed (Debian: apt install espeak-ng)")
    return program
