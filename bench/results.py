"""Makes `bench/RESULTS.md` from the output of the benchmarks: `python -m bench.results > bench/RESULTS.md`.

Where a bench was run as `./justw bench NAME > bench/out/NAME.txt`, its section has what it said and the figures of its
last line; and its picture, where there is one below `bench/plots`. Before them stand the machine, versions and date.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from compose.servers import StartError, nats_server, redis_server
from tools.system import ROOT

OUT, PLOTS = ROOT / "bench" / "out", ROOT / "bench" / "plots"

PACKAGES = (
    *("uvloop", "nats-py", "starlette", "uvicorn", "websockets", "webrtcvad-wheels"),
    *("faster-whisper", "ctranslate2", "fastapi"),
)


@dataclass(frozen=True)
class Section:
    """One benchmark. command: how it is run; about: what its figures are, in a sentence or two."""

    name: str
    title: str
    command: str
    about: str


SECTIONS = (
    Section(
        "edge",
        "Edge: what a frame costs",
        "bench edge",
        "Our edge compared with one that waits for each publish, in turn, each with a nats-server of its own and no "
        "segmenter; then ours with a segmenter. The latency of an ack counts from the moment when a client writes a "
        "frame to its socket.",
    ),
    Section(
        "sessions",
        "Sessions: what opening and ending costs",
        "bench sessions",
        "Clients that open a job, send a second of audio at once, stop and leave.",
    ),
    Section(
        "scale",
        "Scale: few streams and many",
        "bench scale",
        "What a stream costs on the live path as their number grows; and how many the whole system holds, compared "
        "with a server without a bus, with the same audio and model.",
    ),
    Section(
        "latency",
        "Latency: from the end of speech to the final",
        "bench latency",
        "What the system adds to the hangover and the inference, stage by stage, compared with a server without a bus.",
    ),
    Section(
        "stt",
        "Speech model: live streams held",
        "bench stt",
        "Our engine compared with what faster-whisper offers by itself and with a sliding window, with the same model, "
        "audio and cores.",
    ),
    Section(
        "gpu",
        "GPU: what only a card can show",
        "bench gpu",
        "Start, texts, calls, memory and live streams on one GPU, with a model of the shape of large-v3-turbo and "
        "random weights.",
    ),
    Section(
        "words",
        "Words: errors with real people and a stock model",
        "bench words",
        "Live jobs and uploads compared with faster-whisper on the whole file, with the same model and cores. Error "
        "rates are in percent, gaps in points of the word error rate.",
    ),
    Section(
        "memory",
        "Memory of a connection",
        "bench memory",
        "Idle connections, and connections whose audio the bus refuses, compared with a naive edge and a server "
        "without a bus.",
    ),
    Section(
        "soak",
        "Soak: memory over time, and nothing lost",
        "soak",
        "Live streams for a long time, with clients that stop and come back.",
    ),
)


def machine() -> dict[str, str]:
    """What this was measured on, and with. Raises StartError where a server is not installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = {one.name: _version(one.argv[0]) for one in (nats_server(folder), redis_server(folder))}
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": platform.platform(),
        "Python": platform.python_version(),
        **servers,
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> str:
    """Commit of the working tree, and whether it has changes; `unknown` without git."""
    git = shutil.which("git")
    if git is None:
        return "unknown"
    found = _first_line(git, "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    changed = _first_line(git, "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return f"{found}, with changes" if found and changed else found or "unknown"


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout if done.returncode == 0 else "").partition("\n")[0].strip()


def _version(program: str) -> str:
    line = _first_line(program, "--version")
    found = re.search(r"\d+(\.\d+)+", line)
    return found[0] if found else line


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def render(facts: Mapping[str, str], said: Mapping[str, str], plots: Sequence[str]) -> str:
    """The whole document. said: the stdout of benchmarks by name; plots: names of those with a picture.

    Raises ValueError where the last line of one is not a JSON object.
    """
    parts = [
        "# Results",
        "`python -m bench.results` made this from the output of the benchmarks; each section says how to run its own.",
        "## Machine",
        _rows(facts),
    ]
    for section in SECTIONS:
        parts += [f"## {section.title}", f"`./justw {section.command}`. {section.about}"]
        if section.name not in said:
            parts.append("No run is recorded here.")
            continue
        told, figures = split(section.name, said[section.name])
        parts += [f"```text\n{told}\n```", _rows(figures)]
        if section.name in plots:
            parts.append(f"![{section.title}](plots/{section.name}.png)")
    return "\n\n".join(parts) + "\n"


def split(name: str, said: str) -> tuple[str, dict[str, str]]:
    """The text that a benchmark printed, and the figures of its last line. Raises ValueError."""
    told, _, last = said.rstrip().rpartition("\n")
    try:
        found: Any = json.loads(last)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{name}.txt: the last line is not a JSON object, so that the run has not come to its end")
    # The path of the picture on that machine is of no use to readers.
    told = "\n".join(line for line in told.splitlines() if not line.startswith("plot: "))
    return told.strip("\n"), {key: str(value) for key, value in found.items() if isinstance(value, str | float | int)}


def _rows(facts: Mapping[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())])


def main(argv: list[str] | None = None) -> int:
    """Write the document to stdout; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.results", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="of NAME.txt (bench/out)")
    parser.add_argument("--plots", type=Path, default=PLOTS, metavar="FOLDER", help="of NAME.png (bench/plots)")
    args = parser.parse_args(argv)
    files = {section.name: args.out / f"{section.name}.txt" for section in SECTIONS}
    said = {name: path.read_text() for name, path in files.items() if path.exists()}
    plots = [section.name for section in SECTIONS if (args.plots / f"{section.name}.png").exists()]
    try:
        print(render(machine(), said, plots), end="")
    except (StartError, ValueError) as exc:
        print(f"results: {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
