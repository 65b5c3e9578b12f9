import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from audio import decode
from tools import say
from tools.whisper_micro.grammar import written

TABLE = tomllib.loads(say.SCENES.read_text(encoding="utf-8"))
SPEAKERS = TABLE.pop("speakers")


@pytest.mark.parametrize("name", TABLE)
def test_committed_text_is_that_of_the_scene(name: str) -> None:
    script = json.loads((say.SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    lines = [line.partition(": ") for line in TABLE[name].get("lines", [])]
    assert [sentence["voice"] for sentence in script["sentences"]] == [SPEAKERS[who]["voice"] for who, _, _ in lines]
    for sentence, (_, _, spoken) in zip(script["sentences"], lines, strict=True):
        assert sentence["text"] == written(spoken, sentence["language"])


@pytest.mark.parametrize("name", ["silence", "noise"])
def test_same_scene_same_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "argv", ["say", name, "--out", str(tmp_path)])
    say.main()
    assert b"".join(decode(tmp_path / f"{name}.flac")) == b"".join(decode(say.SAMPLES / f"{name}.flac"))
    assert (tmp_path / f"{name}.json").read_bytes() == (say.SAMPLES / f"{name}.json").read_bytes()


def test_line_outside_the_grammar_is_named() -> None:
    with pytest.raises(ValueError, match="not in the grammar: 'the budget is purple'"):
        say.act({"lines": ["anna: the budget is purple"], "pause": [1, 1]}, SPEAKERS, seed=1)


def test_unknown_scene_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["say", "opera"])
    with pytest.raises(SystemExit):
        say.main()
    assert "no such scene: opera; there are standup, meeting" in capsys.readouterr().err


def test_missing_espeak_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["say", "standup", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        say.main()
    assert "espeak-ng is not installed" in capsys.readouterr().err


def test_noise_depends_on_the_seed() -> None:
    scene = {"seconds": 1, "floor_db": -50}
    first, _ = say.act(scene, SPEAKERS, seed=1)
    assert np.array_equal(first, say.act(scene, SPEAKERS, seed=1)[0])
    assert not np.array_equal(first, say.act(scene, SPEAKERS, seed=2)[0])
