"""The import table: who may import whom, and which third party lives only where."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

OURS: dict[str, set[str]] = {
    "audio": set(),
    "bus": {"contract"},
    "client": {"audio", "compose", "contract", "stenobus"},
    "compose": set(),
    "contract": set(),
    "edge": {"audio", "bus", "contract", "store"},
    "processors": {"bus", "contract"},  # any of them that has no line of its own
    "processors.stt": {"audio", "bus", "contract"},
    "processors.summary": {"bus", "contract", "store"},
    "stenobus": {"bus", "contract"},
    "store": {"contract"},
}
"""What each package may import of ours besides itself; nothing else of ours is imported by any of them."""

NEVER = {"bench", "tests", "tools"}
"""Ours too, and free to import anything, but not imported by the packages above."""

HOME = {
    "nats": "bus",
    "msgpack": "contract",
    "av": "audio",
    "webrtcvad": "processors.vad",
    "faster_whisper": "processors.stt",
    "ctranslate2": "processors.stt",
    "ollama": "processors.summary",
    "redis": "store",
    "starlette": "edge",
    "typer": "client",
    "rich": "client",
    "sounddevice": "client",
}
"""The only package that may import a third party."""

ONE_FILE = ({"faster_whisper", "ctranslate2"}, {"ollama"}, {"sounddevice"}, {"webrtcvad"})
"""Engines and the like: each group is imported by a single file, so that another engine is another file."""

ONLY_STDLIB = {"compose"}

PURE = {
    "bus/backoff.py",
    "client/commands/doctor/report.py",
    "client/errors.py",
    "client/reading.py",
    "client/session/messages.py",
    "client/session/outgoing.py",
    "client/session/retry.py",
    "client/transcript.py",
    "edge/capture/session.py",
    "store/job.py",
    "edge/rest/export.py",
    "edge/rest/openapi.py",
    "edge/rest/reference.py",
    "edge/rest/subtitles.py",
    "edge/rest/wav.py",
    "processors/insights/keywords.py",
    "processors/insights/messages.py",
    "processors/stt/filters/hallucination.py",
    "processors/stt/filters/loops.py",
    "processors/stt/scheduling/batcher.py",
    "processors/stt/whisper/language.py",
    "processors/stt/whisper/tokens.py",
    "processors/vad/endpointing.py",
    "store/search.py",
}
"""What decides, besides every `core.py`: it takes values and returns values."""

IMPURE = {"asyncio", "nats", "os", "redis", "socket", "subprocess", "threading", "time"}
"""What such a file does not import."""


class Import(NamedTuple):
    package: str
    path: str
    line: int
    target: str

    @property
    def top(self) -> str:
        return self.target.split(".")[0]


def violations(root: Path) -> list[str]:
    """Return `file:line: rule` for each import below `root` that the tables above do not allow."""
    imports = list(all_imports(root))
    broken = [f"{found.path}:{found.line}: {rule}" for found in imports if (rule := broken_rule(found))]
    for group in ONE_FILE:
        lines: dict[str, int] = {}
        for found in imports:
            if found.top in group:
                lines.setdefault(found.path, found.line)
        if len(lines) > 1:
            names = " and ".join(sorted(group))
            broken += [f"{path}:{line}: only one file may import {names}" for path, line in lines.items()]
    return broken


def broken_rule(found: Import) -> str | None:
    package, top = found.package, found.top
    if top in NEVER or top in {name.split(".")[0] for name in OURS}:
        allowed = OURS[package] if package in OURS else OURS["processors"]
        if any(within(found.target, other) for other in {package, *allowed}):
            return None
        return f"{package} imports {found.target}; of ours it may import only {sorted(allowed) or 'itself'}"
    if (home := HOME.get(top)) and home != package:
        return f"{package} imports {top}, which lives only in {home}"
    if top in IMPURE and (package == "contract" or found.path in PURE or found.path.endswith("/core.py")):
        return f"{found.path} decides, so that it may not import {top}"
    if package in ONLY_STDLIB and top not in sys.stdlib_module_names:
        return f"{package} imports {top}; it may import only the standard library"
    return None


def within(target: str, package: str) -> bool:
    return target == package or target.startswith(f"{package}.")


def all_imports(root: Path) -> Iterator[Import]:
    """Every import statement of our packages, wherever in a file it stands; one item for each name."""
    for top in sorted({name.split(".")[0] for name in OURS}):
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root).parts
            package = ".".join(parts[:2]) if top == "processors" and len(parts) > 2 else top
            for node in ast.walk(ast.parse(path.read_text(), str(path))):
                for target in targets(node, parts):
                    yield Import(package, "/".join(parts), getattr(node, "lineno", 0), target)


def targets(node: ast.AST, parts: tuple[str, ...]) -> list[str]:
    """Absolute dotted names that a statement in the file `parts` imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = [*parts[: len(parts) - node.level]] if node.level else []
        prefix = ".".join([*base, *filter(None, [node.module])])
        return [f"{prefix}.{alias.name}" for alias in node.names]
    return []


