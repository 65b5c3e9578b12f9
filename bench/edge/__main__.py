"""What a frame of live sound costs the edge, beside the edge that one would write first.

`python -m bench.edge` lets live streams of real speech talk to one contender after the other, in several rounds, each
with a nats-server of its own: `naive` (Starlette, an awaited publish for each frame), and `ours`. Neither has a
segmenter, so that the same processes stand beside both; `system`, ours and a segmenter, comes on top in each round, for
what the segmenter and those who feed it cost.

Costs are user and system time of each process, the median of spans of two seconds of a window, divided by the frames
acked in it. An ack is timed from when the client hands a frame to its socket until the stream has acknowledged that
frame and all before it; each frame of the seconds behind the window is, so that of those which one ack covers both the
oldest and the newest count. The last line is one JSON object; `ratio` is our edge over the naive one, taken round by
round, then the median; `streams_per_core` are live streams for which one core of an edge is enough.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from bench.deployment import DeployError
from bench.edge.figures import doubts, plot, summary, table
from bench.edge.trials import measure
from bench.load import LoadFailed
from bench.program import report, run_until_told, within
from compose.servers import StartError
from tools.system import ROOT

PLOT = ROOT / "bench" / "out" / "edge.png"


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    trials = run_until_told(measure(args.streams, args.rounds, args.seconds))
    found = summary(trials)
    what = f"{args.streams} live streams, {os.cpu_count()} cores, medians of {args.rounds} rounds of {args.seconds:g} s"
    print(f"us of processor time for a frame of 30 ms: {what}\n")
    print(table(trials))
    print("\nof naive: edge over that of naive, by rounds; nothing but nats-server and clients ran beside these two")
    print("ack: from a frame handed to the client's socket until the stream has it and all before it, of all frames")
    print(f"one core of a segmenter is enough for {found['vad_streams_per_core']} live streams")
    print(f"other programs kept {found['other_programs_cores']:g} cores busy at most; ", end="")
    print(f"frames left the clients {found['client_late_p99_ms']:g} ms late at p99")
    for doubt in doubts(trials):
        print(f"doubtful: {doubt}")
    plot(trials, what, args.plot)
    print(f"plot: {args.plot}")
    return found | {"streams": args.streams, "rounds": args.rounds, "seconds": args.seconds, "cores": os.cpu_count()}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.edge", description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=within(int, 1, 20_000), default=300, metavar="N", help="live at a time (300)")
    parser.add_argument("--rounds", type=within(int, 1, 100), default=3, metavar="N", help="of all contenders (3)")
    parser.add_argument("--seconds", type=within(float, 1, 3_600), default=12.0, metavar="S", help="of a window (12)")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/edge.png)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    return report("edge", lambda: bench(args), LoadFailed, DeployError, StartError, OSError)


if __name__ == "__main__":
    sys.exit(main())
