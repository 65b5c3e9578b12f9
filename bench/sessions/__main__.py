"""How many sessions a second an edge opens and ends, and what each costs, beside servers that do less.

`python -m bench.sessions` has so many clients at a time open a job, send a second of sound at once, stop, wait for the
ack of all of it, leave and come anew. Nobody speaks in it, so that no contender has anything to transcribe. Contenders
take turns in several rounds: `naive` (see `bench.edge`), `inprocess` (no bus), and ours with its segmenter.
Ours tells an ack half a second to a second late, on purpose: what it covers has then reached the disk. So
the rate is that of the clients where the edge is not busy; the cost of a session is the figure to compare. The last
line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.deployment import (
    DeployError,
    OtherPrograms,
    Part,
    deployed,
    edge_part,
    inprocess_part,
    naive_part,
    vad_part,
)
from bench.load import LoadFailed, Plan, generating
from bench.program import report, run_until_told, within
from bench.sessions.figures import GROUPS, TITLES, Contender, Trial, costs, doubts, order, plot, summary, table, trial
from bus import StartError
from compose import servers
from processors.stt.whisper.models import find_model
from tools.system import MODEL, ROOT

PLOT = ROOT / "bench" / "out" / "sessions.png"

SAID = 1.0
"""Seconds of sound in a session."""


async def measure(concurrency: int, rounds: int, seconds: float, model: str) -> list[Trial]:
    """All contenders, as often as there are rounds. Raises DeployError, StartError, LoadFailed, ValueError."""
    trials = []
    for number in range(rounds):
        for contender in order(number):
            trials.append(await _trial(contender, concurrency, seconds, model))
            what = f"round {number + 1} of {rounds}, {TITLES[contender]}"
            print(f"{what}: {trials[-1].rate:.1f} a second", file=sys.stderr, flush=True)
    return trials


async def _trial(contender: Contender, concurrency: int, seconds: float, model: str) -> Trial:
    neighbours = OtherPrograms()
    with tempfile.TemporaryDirectory(prefix="stenobus-sessions-") as name:
        async with deployed(Path(name), _parts(contender, model)) as system:
            plan = Plan(system.url, concurrency, leave=True, burst=SAID, silent=True, ramp=1.0, settle=2.0)
            async with generating(plan) as clients:
                await clients.begin()
                before = system.cpu()
                await asyncio.sleep(seconds)
                after = system.cpu()
                window = await clients.end()
                report = await clients.finish()
    groups = {"naive": {"edge", "nats"}, "inprocess": {"edge"}}.get(contender, set(after))
    used = {group: after[group] - before[group] for group in groups}
    return trial(contender, window, report, used, neighbours.cores())


def _parts(contender: Contender, model: str) -> list[Part]:
    if contender == "naive":
        return [naive_part()]
    if contender == "inprocess":
        return [inprocess_part(model)]
    return [edge_part(requires="vad"), vad_part()]


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    find_model(args.model)
    trials = run_until_told(measure(args.concurrency, args.rounds, args.seconds, args.model))
    found = summary(trials)
    rounds = f"medians of {args.rounds} rounds of {args.seconds:g} s"
    print(f"sessions: {args.concurrency} at a time, {SAID:g} s of sound each, {os.cpu_count()} cores, {rounds}")
    print("ms of processor time for a session, by process\n")
    print(table(trials))
    print(f"\nother programs kept {found['other_programs_cores']:g} cores busy at most")
    for doubt in doubts(trials):
        print(f"doubtful: {doubt}")
    what = f"opening, {SAID:g} s of sound, ending: {args.concurrency} at a time, {os.cpu_count()} cores"
    plot(costs(trials), GROUPS, what, args.plot)
    print(f"plot: {args.plot}")
    return found | {"concurrency": args.concurrency, "rounds": args.rounds, "seconds": args.seconds}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions", description=__doc__.partition("\n")[0])
    parser.add_argument("--concurrency", type=within(int, 1, 5_000), default=100, metavar="N", help="at a time (100)")
    parser.add_argument("--rounds", type=within(int, 1, 100), default=2, metavar="N", help="of all contenders (2)")
    parser.add_argument("--seconds", type=within(float, 1, 3_600), default=10.0, metavar="S", help="of a window (10)")
    parser.add_argument("--model", default=str(MODEL), help="of inprocess, as STT_MODEL (models/whisper-micro)")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/sessions.png)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    return report(
        "sessions",
        lambda: bench(args),
        LoadFailed,
        DeployError,
        StartError,
        servers.StartError,
        OSError,
        ValueError,
    )


if __name__ == "__main__":
    sys.exit(main())
