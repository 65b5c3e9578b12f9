"""What only a GPU can show, within eight minutes: `python -m bench.gpu`, and the last line is one JSON object.

It measures how long the first start and later ones take, whether texts are those of the CPU and depend on what is
decoded beside them, what each call of the model takes by batch size, what happens while another process holds the
memory of the card, what a second worker and another allocator bring, and how many live streams are held.

Each part is a process of its own: what fails, hangs or loses the device is named under `failed`, and the rest goes on.
The sentences are those of samples/. They are understood by whisper-micro; speed is measured with a model of the shape
of large-v3-turbo and random weights, whose texts all have 24 tokens, or with the one that --model names. Without a GPU
all of it runs in a short form with whisper-micro, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from bench.gpu import measure, streams
from bench.gpu.phase import Phase, Plan, run
from bench.program import within
from bench.random_whisper import SHAPES, build
from bus import StartError
from processors.stt.whisper.models import find_model
from tools.system import MODEL

SHAPE = "large-v3-turbo"

LAST = 120.0
"""Seconds that are left for the live streams, whatever the other parts take."""

LEAST = 5.0
"""With fewer seconds left a part is left out."""


@dataclass(frozen=True)
class Part:
    """A part of the run. limit: seconds after which it is ended."""

    name: str
    phase: Phase
    limit: float
    env: Mapping[str, str] = field(default_factory=dict)


PARTS = (
    Part("first_start", measure.load, 120),
    Part("start", measure.load, 60),
    Part("texts", measure.texts, 60),
    Part("calls", measure.calls, 60),
    Part("memory", measure.memory, 60),
    Part("one_worker", streams.one_worker, 40),
    Part("two_workers", streams.two_workers, 40),
    Part("caching_allocator", streams.two_workers, 40, {"CT2_CUDA_ALLOCATOR": "cub_caching"}),
    Part("live", streams.live, 480),
)


def short(plan: Plan) -> Plan:
    """The same in a minute on a CPU."""
    return replace(
        plan,
        large=plan.speech,
        sizes=(1, 2),
        flips=(2,),
        sentences=4,
        rounds=1,
        backlog=8,
        left=(64,),
        streams=1,
        most_streams=2,
        seconds=4.0,
    )


def bench(args: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    began = monotonic()
    until = began + 60 * args.minutes
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="stenobus-gpu-") as name:
        os.environ["CUDA_CACHE_PATH"] = str(Path(name, "kernels"))
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # see processors/stt/__init__.py
        plan = Plan(args.device, args.speech_model, args.model or SHAPE)
        found["where"] = run(measure.device, plan, 60)
        if "device" not in found["where"]:
            raise StartError(found["where"].get("failed", "the device does not answer"))
        plan = replace(plan, device=found["where"]["device"])
        if plan.device == "cpu":
            plan = short(plan)
        elif not args.model:
            tell(f"making a model of the shape of {SHAPE}, of random weights")
            plan = replace(plan, large=str(Path(name, SHAPE)))
            build(SHAPES[SHAPE], Path(plan.large))
        for part in PARTS:
            left = until - monotonic() - (0 if part is PARTS[-1] else LAST)
            if left < LEAST:
                found[part.name] = {"failed": "no time was left for it"}
                continue
            tell(f"{part.name}, for at most {min(part.limit, left):.0f} s")
            found[part.name] = run(part.phase, plan, min(part.limit, left), part.env)
    print("\n".join(lines(found)))
    failed = {name: one["failed"] for name, one in found.items() if "failed" in one}
    if "live" in failed and found["live"].get("levels"):
        del failed["live"]  # it is ended by the clock, and what it has held counts
    model = Path(args.model).name if args.model else SHAPE
    return {
        "model": Path(plan.large).name if plan.device == "cpu" else model,
        "random_weights": not args.model and plan.device == "cuda",
        "streams": found["live"].get("held", 0),
        **found,
        "failed": failed,
        "seconds": round(monotonic() - began, 1),
    }


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The figures for a person."""
    made = []
    for name, figures in found.items():
        plain = {key: value for key, value in figures.items() if not isinstance(value, dict | list)}
        made.append(f"{name:18}" + "  ".join(f"{key} {value}" for key, value in plain.items()))
        for key, value in figures.items():
            rows = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
            made += [f"  {key} {row}: {json.dumps(one)}" for row, one in rows]
    return made


def tell(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--model", default="", help=f"whose speed counts, as STT_MODEL (the shape of {SHAPE})")
    parser.add_argument("--speech-model", default=str(MODEL), help="whose texts count (models/whisper-micro)")
    parser.add_argument("--minutes", type=within(float, 0.1, 60), default=7.5, metavar="M", help="at most (7.5)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status, 1 where a part has failed."""
    args = parse(argv)
    try:
        for model in filter(None, (args.model, args.speech_model)):
            find_model(model)
        found = bench(args)
    except StartError as exc:
        print(f"gpu: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print(json.dumps(found))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
