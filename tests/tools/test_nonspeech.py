"""The check of the speech threshold."""

from __future__ import annotations

import sys

import pytest

from tools import nonspeech


@pytest.mark.slow
def test_it_counts_both_kinds_of_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["nonspeech", "--variants", "2"])
    monkeypatch.setattr(nonspeech, "names", lambda: ["digital silence", "door slam"])
    monkeypatch.setattr(nonspeech, "SPOKEN", ("korean",))
    monkeypatch.setattr(nonspeech, "DEGRADATIONS", ["as it is", "30 dB softer"])
    nonspeech.main()
    slam, plain, soft, summary = capsys.readouterr().out.splitlines()
    assert slam.split()[:4] == ["without", "speech", "door", "slam"]
    assert plain.split()[-3:-1] == soft.split()[-3:-1] == ["6", "lowest"]
    assert summary == "threshold 0.35: 0 of 4 segments without speech pass, 0 of 12 with speech are rejected"


def test_less_than_one_variant_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["nonspeech", "--variants", "0"])
    with pytest.raises(SystemExit):
        nonspeech.main()
    assert "--variants is 0: at least 1 is accepted" in capsys.readouterr().err
