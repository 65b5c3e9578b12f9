"""The sentences of a sample, the sound of its microphone, and the text that a page shows."""

from __future__ import annotations

import json
import re
import wave
from pathlib import Path

import jiwer
from playwright.async_api import Page

from audio import RATE, decode
from tools.system import ROOT

SAMPLES = ROOT / "samples"


def spoken(sample: str, most: int | None = None) -> list[str]:
    """The sentences of a sample, or the first of them."""
    sentences = json.loads((SAMPLES / f"{sample}.json").read_text())["sentences"]
    return [sentence["text"] for sentence in sentences][:most]


def microphone(folder: Path, sample: str, sentences: int | None = None) -> Path:
    """A WAV file with a sample, or with its first sentences and half of the pause after them."""
    pcm = b"".join(decode(SAMPLES / f"{sample}.flac"))
    said = json.loads((SAMPLES / f"{sample}.json").read_text())["sentences"]
    if sentences is not None:
        pcm = pcm[: said[sentences - 1]["end"] + said[sentences]["start"]]  # two bytes a sample: the mean of both
    path = folder / f"{sample}.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return path


async def shown(page: Page) -> list[str]:
    """The finals that the page shows, in its order."""
    return await page.locator(".lines li p").all_inner_texts()


def word_error_rate(said: list[str], transcribed: list[str]) -> float:
    """Of the words without case and punctuation; missing and repeated words count."""
    return float(jiwer.wer(plain(said), plain(transcribed)))


def in_order(said: list[str], transcribed: list[str]) -> int:
    """How many of the sentences are in the transcript, each after the one before it; others may be between them."""
    found = start = 0
    for sentence in said:
        for at in range(start, len(transcribed)):
            if word_error_rate([sentence], [transcribed[at]]) <= 0.25:
                found, start = found + 1, at + 1
                break
    return found


def plain(texts: list[str]) -> str:
    return " ".join(re.findall(r"\w+", " ".join(texts).lower()))
