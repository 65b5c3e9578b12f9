"""Live clients against a server that runs: `python -m bench.load http://127.0.0.1:8000 --streams 100`."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict

from bench.load import LoadFailed, Plan, Report, Window, generating
from bench.load.report import Meeting
from bench.program import within


async def run(plan: Plan, seconds: float) -> tuple[Window, Report]:
    """Measure one window, announced on stdout when it begins and ends; returns it with the report on all meetings."""
    async with generating(plan) as clients:
        for reason in set(clients.failed):
            print(f"{clients.failed.count(reason)} clients could not come: {reason}", file=sys.stderr)
        await clients.begin()
        print("window", flush=True)
        await asyncio.sleep(seconds)
        window = await clients.end()
        print("end", flush=True)
        return window, await clients.finish()


def table(window: Window, report: Report) -> str:
    """For a person."""
    late = window.late
    return "\n".join(
        [
            f"{len(report.meetings)} meetings, {window.frames} frames in {window.seconds:.1f} s",
            f"late, ms: {late.ms(50):g} p50, {late.ms(99):g} p99, {late.ms(100):g} max; {window.cores:.2f} cores",
            *filter(None, [window.excuse(), report.excuse()]),
        ]
    )


def _brief(meeting: Meeting) -> dict[str, object]:
    return {**asdict(meeting), "told": len(meeting.told), "handed": len(meeting.handed)}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("url", help="of the server")
    parser.add_argument("--streams", type=int, default=10, metavar="N", help="clients at a time (10)")
    parser.add_argument(
        "--seconds", type=within(float, 0.1, 86_400), default=10.0, metavar="S", help="of the window (10)"
    )
    parser.add_argument("--frame-ms", type=int, default=30, metavar="MS", help="of sound in a message (30)")
    parser.add_argument("--ramp", type=float, metavar="S", help="over which they come (50 a second)")
    parser.add_argument("--meeting", type=float, nargs=2, metavar="S", help="stop after this long, and come anew")
    parser.add_argument("--burst", type=float, default=0.0, metavar="S", help="of sound at once, then stop, come anew")
    parser.add_argument("--talk", type=float, default=0.0, metavar="S", help="a talk with pauses, so long, over again")
    parser.add_argument("--silent", action="store_true", help="nobody speaks")
    parser.add_argument("--leave", action="store_true", help="once all is acked: where nobody transcribes")
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=JSON", help="of the jobs: partials=false"
    )
    parser.add_argument("--processes", type=int, default=0, metavar="N", help="(0: as many as it takes)")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument("--meetings", action="store_true", help="each meeting in the JSON, too")
    args = parser.parse_args(argv)
    try:
        args.plan = Plan(
            url=args.url.rstrip("/"),
            streams=args.streams,
            frame_ms=args.frame_ms,
            options=dict(_option(text) for text in args.option),
            leave=args.leave,
            ramp=args.ramp,
            talk=args.talk,
            silent=args.silent,
            meeting=tuple(args.meeting) if args.meeting else None,
            burst=args.burst,
            seed=args.seed,
            processes=args.processes,
        )
    except ValueError as exc:
        parser.error(str(exc))
    return args


def _option(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError as exc:
        raise ValueError(f'--option {text}: NAME=JSON is accepted, as language="ko" or partials=false') from exc


def main(argv: list[str] | None = None) -> int:
    """Run the clients; gives the exit status: 1 where something went wrong. The last line is JSON."""
    args = parse(argv)
    try:
        window, report = asyncio.run(run(args.plan, args.seconds))
    except LoadFailed as exc:
        print(f"load: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(table(window, report))
    found = window.to_json() | {"meetings": len(report.meetings), "samples": report.samples, "unacked": report.unacked}
    if args.meetings:
        found["told"] = [_brief(meeting) for meeting in report.meetings]
    print(json.dumps(found | {"errors": report.errors}))
    return 1 if report.excuse() else 0


if __name__ == "__main__":
    sys.exit(main())
