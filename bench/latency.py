"""From the end of speech to the final at the client: what the system adds to the hangover and the inference.

`python -m bench.latency` starts everything on this machine, streams a sample in real time and prints a table; the last
line is one JSON object with the same figures. Exit status 0, or 1 with a sentence that says what went wrong.

The baseline, `inprocess`, is what the speech engine alone takes for the same segments in this process, after each run,
while the system has nothing to do. A segment that did not wait for the hangover, because the sound ended before or it
became too long, is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import structlog

from audio import AudioError, decode
from bench.meeting import FRAME_MS, MeetingFailed, hold
from bench.timeline import FIGURES, Endpointing, Timeline, percentiles
from bench.trace import timelines, utterances
from bus import RATE, WIDTH, StartError, connect
from bus.messages import Utterance
from bus.run import load
from processors.stt.__main__ import Settings, load_engine
from processors.stt.engine import Engine
from tools.system import MODEL, ROOT, SystemFailed, running_system

SAMPLE = ROOT / "samples" / "standup.flac"
ENDPOINTING = Endpointing()

ROWS = {
    "speech_end_to_final": "end of speech -> final",
    "decision_to_final": "decision -> final",
    "inference": "- inference",
    "overhead": "= overhead",
    "edge_in": "  edge in: socket -> AUDIO",
    "vad": "  vad: AUDIO -> SPEECH",
    "stt": "  stt: SPEECH -> EVENTS, without inference",
    "edge_out": "  edge out: EVENTS -> client",
    "inprocess": "inference alone (baseline inprocess)",
}
"""The table's rows, and how a person reads them."""

Spread = dict[str, float]


@dataclass
class Measured:
    """What all runs gave. `left_out`: how many segments hangover did not end."""

    ways: list[Timeline] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    """Seconds that inference alone took for each of them."""
    left_out: int = 0


async def measure(pcm: bytes, model: str, runs: int) -> Measured:
    """Stream the sound to a system of our own, one meeting after the other; after each take the baseline."""
    measured = Measured()
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="stenobus-latency-") as folder, ThreadPoolExecutor(1) as pool:
        engine = await loop.run_in_executor(pool, load_engine, load(Settings), model)
        async with running_system(Path(folder), STT_MODEL=model) as system, connect(system.bus_url) as bus:
            for run in range(runs):
                print(f"run {run + 1} of {runs}: {len(pcm) / WIDTH / RATE:.0f} s", file=sys.stderr)
                meeting = await hold(system.url, pcm, ENDPOINTING)
                spoken = await utterances(bus, meeting.job)
                ended = {seq: said for seq, said in spoken.items() if ENDPOINTING.applies(said, meeting.samples)}
                measured.ways += await timelines(bus, meeting, ended, ENDPOINTING)
                measured.alone += await loop.run_in_executor(pool, infer_alone, engine, ended.values())
                measured.left_out += len(spoken) - len(ended)
    return measured


def infer_alone(engine: Engine, spoken: Iterable[Utterance]) -> list[float]:
    """Seconds that each inference takes with nothing around it."""
    seconds = []
    for utterance in spoken:
        began = perf_counter()
        engine.transcribe(utterance.pcm, utterance.options)
        seconds.append(perf_counter() - began)
    return seconds


def spreads(ways: list[Timeline], alone: list[float]) -> dict[str, Spread]:
    """Percentiles in milliseconds of each figure."""
    figures = {name: percentiles([figure(way) for way in ways]) for name, figure in FIGURES.items()}
    return figures | {"inprocess": percentiles(alone)}


def table(figures: dict[str, Spread]) -> str:
    """Lay the figures out for a person."""
    lines = [f"{'ms':42}{'p50':>9}{'p90':>9}{'p99':>9}{'max':>9}"]
    lines += [f"{title:42}" + "".join(f"{ms:9.1f}" for ms in figures[name].values()) for name, title in ROWS.items()]
    return "\n".join(lines)


def summary(figures: dict[str, Spread], segments: int) -> dict[str, float]:
    """The figures as one flat object; `ratio` is decision -> final over inference alone, medians both."""
    flat = {f"{name}_{q}_ms": spread[q] for name, spread in figures.items() for q in ("p50", "p99")}
    ratio = figures["decision_to_final"]["p50"] / figures["inprocess"]["p50"]
    return {"segments": segments, **flat, "ratio_to_inprocess": round(ratio, 2)}


def bench(sample: Path, model: str, runs: int) -> None:
    """Measure and print."""
    pcm = b"".join(decode(sample))
    measured = asyncio.run(_until_told_to_stop(pcm, model, runs))
    if not measured.ways:
        raise MeetingFailed(f"{sample}: hangover ended no segment, so that there is nothing to measure")
    figures = spreads(measured.ways, measured.alone)
    found = summary(figures, len(measured.ways))
    print(f"{sample.name} x {runs} in {FRAME_MS} ms frames, {Path(model).name}, {os.cpu_count()} cores")
    print(f"{len(measured.ways)} segments that {ENDPOINTING.hangover_ms} ms of silence ended; ", end="")
    print(f"left out, ended otherwise: {measured.left_out}\n")
    print(table(figures))
    print(f"\ndecision -> final takes {found['ratio_to_inprocess']:.2f} times as long as inference alone")
    print(json.dumps(found | {"left_out": measured.left_out, "runs": runs}))


async def _until_told_to_stop(pcm: bytes, model: str, runs: int) -> Measured:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - this runs in one
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await measure(pcm, model, runs)


def _runs(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs, 1 or more")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=_runs, default=3, metavar="N", help="runs, one after another (default: 3)")
    parser.add_argument("--sample", type=Path, default=SAMPLE, help="any audio file (default: samples/standup.flac)")
    parser.add_argument("--model", default=str(MODEL), help="as STT_MODEL (default: models/whisper-micro)")
    args = parser.parse_args(argv)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),  # stdout is for the figures
    )
    try:
        bench(args.sample, args.model, args.repeat)
    except (AudioError, MeetingFailed, StartError, SystemFailed) as exc:
        print(f"latency: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
