"""`python -m chaos --seconds 600 --meetings 8 --seed S`: exit status 0 if not a word was lost, doubled or changed."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from chaos.driver import Outcome, Plan, run
from chaos.system import NotReady
from chaos.verdict import of_faults, of_verdicts, totals
from tools.system import SystemFailed


def main() -> int:
    """Run, print both tables and, as the last line, one JSON object."""
    args = _arguments()
    plan = Plan(args.seed, args.seconds, args.meetings, args.every, args.patience, frozenset(args.spare or ()))
    try:
        outcome = asyncio.run(_until_told_to_stop(plan, args.keep))
    except (NotReady, SystemFailed) as exc:
        print(f"chaos: {exc}", file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        return 130
    return report(plan, outcome)


def report(plan: Plan, outcome: Outcome) -> int:
    """Print what came of it; returns the exit status."""
    sums = totals([*outcome.verdicts, *outcome.calm])
    unwell = [verdict for verdict in outcome.calm if verdict.problems]
    codes = ", ".join(f"{code} x {times}" for code, times in sorted(outcome.closes.items()))
    print(of_faults(outcome.faults), "\n")
    print(of_verdicts([*outcome.verdicts, *unwell]), "\n")
    print(f"in calm: {len(outcome.calm)} meetings, {len(unwell)} of them with problems")
    print(f"under faults, connections ended with {codes}; {outcome.evictions} were taken over from by older ones\n")
    figures = {"faults": len(outcome.faults)} | sums | {"held": len(outcome.verdicts)}
    asked = {"seed": plan.seed, "seconds": plan.seconds, "meetings": plan.meetings}
    print(json.dumps(figures | asked), flush=True)
    return 1 if any(sums.values()) else 0


async def _until_told_to_stop(plan: Plan, keep: Path | None) -> Outcome:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with AsyncExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stenobus-chaos-")))
        return await run(plan, folder, lambda text: print(f"chaos: {text}", file=sys.stderr, flush=True))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m chaos",
        description="Holds meetings while processes are killed and stopped, connections break and garbage is "
        "published; then compares what is on the bus with what was sent and with the same meetings held in calm.",
    )
    parser.add_argument("--seconds", type=_positive, default=600, help="how long faults come (default: %(default)s)")
    parser.add_argument("--meetings", type=_count, default=8, help="meetings at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which faults, and which meetings (default: %(default)s)")
    parser.add_argument(
        "--every", type=_positive, default=3, help="seconds between faults, on average (default: %(default)s)"
    )
    parser.add_argument(
        "--patience",
        type=_positive,
        default=180,
        help="seconds for the rest after the last fault (default: %(default)s)",
    )
    parser.add_argument("--spare", action="append", metavar="NAME", help="leave this process, or `client`, alone")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all data and logs in this folder")
    return parser.parse_args()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
