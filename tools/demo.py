"""The whole system on this machine, offline, for one minute: streams a sample meeting and shows its transcript.

`python -m tools.demo` exits with status 0 on success; on a failure with 1 and the last lines of all logs. With
`--model base` it runs a stock model, fetched at first, on a recording of a person: whisper-micro knows the sentences of
the samples and nothing else, and no stock model knows their synthetic voices.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import httpx
import jiwer

from tools import assets
from tools.system import MODEL, ROOT, SystemFailed, running_system, stop, tails

SAMPLE = ROOT / "samples" / "standup.flac"
READING = "two_cities"
"""What a stock model hears, one of the recordings in assets.py."""


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


async def demo(model: str = "") -> None:
    """Start everything, stream the sample, stop everything; raises DemoError.

    `model`: a stock model of assets.py, which gets a real recording and is told how many words it has right.
    """
    reading = _fetch(model) if model else None
    sample = reading.path if reading else SAMPLE
    for path in () if reading else (MODEL, SAMPLE):
        if not path.exists():
            raise DemoError(f"{path.relative_to(ROOT)} is missing")
    with tempfile.TemporaryDirectory(prefix="stenobus-demo-") as folder:
        _say("starting bus, store, edge, segmenter, speech model and summary; nothing is downloaded")
        began = monotonic()
        try:
            async with running_system(Path(folder), root=ROOT, STT_MODEL=model or str(MODEL)) as system:
                _say(f"ready at {system.url} after {monotonic() - began:.1f} s")
                if status := await _stream(system.url, sample):
                    raise DemoError(f"the client ended with status {status}\n{tails(system.data)}")
                if reading:
                    await _compare(system.url, reading.text)
        except SystemFailed as exc:
            raise DemoError(str(exc)) from exc
    _say("stopped; nothing is left behind")


def _fetch(model: str) -> assets.Recording:
    try:
        assets.model(model)
        return next(recording for recording in assets.people() if recording.name == READING)
    except assets.AssetError as exc:
        raise DemoError(str(exc)) from exc


async def _stream(url: str, sample: Path) -> int:
    shown = sample.relative_to(ROOT) if sample.is_relative_to(ROOT) else sample.name
    _say(f"streaming {shown} in real time, as a microphone would\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "stream", str(sample), "--server", url),
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "*"},  # the server is on this machine, so that no proxy must be used
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await stop(process)
        raise
    print(flush=True)
    return status


async def _compare(url: str, said: str) -> None:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        job = (await client.get("/api/v1/jobs")).raise_for_status().json()["jobs"][0]["job_id"]
        found = (await client.get(f"/api/v1/jobs/{job}")).raise_for_status().json()["transcript"]
    compared = jiwer.process_words(said, " ".join(re.findall(r"[\w']+", found.lower())))
    _say(f"{compared.hits} of {len(said.split())} words are right, {compared.insertions} too many")


async def _run_until_signal(model: str) -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await demo(model)


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def main(arguments: Sequence[str] = ()) -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="./justw demo", description=__doc__)
    parser.add_argument("--model", choices=assets.MODELS, default="", help="a stock model, instead of whisper-micro")
    try:
        asyncio.run(_run_until_signal(parser.parse_args(arguments).model))
    except DemoError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
