"""Speech without a pause, cut because it is long: what is said around a cut is understood once."""

from __future__ import annotations

import json
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from contract import SpeechOptions
from processors.stt.engine import Engine
from processors.vad.classifier import webrtc_detector
from processors.vad.core import Parameters, Segment, Segmenter
from tests.processors.stt.sounds import SAMPLES, sound

MICRO = Path(__file__).parents[3] / "models/whisper-micro"
LONGEST_MS = 6_000
"""One or two sentences: whisper-micro does not understand many in one breath."""


def words(text: str) -> list[str]:
    return re.sub(r"[^\w\s]", " ", text.lower()).split()


@pytest.fixture(scope="module")
def cuts() -> list[Segment]:
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters(max_ms=LONGEST_MS))
    return segmenter.feed(sound("monologue")) + segmenter.finish()


def test_around_a_cut_no_word_is_lost_and_none_is_doubled(cuts: list[Segment]) -> None:
    said = json.loads((SAMPLES / "monologue.json").read_text("utf-8"))["sentences"]
    engine = Engine(str(MICRO), device="cpu")
    heard = [words(engine.transcribe(cut.pcm, SpeechOptions()).text) for cut in cuts]
    spoken = [
        words(" ".join(one["text"] for one in said if cut.start <= (one["start"] + one["end"]) // 2 < cut.end))
        for cut in cuts
    ]
    assert len(cuts) > 6
    assert [cut.continues for cut in cuts] == [True] * (len(cuts) - 1) + [False]
    assert all(before.end == after.start for before, after in pairwise(cuts))
    for before, after in pairwise(range(len(cuts))):
        assert heard[before][-2:] == spoken[before][-2:]
        assert heard[after][:2] == spoken[after][:2]
    lost = sum(map(len, spoken)) - sum(map(len, heard))
    assert abs(lost) <= 4  # whisper-micro leaves the last sentence out, which is at no cut
