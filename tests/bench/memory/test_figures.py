from __future__ import annotations

from bench.memory.figures import Contender, Held, table

HELD: dict[Contender, Held] = {
    "naive": Held(idle=61.24, stalled=None, closed=200),
    "inprocess": Held(idle=67.4, stalled=None),
    "ours": Held(idle=44.51, stalled=79.55),
}


def test_table_says_why_a_figure_is_missing() -> None:
    head, naive, inprocess, ours = table(HELD).splitlines()
    assert head.split()[-2:] == ["idle", "stalled"]
    assert naive.split("  ")[-1] == "a full stream ended 200 connections"
    assert inprocess.split("  ")[-1] == "there is no stream to be full"
    assert ours.split()[-2:] == ["44.5", "79.5"]
    assert len(ours) == len(head)