def test_imports_follow_the_table() -> None:
    assert violations(ROOT) == []


def test_there_is_no_import_cycle() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for top in {name.split(".")[0] for name in OURS}
        for path in (ROOT / top).rglob("*.py")
    }
    imported = {
        module: {
            found
            for node in ast.parse(path.read_text()).body
            for target in targets(node, path.relative_to(ROOT).parts)
            if (found := target if target in modules else target.rpartition(".")[0]) in modules and found != module
        }
        for module, path in modules.items()
    }
    TopologicalSorter(imported).prepare()  # raises CycleError that names the modules


def test_every_package_of_the_table_is_read() -> None:
    assert ({*OURS, *HOME.values()} - {"processors"}) - {found.package for found in all_imports(ROOT)} == set()


@pytest.mark.parametrize(
    ("path", "line", "complaint"),
    [
        ("bus/a.py", "import audio.wav", "bus imports audio.wav; of ours it may import only ['contract']"),
        ("store/a.py", "from bus import Bus", "store imports bus.Bus; of ours it may import only ['contract']"),
        ("store/a.py", "import bus", "store imports bus; of ours it may import only ['contract']"),
        ("client/a.py", "from bus import Bus", "client imports bus.Bus; "),
        ("compose/a.py", "import edge", "compose imports edge; "),
        ("edge/a.py", "from processors import vad", "edge imports processors.vad; "),
        ("edge/sub/a.py", "from ...client import api", "edge imports client.api; "),
        ("processors/vad/a.py", "from ..stt import core", "processors.vad imports processors.stt.core; "),
        (
            "processors/new/a.py",
            "import store",
            "processors.new imports store; of ours it may import only ['bus', 'contract']",
        ),
        ("processors/stt/a.py", "from tests.support import x", "processors.stt imports tests.support.x; "),
        ("edge/a.py", "from nats.aio.client import Client", "edge imports nats, which lives only in bus"),
        ("processors/stt/a.py", "import webrtcvad", "processors.stt imports webrtcvad, which lives only in processors"),
        ("compose/a.py", "import psutil", "compose imports psutil; it may import only the standard library"),
    ],
)
def test_a_violation_names_file_line_and_rule(tmp_path: Path, path: str, line: str, complaint: str) -> None:
    plant(tmp_path, path, f"import os\n\ndef f() -> None:\n    {line}\n")
    (found,) = violations(tmp_path)
    assert found.startswith(f"{path}:4: {complaint}")


def test_an_engine_in_two_files_names_both(tmp_path: Path) -> None:
    plant(tmp_path, "processors/stt/one.py", "import faster_whisper\n")
    assert violations(tmp_path) == []
    plant(tmp_path, "processors/stt/two.py", "\nfrom ctranslate2 import models\n")
    rule = "only one file may import ctranslate2 and faster_whisper"
    assert violations(tmp_path) == [f"processors/stt/one.py:1: {rule}", f"processors/stt/two.py:2: {rule}"]


def test_what_decides_reaches_for_nothing(tmp_path: Path) -> None:
    plant(tmp_path, "processors/new/core.py", "import asyncio\n")
    rule = "processors/new/core.py decides, so that it may not import asyncio"
    assert violations(tmp_path) == [f"processors/new/core.py:1: {rule}"]


def test_what_the_table_allows_is_no_violation(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "store/a.py",
        "import redis\nfrom contract import Word\nfrom . import b\n",
    )
    plant(tmp_path, "processors/summary/a.py", "import ollama, store.jobs\nfrom bus import run\nfrom .core import x\n")
    plant(tmp_path, "processors/new/a.py", "import numpy\nfrom bus import run\n")
    plant(tmp_path, "client/a.py", "import audio, typer\nfrom rich.live import Live\n")
    plant(tmp_path, "bus/a.py", "import contract\nfrom nats.js import api\n")
    plant(tmp_path, "tests/a.py", "import nats, redis, client, edge\n")
    assert violations(tmp_path) == []


def plant(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
