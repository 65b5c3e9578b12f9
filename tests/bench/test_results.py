from __future__ import annotations

from pathlib import Path

import pytest

from bench.results import SECTIONS, Section, main, render
from tools.system import ROOT

SAID = (
    "a table\n  of two lines\nplot: /tmp/a.png\n\n"
    '{"streams": 300, "ratio": 0.5, "model": "micro", "levels": [{"a": 1}], "no": null}\n'
)


def test_what_a_bench_said_is_its_section() -> None:
    document = render({"date": "2025-01-31"}, {"scale": SAID}, ["scale", "edge"])
    (scale,) = (section for section in SECTIONS if section.name == "scale")
    section = document.partition(f"## {scale.title}\n")[2].partition("\n## ")[0]
    assert "```text\na table\n  of two lines\n```" in section
    assert "| streams | 300 |\n| ratio | 0.5 |\n| model | micro |" in section
    assert "levels" not in section
    assert f"![{scale.title}](plots/scale.png)" in section
    assert "| date | 2025-01-31 |" in document


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
