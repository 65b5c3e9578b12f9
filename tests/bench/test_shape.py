from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.shape import SHAPES, TEXT_TOKENS, build
from bench.speech import load_sentences
from contract import SpeechOptions
from processors.stt.whisper.engine import Engine
from tools.system import ROOT

pytestmark = pytest.mark.slow

SMALL = replace(SHAPES["tiny"], width=64, heads=4, encoder_layers=1, decoder_layers=1, alignment=((0, 0), (0, 1)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shape") / "small"
    build(SMALL, folder)
    return folder


@pytest.mark.parametrize("beam_size", [1, 5])
@pytest.mark.parametrize("compute_type", ["int8", "float32"])
def test_every_text_has_its_tokens_and_is_not_decoded_again(folder: Path, compute_type: str, beam_size: int) -> None:
    engine = Engine(str(folder), device="cpu", compute_type=compute_type, beam_size=beam_size)
    for sentence in load_sentences(ROOT / "samples")[:3]:
        heard = engine.transcribe(sentence.pcm, SpeechOptions())
        assert heard.language == "en"
        assert heard.decoding["fallback"] is None
        assert sum(segment.tokens for segment in heard.segments) == TEXT_TOKENS
        assert sum(len(segment.words) for segment in heard.segments) == TEXT_TOKENS


def test_the_same_seed_gives_the_same_model(folder: Path, tmp_path: Path) -> None:
    build(SMALL, tmp_path / "again")
    build(SMALL, tmp_path / "other", seed=2)
    model = (folder / "model.bin").read_bytes()
    assert (tmp_path / "again" / "model.bin").read_bytes() == model
    assert (tmp_path / "other" / "model.bin").read_bytes() != model
