"""How many live streams the speech engine holds, beside what faster-whisper does by itself.

`python -m bench.stt` lets streams talk in real time, with no language given, and measures from the moment that an
utterance is there to its text: from the end of speech without the hangover. whisper-micro hears sentences of samples/,
one every 3.5 s on average; any other model (`--model base`) hears real people, 14 utterances a minute. The baselines
have the same model, sound, beam and cores: one `WhisperModel.transcribe` at a time, `BatchedInferencePipeline`, and a
sliding window that is decoded again each second. The last line is one JSON object; `streams_ratio` is ours over the
best of them, at p95 latency within the bound; `single_latency_ratio` the ratio to one at a time of the median latency
of utterances that are alone; `wer_points` what short encoder windows cost in word errors. Ours and the first two make
finals alone here; interim text beside them is what `bench.latency --streams` measures. `--levers` measures the settings
of the engine one by one. The whole system under live streams is what `bench.scale` measures.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from audio import AudioError
from bench.deployment import OtherPrograms
from bench.people import PEOPLE, load_people, noisy, understands_people
from bench.program import log_to_stderr, numbers, within
from bench.random_whisper import SHAPES, TEXT_TOKENS, build
from bench.speech import SAMPLES, duty_cycle, load_sentences
from bench.stt import levers, live
from bench.stt.contenders import TITLES, Way
from bench.stt.live import plot
from bus import StartError
from processors.stt.whisper.backend import gpus
from processors.stt.whisper.models import Device, choose_compute_type, choose_device, cores
from tools.assets import AssetError
from tools.system import MODEL, ROOT

PLOT = ROOT / "bench" / "out" / "stt.png"

_ERROR_TITLES = {str(kind): title for kind, title in TITLES.items()} | {"whole_windows": "Stenobus, windows of 30 s"}

Args = argparse.Namespace


def bench(args: Args) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    with ExitStack() as stack:
        device = _device(args.device)
        compute_type = choose_compute_type(args.compute_type, device)
        if args.model_shape:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stenobus-shape-")))
            args.model = str(folder / args.model_shape)
            print(f"making a {args.model_shape} of random weights", file=sys.stderr, flush=True)
            build(SHAPES[args.model_shape], Path(args.model))
        args.people = not args.model_shape and understands_people(args.model)
        _choose_defaults(args)
        way = Way("ours", args.model, device, compute_type, args.beam_size)
        name = args.model_shape or Path(args.model).name
        what = f"{name}, {device}, {way.compute_type}, beam {way.beam_size}, {cores()} cores"
        mode = _levers if args.levers else _live
        neighbours = OtherPrograms()
        found = mode(args, way, what)
        others = neighbours.cores()
        print(f"meanwhile other programs kept {others:.1f} cores busy")
        return found | {
            "other_programs_cores": round(others, 2),
            "model": name,
            "device": device,
            "compute_type": way.compute_type,
            "beam_size": way.beam_size,
            "cores": cores(),
        }


def _choose_defaults(args: Args) -> None:
    args.streams = args.streams or ((4,) if args.people else (1, 2, 4, 8, 16, 32))
    if args.quick:
        args.seconds = 10.0 if args.people else 3.0
    args.seconds = args.seconds or (20.0 if args.people else 12.0)
    args.bound = args.bound or (2.0 if args.people else 1.0)
    args.singles = args.singles or (12 if args.people else 55)


def _device(name: Device) -> Literal["cpu", "cuda"]:
    if name == "cuda" and not gpus():
        raise StartError("--device cuda: there is no usable CUDA device here; accepted: auto, cpu")
    return choose_device(name)


def _live(args: Args, way: Way, what: str) -> dict[str, Any]:
    sentences, pace = (load_people(), PEOPLE) if args.people else (load_sentences(ROOT / "samples"), SAMPLES)
    plan = live.Plan(
        args.streams,
        args.seconds,
        args.bound,
        args.most_streams,
        args.singles,
        args.seed,
        pace,
        errors=not args.model_shape,
        noisy=noisy(sentences) if args.people and not args.quick else (),
    )
    compared = live.compare({kind: replace(way, kind=kind) for kind in TITLES}, sentences, plan)
    found = live.summary(compared)
    duty = duty_cycle(sentences, pace)
    print(f"live streams: {what}")
    print(f"an utterance every {pace.every:.1f} s on average, duty cycle {duty:.0%}; ", end="")
    print(f"{args.seconds:g} s each, seed {args.seed}")
    _say_shape(args)
    print("\n" + live.table(compared, sentences, accuracy=not args.model_shape))
    print(f"\nstreams held at p95 <= {args.bound:g} s:")
    for kind, title in TITLES.items():
        print(f"  {title:28}{compared.held[kind]:5}   one utterance alone {found['single_p50_ms'][kind]:7.0f} ms (p50)")
    if compared.errors:
        print(f"\nword errors over {len(sentences) + len(plan.noisy)} utterances, {len(plan.noisy)} of them in noise:")
    for name, rate in compared.errors.items():
        print(f"  {_ERROR_TITLES[name]:28}{100 * rate:5.1f} %")
    plot(compared, args.bound, what, args.plot)
    print(f"plot: {args.plot}")
    return found | {"bound_s": args.bound, "duty_cycle": round(duty, 3)}


def _levers(args: Args, way: Way, what: str) -> dict[str, Any]:
    sentences = (load_people() if args.people else load_sentences(ROOT / "samples"))[: args.sentences]
    found = levers.settings(way, cores())
    gains = levers.measure(found, sentences, args.rounds, min(args.singles, len(sentences)))
    accuracy = not args.model_shape
    print(f"levers: {what}")
    print(f"{len(sentences)} utterances that are there at once, median of {args.rounds} rounds; all else as by default")
    _say_shape(args)
    print("\n" + levers.table(gains, accuracy=accuracy))
    return levers.summary(gains, accuracy=accuracy)


def _say_shape(args: Args) -> None:
    if args.model_shape:
        print(f"random weights: every text has {TEXT_TOKENS} tokens, whatever is said")


def parse(argv: list[str] | None) -> Args:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.stt", description=__doc__.partition("\n")[0])
    parser.add_argument("--levers", action="store_true", help="the settings of the engine, one by one")
    models = parser.add_mutually_exclusive_group()
    models.add_argument("--model", default=str(MODEL), help="as STT_MODEL (models/whisper-micro): base, ...")
    models.add_argument("--model-shape", choices=SHAPES, help="random weights of this shape instead: for speed alone")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--compute-type", default="auto", help="auto: int8 on a CPU, float16 on a GPU")
    parser.add_argument("--beam-size", type=within(int, 1, 10), default=1, metavar="N")
    parser.add_argument("--streams", type=numbers, metavar="N,N", help="always measured (1,2,4,8,16,32; people: 4)")
    parser.add_argument("--most-streams", type=within(int, 1, 4_096), default=1_024, metavar="N", help="tried at most")
    parser.add_argument("--seconds", type=within(float, 1, 3_600), metavar="S", help="of a run (12; people: 20)")
    parser.add_argument("--bound", type=within(float, 0.01, 60), metavar="S", help="p95 latency (1; people: 2)")
    parser.add_argument("--seed", type=within(int, 0, 10_000), default=1, metavar="N", help="of who says what when")
    parser.add_argument("--plot", type=Path, default=PLOT, metavar="PNG", help="(bench/out/stt.png)")
    parser.add_argument("--quick", action="store_true", help="a few seconds, to see that it works: no figures to keep")
    args = parser.parse_args(argv)
    args.singles, args.rounds, args.sentences = None, 3, None
    if args.quick:
        args.streams, args.most_streams = (1, 2), 2
        args.singles, args.rounds, args.sentences = 4, 1, 8
    return args


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    log_to_stderr()
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for all contenders; see processors/stt/__init__.py
    try:
        found = bench(args)
    except (AssetError, AudioError, ChildProcessError, StartError) as exc:
        print(f"stt: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
