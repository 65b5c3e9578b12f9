"""What streams cost and how late their finals are, against their number, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.scale.figures import GROUPS, Run
from bench.scale.system import TITLES, Compared, Kind

_COLOURS = {"edge": "tab:blue", "nats": "tab:green", "vad": "tab:orange"}
_LOOKS: dict[Kind, tuple[str, str]] = {"stenobus": ("tab:blue", "o"), "inprocess": ("tab:orange", "s")}


def plot(runs: Sequence[Run], compared: Compared | None, bound: float, title: str, path: Path) -> None:
    """Write a PNG with a panel for each part that was measured; runs: one for each level, as `medians` gives them."""
    panels = (3 if runs else 0) + (1 if compared else 0)
    columns = 2 if panels == 4 else max(panels, 1)
    lines = 2 if panels == 4 else 1
    figure = Figure(figsize=(4.5 * columns, 4 * lines), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    if runs:
        _costs(grid[0], runs)
        _delays(grid[1], runs)
        _memory(grid[2], runs)
    if compared:
        _finals(grid[-1], compared, bound)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _costs(axes: Axes, runs: Sequence[Run]) -> None:
    streams = [run.streams for run in runs]
    below = [0.0] * len(runs)
    for group in GROUPS:
        above = [low + run.cpu[group] for low, run in zip(below, runs, strict=True)]
        axes.fill_between(streams, below, above, color=_COLOURS[group], alpha=0.4, label=group)
        axes.plot(streams, above, "o-", color=_COLOURS[group], markersize=4)
        below = above
    axes.set_ylim(bottom=0)
    _streams(axes, streams, "CPU for a second of sound, us")


def _delays(axes: Axes, runs: Sequence[Run]) -> None:
    for name, spreads, colour in (
        ("ack", [run.ack for run in runs], "tab:blue"),
        ("segmenter", [run.lag for run in runs], "tab:orange"),
    ):
        for q, line in (("p50", ":"), ("p99", "-")):
            points = [(run.streams, ms[q]) for run, ms in zip(runs, spreads, strict=True) if ms.get(q, 0) > 0]
            x, y = [at for at, _ in points], [ms for _, ms in points]
            axes.plot(x, y, f"o{line}", color=colour, markersize=4, label=f"{name} {q}")
    _logarithmic(axes)
    _streams(axes, [run.streams for run in runs], "behind the sound, ms")


def _memory(axes: Axes, runs: Sequence[Run]) -> None:
    streams = [run.streams for run in runs]
    for group in GROUPS:
        axes.plot(streams, [run.kilobytes[group] for run in runs], "o-", color=_COLOURS[group], label=group)
    axes.set_ylim(bottom=0)
    _streams(axes, streams, "memory a stream, kB")


def _finals(axes: Axes, compared: Compared, bound: float) -> None:
    tried = sorted({probe.streams for probe in compared.probes})
    for kind, (colour, marker) in _LOOKS.items():
        for q, line in ((50, ":"), (95, "-")):
            points = []
            for streams in tried:
                found = [probe.ms(q) for probe in compared.probes if (probe.kind, probe.streams) == (kind, streams)]
                if known := [ms / 1_000 for ms in found if ms is not None]:
                    points.append((streams, median(known)))
            label = f"{TITLES[kind]} p{q}" + (f": {compared.streams(kind):g} held" if q == 95 else "")
            x, y = [at for at, _ in points], [seconds for _, seconds in points]
            axes.plot(x, y, f"{marker}{line}", color=colour, markersize=4, label=label)
    axes.axhline(bound, color="grey", linestyle="--", linewidth=1)
    _logarithmic(axes)
    _streams(axes, [], "end of speech to final, s")


def _logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _streams(axes: Axes, levels: Sequence[int], what: str) -> None:
    """Streams along the x axis, with a tick at each level; at powers of two where there are none."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if levels:
        axes.set_xticks(levels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("live streams")
    axes.set_ylabel(what)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.legend(loc="best", fontsize=8)
