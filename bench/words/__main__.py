"""Word errors of live jobs and uploads, compared with faster-whisper on the whole file.

`python -m bench.words` starts the whole system, sends it recordings of people and mixes of them, and counts the words
and characters that it gets wrong. Contenders, all with the same model, int8 and cores, and no language given:

- `live`: the finals of a live job. It is sent no faster than its finals come, so that they are as in a conversation.
- `corrected`: the second generation of the same job, where there is one.
- `fast`: a job with recorded audio.
- `offline`: faster-whisper's `WhisperModel.transcribe` on the whole file with beam 1 and without its VAD; everything
  else is its default, which means that poor results are decoded again at higher temperatures, where tokens are drawn at
  random: then it is the best of three attempts. `--all` adds beam 5 and its VAD.

Sounds without speech become live jobs, too; all words that they are given are counted. The last line is one JSON
object: error rates in percent over all English material together, gaps (live minus offline) in points,
`words_on_nonspeech`, and `fast_time_ratio`: seconds of `fast` over those of `offline` for the same file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from audio import AudioError
from bench.deployment import OtherPrograms
from bench.program import log_to_stderr, report, run_until_told, within
from bench.words.figures import Result, count, row, summary, table
from bench.words.material import SOUNDS, Material, Nonspeech, materials, nonspeech
from bench.words.offline import OFFLINE, Offline
from bench.words.system import JobFailed, Product
from bus import StartError, connect
from client.errors import ClientError
from processors.stt.whisper.models import cores
from tools.assets import AssetError, model
from tools.system import SystemFailed, running_system

TITLES = {
    "live": "live",
    "corrected": "corrected",
    "fast": "fast",
    "offline": "offline",
    "offline_vad": "with VAD",
    "offline_beam5": "beam 5",
    "offline_beam5_vad": "beam 5, VAD",
}

TIMED = "reading"
"""The material on which seconds are compared."""

AT_ONCE = 8
"""Jobs with sounds that run at a time."""

Args = argparse.Namespace


async def measure(args: Args, chosen: Sequence[Material]) -> dict[str, Any]:
    """Measure and print; returns what the last line says."""
    contenders = {name: title for name, title in TITLES.items() if args.all or name not in list(OFFLINE)[1:]}
    folder = model(args.model)
    offline = await asyncio.to_thread(Offline, folder)
    results, seconds = [], {}
    with tempfile.TemporaryDirectory(prefix="stenobus-words-") as data:
        starting = running_system(
            Path(data),
            STT_MODEL=str(folder),
            STT_DEVICE="cpu",
            STT_COMPUTE_TYPE="int8",
            SUMMARY_CORRECTION_WAIT="600",  # the second generation is to be complete, however long that takes here
        )
        async with starting as system, connect(system.bus_url) as bus:
            product = Product(system.url, bus)
            for material in chosen:
                result, taken = await transcribe(material, product, offline, contenders, args.rounds)
                results.append(result)
                print(row(material.name, [result], contenders), file=sys.stderr, flush=True)
                if args.texts:
                    args.texts.write_text(json.dumps([asdict(one) for one in results], ensure_ascii=False, indent=1))
                if material.name == TIMED:
                    seconds = taken
            sounds, written = await on_nonspeech(product, args.sounds) if args.sounds else (0, {})
    if results:
        print(table(results, contenders))
    found: dict[str, Any] = summary(results, contenders)
    if seconds:
        ratio = found["fast_time_ratio"] = round(seconds["fast"] / seconds["offline"], 2)
        print(f"\n{TIMED}: fast took {seconds['fast']:.1f} s, offline {seconds['offline']:.1f} s, ratio {ratio:.2f}")
    if sounds:
        words = found["words_on_nonspeech"] = sum(len(text.split()) for text in written.values())
        print(f"\nwords on {sounds} sounds without speech: {words}")
        for name, text in written.items():
            print(f"  {name}: {text}")
    return found


async def transcribe(
    material: Material, product: Product, offline: Offline, contenders: Mapping[str, str], rounds: int
) -> tuple[Result, dict[str, float]]:
    """What each contender writes, and the median seconds of `fast` and `offline`, which take turns."""
    pcm = await asyncio.to_thread(material.load)

    def errors(text: str) -> int:
        counted = count(material.text, text, material.language)
        return counted.words.wrong or counted.characters.wrong

    live = await product.live(pcm)
    written = {"live": live.text(), "corrected": live.corrected}
    taken: dict[str, list[float]] = {"fast": [], "offline": []}
    for _ in range(rounds if material.name == TIMED else 1):
        upload = await product.fast(pcm)
        written["fast"] = upload.text()
        taken["fast"].append(upload.seconds)
        attempt = await asyncio.to_thread(offline.best, pcm, "offline", errors)
        written["offline"] = attempt.text
        taken["offline"].append(attempt.seconds)
    for name in contenders:
        if name not in written:
            written[name] = (await asyncio.to_thread(offline.best, pcm, name, errors)).text
    result = Result(material.name, material.group, material.language, material.text, written)
    return result, {name: median(seconds) for name, seconds in taken.items()}


async def on_nonspeech(product: Product, made: int) -> tuple[int, dict[str, str]]:
    """How many sounds without speech there were; and those that a live job gave text to, in any generation."""
    sounds = await asyncio.to_thread(lambda: list(nonspeech(made)))
    free, found = asyncio.Semaphore(AT_ONCE), {}

    async def listen(sound: Nonspeech) -> None:
        async with free:
            written = await product.live(sound.pcm)
        texts = [written.text(generation, sound.since) for generation in written.generations]
        if text := " ".join(filter(None, texts)):
            found[sound.name] = text

    await asyncio.gather(*map(listen, sounds))
    print(f"{len(sounds)} sounds without speech", file=sys.stderr, flush=True)
    return len(sounds), dict(sorted(found.items()))


def bench(args: Args) -> dict[str, Any]:
    """Measure and print; returns what the last line says. Raises ValueError for unknown names."""
    known = materials()
    accepted = {one.name for one in known} | {one.group for one in known}
    if unknown := [name for name in args.only or [] if name not in accepted]:
        raise ValueError(f"--only {','.join(unknown)}: unknown; accepted: {', '.join(sorted(accepted))}")
    quick = [one for one in known if args.all or not one.slow]
    if args.only is None:
        chosen = quick
    else:
        chosen = [one for one in known if one.name in args.only or (one.group in args.only and one in quick)]
    neighbours = OtherPrograms()
    print(f"whisper-{args.model}, cpu, int8, {cores()} cores")
    found = run_until_told(measure(args, chosen))
    print(f"\nmeanwhile other programs kept {(others := neighbours.cores()):.1f} cores busy")
    return found | {"model": args.model, "cores": cores(), "other_programs_cores": round(others, 2)}


def parse(argv: list[str] | None) -> Args:
    """Read the command line; ends the program where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.words", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="NAME,...", help="materials or groups")
    parser.add_argument("--all", action="store_true", help="slow materials and further ways to run faster-whisper, too")
    parser.add_argument("--model", default="base", metavar="NAME", help="one of tools.assets (base)")
    parser.add_argument("--sounds", type=within(int, 0, 10_000), default=SOUNDS, metavar="N", help="made ones (500)")
    parser.add_argument("--rounds", type=within(int, 1, 100), default=2, metavar="N", help="of what is timed (2)")
    parser.add_argument("--texts", type=Path, metavar="JSON", help="write what was said and written to this file")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the bench; gives the exit status."""
    args = parse(argv)
    log_to_stderr()
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # for all contenders; see processors/stt/__init__.py
    failures = (AssetError, AudioError, ClientError, JobFailed, OSError, StartError, SystemFailed, ValueError)
    return report("words", lambda: bench(args), *failures)


if __name__ == "__main__":
    sys.exit(main())
