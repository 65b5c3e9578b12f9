from __future__ import annotations

from dataclasses import asdict

import pytest

from bench.speech import load_sentences
from bench.stt.contenders import Way
from bench.stt.levers import measure, settings
from tools.system import MODEL, ROOT

CPU = Way("ours", str(MODEL), "cpu", "int8")
CUDA = Way("ours", str(MODEL), "cuda", "float16")


def named(way: Way, cores: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for setting in settings(way, cores):
        found.setdefault(setting.lever, []).append(setting.name)
    return found


def test_the_levers_of_a_cpu() -> None:
    assert named(CPU, 2) == {
        "encoder window": ["always 30 s", "from 5 s on"],
        "batch size": ["1", "4", "8", "16"],
        "compute type": ["int8", "float32"],
        "workers x threads": ["1 x 2", "2 x 1", "1 x 1, 2 processes"],
        "beam size": ["1", "5"],
    }


def test_each_setting_changes_one_thing() -> None:
    for setting in settings(CPU, 2):
        differing = {name for name, value in asdict(setting.way).items() if value != asdict(CPU)[name]}
        assert differing <= {"workers", "threads", "processes"} or len(differing) <= 1, setting


@pytest.mark.slow
def test_a_lever_is_measured_with_its_accuracy() -> None:
    found = [setting for setting in settings(CPU, 2) if setting.lever == "encoder window"]
    gains = measure(found, load_sentences(ROOT / "samples")[:4], rounds=1, singles=1)
    assert [gain.setting.name for gain in gains] == ["always 30 s", "from 5 s on"]
    assert all(gain.throughput > 0 and gain.per_core > 0 and gain.alone > 0 and gain.errors <= 0.1 for gain in gains)
