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
