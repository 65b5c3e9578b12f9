"""From the end of speech to the final at the client: what the system adds to the hangover and the inference.

`python -m bench.latency` starts everything on this machine, streams a sample in real time and prints a table; the last
line is one JSON object with the same figures. Exit status 0, or 1 with a sentence that says what went wrong.

There are two baselines. `inprocess` is the server that one would write without a bus (`bench.contenders.inprocess`):
same client, sound, segmenter and model, taking turns with ours. It makes no interim results, and it encodes 30 s for
each segment, where our engine takes a shorter window if the model understands that, as whisper-micro does. With
`--no-partials` and `--whole-windows` ours does as it does: then only the bus is between them. `inference_alone` is what
our speech engine takes for the same segments in this process, after each run, while both systems have nothing to do. A
segment that did not wait for the hangover, because the sound ended before or it became too long, is left out.

With a model for real people, as `--model base`, and no `--sample`, real people talk in `--streams` at a time, 14
utterances a minute each, and `bench.latency.people` measures our system alone: what of the time is whose.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

from audio import AudioError, decode
from bench.deployment import DeployError, OtherPrograms, deployed, inprocess_part
from bench.latency import people
from bench.latency.figures import Measured, finals, plot, spreads, summary, table
from bench.people import understands_people
from bench.program import log_to_stderr, numbers, report, run_until_told, within
from bench.timeline import Endpointing
from bench.trace import FRAME_MS, Meeting, MeetingFailed, hold, timelines, utterances
from bus import StartError, connect
from bus.run import load
from compose.servers import StartError as ServerStartError
from contract import RATE, WIDTH, Utterance
from processors.stt.__main__ import load_engine
from processors.stt.whisper.engine import Engine
from processors.stt.worker import Settings
from tools.assets import AssetError
from tools.system import MODEL, ROOT, SystemFailed, running_system

SAMPLE = ROOT / "samples" / "standup.flac"
PLOT = ROOT / "bench" / "out" / "latency.png"
ENDPOINTING = Endpointing()


async def measure(pcm: bytes, model: str, runs: int, *, partials: bool, whole_windows: bool) -> Measured:
    """Stream the sound to ours and to the baseline, one meeting after the other, each first in turn."""
    settings = load(Settings)
    if whole_windows:
        settings = settings.model_copy(update={"shortest_window": 30.0})
    measured = Measured()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stenobus-latency-")))
        pool = stack.enter_context(ThreadPoolExecutor(1))
        engine = await loop.run_in_executor(pool, load_engine, settings, model)
        other = await stack.enter_async_context(deployed(folder / "inprocess", [inprocess_part(model)]))
        window = str(settings.shortest_window)
        starting = running_system(folder / "ours", STT_MODEL=model, STT_SHORTEST_WINDOW=window)
        system = await stack.enter_async_context(starting)
        bus = await stack.enter_async_context(connect(system.bus_url))
        for run in range(runs):
            print(f"run {run + 1} of {runs}: 2 x {len(pcm) / WIDTH / RATE:.0f} s", file=sys.stderr, flush=True)
            meetings: dict[str, Meeting] = {}
            for url in (system.url, other.url) if run % 2 == 0 else (other.url, system.url):
                meetings[url] = await hold(url, pcm, ENDPOINTING, partials=partials)
            ours = meetings[system.url]
            spoken = await utterances(bus, ours.job)
            ended = {seq: said for seq, said in spoken.items() if ENDPOINTING.applies(said, ours.samples)}
            measured.ways += await timelines(bus, ours, ended, ENDPOINTING)
            measured.inprocess += finals(meetings[other.url], ended.values(), ENDPOINTING)
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


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    if args.sample is None and understands_people(args.model):
        return _bench_people(args)
    args.sample = args.sample or SAMPLE
    pcm = b"".join(decode(args.sample))
    neighbours = OtherPrograms()
    how = {"partials": args.partials, "whole_windows": args.whole_windows}
    measured = run_until_told(measure(pcm, args.model, args.repeat, **how))
    if not measured.ways:
        raise MeetingFailed(f"{args.sample}: hangover ended no segment, so that there is nothing to measure")
    figures = spreads(measured)
    found = summary(figures, len(measured.ways))
    others = neighbours.cores()  # by now all that was started has been waited for, and does not count
    what = f"{args.sample.name} x {args.repeat}, {Path(args.model).name}, {os.cpu_count()} cores"
    interim = "with" if args.partials else "without"
    windows = "whole windows" if args.whole_windows else "windows as short as the model understands"
    print(f"{what}, in {FRAME_MS} ms frames; ours {interim} interim results, {windows}")
    print(f"{len(measured.ways)} segments that {ENDPOINTING.hangover_ms} ms of silence ended; ", end="")
    print(f"left out, ended otherwise: {measured.left_out}\n")
    print(table(figures))
    print(f"\ndecision -> final takes {found['ratio_to_inprocess']:.2f} times as long as without a bus, ", end="")
    print(f"{found['ratio_to_inference_alone']:.2f} times as long as inference alone")
    print(f"meanwhile other programs kept {others:.1f} cores busy")
    plot(measured, figures, what, args.plot)
    print(f"plot: {args.plot}")
    return found | how | {"left_out": measured.left_out, "runs": args.repeat, "other_programs_cores": round(others, 2)}


def _bench_people(args: argparse.Namespace) -> dict[str, Any]:
    neighbours = OtherPrograms()
    measured = run_until_told(people.measure(args.model, args.streams, args.seconds, partials=args.partials))
    others = neighbours.cores()
    interim = "with" if args.partials else "without"
    print(f"real people, 14 utterances a minute, {args.seconds:g} s; {Path(args.model).name}, {os.cpu_count()} cores, ")
    print(f"{interim} interim results, default settings\n")
    print(people.table(measured))
    print(f"\nmeanwhile other programs kept {others:.1f} cores busy")
    return {
        "live": [people.summary(run) for run in measured],
        "model": Path(args.model).name,
        "partials": args.partials,
        "other_programs_cores": round(others, 2),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=within(int, 1, 1_000), default=3, metavar="N", help="runs, in a row (3)")
    parser.add_argument("--sample", type=Path, help="any audio file (samples/standup.flac)")
    parser.add_argument("--model", default=str(MODEL), help="as STT_MODEL (models/whisper-micro): base, ...")
    parser.add_argument("--no-partials", dest="partials", action="store_false", help="no interim results, as inprocess")
    parser.add_argument("--whole-windows", action="store_true", help="of 30 s, as inprocess has them")
    parser.add_argument("--streams", type=numbers, default=(1,), metavar="N,N", help="of real people at a time (1)")
    seconds = within(float, 10, 3_600)
    parser.add_argument("--seconds", type=seconds, default=120.0, metavar="S", help="that each of them talks (120)")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/latency.png)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    log_to_stderr()
    return report(
        "latency",
        lambda: bench(args),
        AssetError,
        AudioError,
        MeetingFailed,
        OSError,
        ServerStartError,
        DeployError,
        StartError,
        SystemFailed,
    )


if __name__ == "__main__":
    sys.exit(main())
