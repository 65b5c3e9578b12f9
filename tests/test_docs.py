"""What the documents say of the tests is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools import settings

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "failures.md").read_text())


def test_failures_name_tests() -> None:
    assert len(NAMED) >= 8


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_settings_are_those_of_the_models() -> None:
    written = (ROOT / "docs" / "settings.md").read_text()
    assert written == settings.document(), "run: python -m tools.settings > docs/settings.md"


PATH_OF_A_FRAME = re.findall(r"`([\w/]+\.py)::([\w.]+)`", (ROOT / "docs" / "architecture.md").read_text())


@pytest.mark.parametrize(("path", "name"), PATH_OF_A_FRAME)
def test_a_function_that_the_architecture_names_exists(path: str, name: str) -> None:
    scope: list[ast.stmt] = ast.parse((ROOT / path).read_text()).body
    for part in name.split("."):
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = [node for node in scope if isinstance(node, definitions) and node.name == part]
        assert found, f"{path} has no {name}"
        scope = found[0].body


def test_a_frame_crosses_at_most_25_files() -> None:
    assert 20 <= len({path for path, _ in PATH_OF_A_FRAME} - _BESIDE_THE_PATH) <= 25


_BESIDE_THE_PATH = {"edge/capture/delivery.py", "contract/socket.py", "bus/supervisor.py"}
"""What the page names besides: the way back to the client, and what every part stands on."""
