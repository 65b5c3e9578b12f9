"""What the documents say of files, links, tests and settings is true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tools import settings

ROOT = Path(__file__).parents[1]
NAMED = re.findall(r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "failures.md").read_text())

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md"))
    if not {"node_modules", "shared"} & set(path.relative_to(ROOT).parts)
)
DESCRIPTIONS = [name for name in DOCUMENTS if name.startswith("docs/")]
"""The documents that speak of today's code. The changes also name what is gone."""

FENCES = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)*/?)(?:::[\w.]+)?`")
MODULE = re.compile(r"\bpython -m ([\w.]+)")
SUFFIXES = (".py", ".js", ".css", ".html", ".toml", ".conf")


def heading_anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.+)$", FENCES.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(document: str) -> list[str]:
    """The relative links of a document that lead nowhere."""
    path = ROOT / document
    missing = []
    for link in LINK.findall(FENCES.sub("", path.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in heading_anchors(target.read_text())):
            missing.append(link)
    return missing


def missing_paths(document: str) -> list[str]:
    """The paths and modules in a document that look like this repository's and do not exist."""
    text = (ROOT / document).read_text()
    missing = [path for path in PATH.findall(text) if _is_ours(path) and not _exists(path)]
    return missing + [name for name in MODULE.findall(text) if not _is_module(name)]


def _is_ours(path: str) -> bool:
    """Whether it begins with one of our folders or ends as a source file does."""
    folder, slash, _ = path.partition("/")
    return path.endswith(SUFFIXES) or bool(slash and (ROOT / folder).is_dir())


def _exists(path: str) -> bool:
    """Whether there is such a path; without a folder, whether any file has that name."""
    return (ROOT / path).exists() or ("/" not in path and any(ROOT.glob(f"[!.]*/**/{path}")))


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return (path / "__main__.py").exists() or path.with_suffix(".py").exists()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_relative_links_lead_somewhere(document: str) -> None:
    assert missing_links(document) == []


@pytest.mark.parametrize("document", DESCRIPTIONS)
def test_paths_and_modules_exist(document: str) -> None:
    assert missing_paths(document) == []


def test_documents_have_links_and_paths() -> None:
    texts = [(ROOT / document).read_text() for document in DESCRIPTIONS]
    assert sum(len(LINK.findall(text)) for text in texts) >= 20
    assert sum(_is_ours(path) for text in texts for path in PATH.findall(text)) >= 30


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


_BESIDE_THE_PATH = {"edge/capture/delivery.py", "contract/socket.py", "bus/supervisor.py"}
"""Files that the page names but a frame does not cross: the way back to the client, and the supervisor."""


def test_a_frame_crosses_at_most_25_files() -> None:
    assert 20 <= len({path for path, _ in PATH_OF_A_FRAME} - _BESIDE_THE_PATH) <= 25
