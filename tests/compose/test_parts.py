from __future__ import annotations

import sys
from pathlib import Path

from compose.parts import discover, processes

ROOT = Path(__file__).parents[2]


def test_parts_are_found_by_their_folder_and_not_imported(tmp_path: Path) -> None:
    for name in ("translate", "diarize"):
        plant(tmp_path / "processors" / name / "__main__.py", "raise AssertionError('imported')")
        plant(tmp_path / "processors" / name / "__init__.py", "raise AssertionError('imported')")
    plant(tmp_path / "processors" / "helpers" / "__init__.py")
    plant(tmp_path / "processors" / "not_a_package" / "__main__.py")
    plant(tmp_path / "processors" / "module.py")
    plant(tmp_path / "processors" / "__init__.py")
    assert discover(tmp_path) == ["edge", "processors.diarize", "processors.translate"]
    assert not [name for name in sys.modules if "diarize" in name]


def test_our_own_parts_are_found() -> None:
    assert discover(ROOT)[0] == "edge"
    assert {"processors.stt", "processors.summary", "processors.vad"} <= set(discover(ROOT))


def test_only_the_edge_has_several_processes() -> None:
    assert processes(["edge", "processors.vad"], 1) == {"edge": "edge", "processors.vad": "processors.vad"}
    assert processes(["edge", "processors.vad"], 3) == {
        "edge": "edge",
        "processors.vad": "processors.vad",
        "edge-2": "edge",
        "edge-3": "edge",
    }


def plant(file: Path, text: str = "") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
