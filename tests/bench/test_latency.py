from __future__ import annotations

from pathlib import Path

import pytest

from bench.latency import main, spreads, summary, table
from bench.timeline import Timeline

WAYS = [
    Timeline(spoken=0.0, decided=0.6, heard=0.601, cut=0.602, written=0.704, told=0.706, inference=0.1),
    Timeline(spoken=9.0, decided=9.6, heard=9.601, cut=9.602, written=9.706, told=9.708, inference=0.1),
]


def test_summary_has_the_figures_that_others_compare() -> None:
    found = summary(spreads(WAYS, [0.05, 0.055]), len(WAYS))
    assert found["segments"] == 2
    assert (found["overhead_p50_ms"], found["overhead_p99_ms"]) == (7.0, 8.0)
    assert found["inprocess_p50_ms"] == 52.5
    assert found["ratio_to_inprocess"] == round(107 / 52.5, 2)


def test_table_has_a_row_for_each_figure() -> None:
    figures = spreads(WAYS, [0.05])
    head, *rows = table(figures).splitlines()
    assert head.split() == ["ms", "p50", "p90", "p99", "max"]
    assert len(rows) == len(figures)
    assert {len(row) for row in rows} == {len(head)}
    assert next(row for row in rows if row.startswith("= overhead")).split()[-4:] == ["7.0", "7.8", "8.0", "8.0"]


@pytest.mark.parametrize("runs", ["0", "-1", "two", "1.5"])
def test_a_bad_number_of_runs_is_named(runs: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([f"--repeat={runs}"])
    assert f"{runs!r} is not a number of runs, 1 or more" in capsys.readouterr().err


def test_a_sample_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sample", str(tmp_path / "none.flac")]) == 1
    assert "none.flac: no such file" in capsys.readouterr().err
