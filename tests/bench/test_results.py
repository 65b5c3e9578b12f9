from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.results import SECTIONS, Section, machine, main, render, split
from tools.system import ROOT

SAID = (
    "a table\n  of two lines\nplot: /tmp/a.png\n\n"
    '{"streams": 300, "ratio": 0.5, "model": "micro", "levels": [{"a": 1}], "no": null}\n'
)


def test_the_machine_is_told_with_all_versions() -> None:
    facts = machine()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", facts["date"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["nats-server"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", facts["redis-server"])
    assert re.match(r"\d+\.\d+", facts["faster-whisper"])
    assert all(facts.values())


def test_what_a_bench_said_is_its_section() -> None:
    document = render({"date": "2025-01-31"}, {"scale": SAID}, ["scale", "edge"])
    (scale,) = (section for section in SECTIONS if section.name == "scale")
    section = document.partition(f"## {scale.title}\n")[2].partition("\n## ")[0]
    assert "```text\na table\n  of two lines\n```" in section
    assert "| streams | 300 |\n| ratio | 0.5 |\n| model | micro |" in section
    assert "levels" not in section
    assert f"![{scale.title}](plots/scale.png)" in section
    assert "| date | 2025-01-31 |" in document


def test_a_bench_that_was_not_run_says_so_and_shows_no_old_picture() -> None:
    document = render({}, {}, ["edge"])
    assert document.count("No run is recorded here.") == len(SECTIONS)
    assert "plots/" not in document


@pytest.mark.parametrize("said", ["", "a table\n", 'a table\n{"streams": \n', "a table\n[1]\n"])
def test_a_run_that_broke_off_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"scale\.txt: the last line is not a JSON object"):
        split("scale", said)


def test_files_become_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "soak.txt").write_text(SAID)
    assert main(["--out", str(tmp_path), "--plots", str(tmp_path)]) == 0
    assert "of two lines" in capsys.readouterr().out
    (tmp_path / "edge.txt").write_text("Traceback\n")
    assert main(["--out", str(tmp_path), "--plots", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("results: edge.txt: the last line")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_each_section_is_of_a_bench_that_there_is_and_in_the_document(section: Section) -> None:
    assert (ROOT / "bench" / section.name / "__main__.py").exists()
    assert f"## {section.title}\n" in (ROOT / "bench" / "RESULTS.md").read_text()
