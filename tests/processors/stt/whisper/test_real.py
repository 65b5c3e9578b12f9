"""The real engine with a stock model on recordings of real people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jiwer
import pytest
from huggingface_hub import constants

from audio import decode
from contract import SpeechOptions
from processors.stt.core import DecodeResult, Model
from processors.stt.whisper.engine import Engine
from processors.stt.whisper.models import find_model, hash_model
from tools import assets

pytestmark = pytest.mark.real

People = dict[str, assets.Recording]
AUSTEN = "sense_and_sensibility_01_austen_64kb-08"


@pytest.fixture(scope="module")
def engine(whisper_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Whisper base by its name, from our cache: there is no network and nothing in the hub's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(tmp_path_factory.mktemp("hub")))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert find_model("base") == whisper_base
        yield Engine("base", device="cpu", compute_type="int8", workers=1, threads=2)


def heard(engine: Engine, path: Path) -> DecodeResult:
    return engine.transcribe(b"".join(decode(path)), SpeechOptions())


def plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w' ]", " ", text.lower()).replace("mr ", "mister ").split())


def test_the_model_has_its_name(engine: Engine, whisper_base: Path) -> None:
    assert engine.model == Model("base", hash_model(whisper_base))


@pytest.mark.parametrize("name", [f"{AUSTEN}70", f"{AUSTEN}80", f"{AUSTEN}90", "61-70968-0000"])
def test_every_word_of_a_read_sentence_is_right(engine: Engine, people: People, name: str) -> None:
    result = heard(engine, people[name].path)
    assert (plain(result.text), result.language) == (people[name].text, "en")


def test_swedish_is_recognised(engine: Engine, people: People) -> None:
    recording = people["se10x016-08071999-1334_u0016003"]
    result = heard(engine, recording.path)
    assert result.language == "sv"
    assert jiwer.wer(recording.text, plain(result.text)) < 0.5


def test_breaths_and_silence_have_no_text(engine: Engine) -> None:
    assert {path.name: text for path in assets.breaths() if (text := heard(engine, path).text)} == {}
