"""What a live stream costs when there are few and when there are many, and how many are held.

`python -m bench.scale` has two parts. `live`: edge, nats-server and segmenter under 10 to 1,000 streams of real speech
in real time, no speech model: CPU for each second of sound, how long until a frame is durable, how late the segmenter
is, memory. `system`: everything, with a speech model, beside `bench.contenders.inprocess` on the same sound and model:
how many streams have 95 of 100 finals within two seconds of the end of speech. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from audio import AudioError
from bench.deployment import DeployError, OtherPrograms
from bench.load import LoadFailed
from bench.program import log_to_stderr, numbers, report, run_until_told, within
from bench.scale import live, system
from bench.scale.figures import Run, medians, summary, table
from bench.scale.live import LivePlan
from bench.scale.plot import plot
from bench.scale.system import TITLES, Compared, SystemPlan
from bench.speech import EVERY
from bus import StartError
from compose.servers import StartError as ServerStartError
from processors.stt.whisper.models import cores, find_model
from tools.system import MODEL, ROOT, SystemFailed

PLOT = ROOT / "bench" / "out" / "scale.png"
LEVELS = (10, 50, 100, 200, 300, 500, 1_000)

Args = argparse.Namespace


def bench(args: Args) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    neighbours = OtherPrograms()
    found: dict[str, Any] = {}
    rounds: list[list[Run]] = []
    compared: Compared | None = None
    if args.only != "system":
        rounds = run_until_told(live.measure(LivePlan(args.levels, args.rounds, args.ramp, args.window)))
        found |= summary(rounds)
        print(f"the live path without a speech model, {cores()} cores, medians of {args.rounds} rounds\n")
        print(table(medians(rounds)) + "\n")
    if args.only != "live":
        plan = SystemPlan(args.model, args.rounds, most=args.most_streams, bound=args.bound, window=args.system_window)
        compared = run_until_told(system.compare(plan))
        found |= system.summary(compared, args.bound)
        print(f"the whole system, {Path(args.model).name}, {cores()} cores, a sentence every {EVERY} s on average\n")
        print(system.table(compared))
        for kind, title in TITLES.items():
            streams = compared.streams(kind)
            more = ", as many as were tried" if streams >= args.most_streams else ""
            print(f"{title}: {streams:g} streams at p95 <= {args.bound:g} s{more}")
    others = neighbours.cores()
    print(f"meanwhile other programs kept {others:.1f} cores busy")
    plot(medians(rounds), compared, args.bound, f"live streams, {cores()} cores", args.plot)
    print(f"plot: {args.plot}")
    return found | {"rounds": args.rounds, "cores": cores(), "other_programs_cores": round(others, 2)}


def parse(argv: list[str] | None) -> Args:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("live", "system"), help="one of the two parts")
    parser.add_argument("--rounds", type=within(int, 1, 20), default=2, metavar="N", help="of each part (2)")
    levels = ",".join(map(str, LEVELS))
    parser.add_argument("--levels", type=numbers, default=LEVELS, metavar="N,N", help=f"live: streams ({levels})")
    parser.add_argument(
        "--ramp",
        type=within(float, 0, 600),
        default=10.0,
        metavar="S",
        help="over which they come (10; system: 4 at most)",
    )
    parser.add_argument("--window", type=within(float, 1, 600), default=12.0, metavar="S", help="live: measured (12)")
    parser.add_argument("--model", default=str(MODEL), help="system: as STT_MODEL (models/whisper-micro)")
    parser.add_argument("--bound", type=within(float, 0.1, 60), default=2.0, metavar="S", help="system: of the p95 (2)")
    parser.add_argument(
        "--system-window", type=within(float, 4, 600), default=22.0, metavar="S", help="system: measured (22)"
    )
    parser.add_argument(
        "--most-streams", type=within(int, 1, 4_096), default=1_000, metavar="N", help="system: tried at most (1000)"
    )
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/scale.png)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    log_to_stderr()

    def checked() -> dict[str, Any]:
        if args.only != "live":
            find_model(args.model)
        return bench(args)

    return report(
        "scale",
        checked,
        AudioError,
        LoadFailed,
        DeployError,
        StartError,
        ServerStartError,
        SystemFailed,
        ValueError,
    )


if __name__ == "__main__":
    sys.exit(main())
