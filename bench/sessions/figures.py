"""What it costs to open a session, send a second of sound and leave. Pure but for `plot`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bench.load.report import Report, Window
from bench.stt.figures import percentile

Contender = Literal["naive", "inprocess", "ours"]

CONTENDERS: tuple[Contender, ...] = ("naive", "inprocess", "ours")

TITLES: dict[Contender, str] = {
    "naive": "naive: await publish",
    "inprocess": "in process, no bus",
    "ours": "ours",
}

GROUPS = ("edge", "nats", "redis", "vad")


@dataclass(frozen=True)
class Trial:
    """One contender in one round. cpu: milliseconds of processor time for a session, by process."""

    contender: Contender
    rate: float
    """Sessions that ended well in a second."""
    cpu: Mapping[str, float]
    seconds: Sequence[float]
    """That each session took."""
    neighbours: float
    """Cores that other programs kept busy."""
    doubts: Sequence[str]


def trial(contender: Contender, window: Window, report: Report, used: Mapping[str, float], neighbours: float) -> Trial:
    """used: seconds of processor time in the window. Raises ValueError where no session ended well in it."""
    ended = [one for one in report.meetings if one.error is None and window.began <= one.over < window.ended]
    if not ended:
        raise ValueError(f"{TITLES[contender]}: no session ended well; {report.excuse() or 'none had an end'}")
    return Trial(
        contender=contender,
        rate=len(ended) / window.seconds,
        cpu={group: 1_000 * seconds / len(ended) for group, seconds in used.items()},
        seconds=[one.over - one.asked for one in ended],
        neighbours=neighbours,
        doubts=list(filter(None, [report.excuse()])),
    )


def order(number: int) -> list[Contender]:
    """Who comes when in round `number`: each has each place in turn, so that drift hits all alike."""
    turn = number % len(CONTENDERS)
    return [*CONTENDERS[turn:], *CONTENDERS[:turn]]


def middle(trials: Sequence[Trial], contender: Contender, figure: Callable[[Trial], float]) -> float:
    """The median over the rounds. Raises StatisticsError without any."""
    return median(figure(trial) for trial in trials if trial.contender == contender)


def duration_ms(trials: Sequence[Trial], contender: Contender, q: float) -> float:
    """A percentile of what sessions took, over all rounds together. Raises ValueError without any."""
    taken = [seconds for trial in trials if trial.contender == contender for seconds in trial.seconds]
    return 1_000 * percentile(taken, q)


def ratio(trials: Sequence[Trial], contender: Contender) -> float:
    """Its edge over that of the naive one: the median of what each round says."""
    ours = [trial.cpu["edge"] for trial in trials if trial.contender == contender]
    naive = [trial.cpu["edge"] for trial in trials if trial.contender == "naive"]
    return median(one / other for one, other in zip(ours, naive, strict=True))


def table(trials: Sequence[Trial]) -> str:
    """Lay the figures out for a person."""
    lines = [
        f"{'':26}{'a second':>9}" + "".join(f"{f'{group} ms':>10}" for group in GROUPS) + f"{'of naive':>10}"
        f"{'a second and core':>19}{'p50 ms':>9}{'p99 ms':>9}"
    ]
    for contender in CONTENDERS:
        costs = [_cost(trials, contender, group) for group in GROUPS]
        lines.append(
            f"{TITLES[contender]:26}{middle(trials, contender, lambda trial: trial.rate):9.1f}"
            + "".join(f"{'-' if cost is None else f'{cost:.2f}':>10}" for cost in costs)
            + f"{ratio(trials, contender):10.2f}{1_000 / (costs[0] or 1):19.0f}"
            + f"{duration_ms(trials, contender, 50):9.0f}{duration_ms(trials, contender, 99):9.0f}"
        )
    return "\n".join(lines)


def costs(trials: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """Milliseconds for a session by contender's title and process, of those processes that it has."""
    found = {(contender, group): _cost(trials, contender, group) for contender in CONTENDERS for group in GROUPS}
    return {
        TITLES[contender]: {group: cost for group in GROUPS if (cost := found[contender, group]) is not None}
        for contender in CONTENDERS
    }


def _cost(trials: Sequence[Trial], contender: Contender, group: str) -> float | None:
    if any(trial.contender == contender and group not in trial.cpu for trial in trials):
        return None
    return middle(trials, contender, lambda trial: trial.cpu[group])


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """The figures as one flat object; those without a suffix are ours."""
    found: dict[str, Any] = {}
    for contender in reversed(CONTENDERS):
        tail = "" if contender == "ours" else f"_{contender}"
        found[f"sessions_per_s{tail}"] = round(middle(trials, contender, lambda trial: trial.rate), 1)
        for group in GROUPS:
            cost = _cost(trials, contender, group)
            if cost is not None:
                found[f"{group}_ms{tail}"] = round(cost, 3)
        found[f"session_p50_ms{tail}"] = round(duration_ms(trials, contender, 50), 1)
        found[f"session_p99_ms{tail}"] = round(duration_ms(trials, contender, 99), 1)
        if contender != "naive":
            found[f"ratio{tail}"] = round(ratio(trials, contender), 3)
    return found | {
        "other_programs_cores": round(max(trial.neighbours for trial in trials), 2),
        "doubts": doubts(trials),
    }


def doubts(trials: Sequence[Trial]) -> list[str]:
    """What went wrong, and where."""
    return [f"{TITLES[trial.contender]}: {doubt}" for trial in trials for doubt in trial.doubts]


def plot(costs: Mapping[str, Mapping[str, float]], groups: Sequence[str], title: str, path: Path) -> None:
    """Write processor time for a session, in ms, by contender and process, as PNG; a process that is not there is 0."""
    figure = Figure(figsize=(7, 4), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = [name.replace(", ", ",\n").replace(": ", ":\n") for name in costs]
    below = [0.0] * len(names)
    for group in groups:
        heights = [cost.get(group, 0.0) for cost in costs.values()]
        axes.bar(names, heights, bottom=below, label=group, width=0.6)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.set_ylabel("processor time for a session, ms")
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(visible=True, axis="y", alpha=0.3)
    axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
