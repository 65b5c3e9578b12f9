from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.random_whisper import SHAPES, TEXT_TOKENS, build
from bench.speech import load_sentences
from contract import SpeechOptions
from processors.stt.whisper.engine import Engine
from tools.system import ROOT

SMALL = replace(SHAPES["tiny"], width=64, heads=4, encoder_layers=1, decoder_layers=1, alignment=((0, 0), (0, 1)))


@pytest.mark.slow
def test_every_text_has_its_tokens_and_is_not_decoded_again(tmp_path: Path) -> None:
    build(SMALL, tmp_path / "model")
    build(SMALL, tmp_path / "same")
    assert (tmp_path / "same" / "model.bin").read_bytes() == (tmp_path / "model" / "model.bin").read_bytes()
    for compute_type, beam_size in (("int8", 5), ("float32", 1)):
        engine = Engine(str(tmp_path / "model"), device="cpu", compute_type=compute_type, beam_size=beam_size)
        for sentence in load_sentences(ROOT / "samples")[:3]:
            heard = engine.transcribe(sentence.pcm, SpeechOptions())
            assert (heard.language, heard.decoding["fallback"]) == ("en", None)
            assert sum(segment.tokens for segment in heard.segments) == TEXT_TOKENS
            assert sum(len(segment.words) for segment in heard.segments) == TEXT_TOKENS
