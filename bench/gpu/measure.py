"""The measurements of one engine: its start, its texts, its calls, and what it does without memory."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter
from typing import Any

from audio import to_float32
from bench.gpu.phase import Plan, Tell
from bench.speech import Sentence, load_sentences, word_error_rate
from contract import SpeechOptions
from processors.stt.core import DecodeResult, OutOfMemory
from processors.stt.scheduling import limit, scheduler
from processors.stt.scheduling.batcher import Priority
from processors.stt.scheduling.scheduler import Scheduler
from processors.stt.whisper.backend import FULL_WINDOW, Prompt, Search, Whisper
from processors.stt.whisper.decoder import NO_TURNS, Turn
from processors.stt.whisper.engine import SHORTEST_WINDOW, Engine
from processors.stt.whisper.models import choose_compute_type, choose_device, cores, find_model
from processors.stt.whisper.prepared import PreparedAudio, max_tokens
from tools.system import ROOT

NEAR = 0.02
"""Seconds by which a word time may differ: one position of the encoder."""


def device(plan: Plan, tell: Tell) -> None:
    """Where it runs, and on what card."""
    chosen = choose_device(plan.device)
    tell({"device": chosen, "cores": cores()})
    smi = shutil.which("nvidia-smi") if chosen == "cuda" else None
    if smi:
        asked = ("name", "driver_version", "memory.total", "compute_cap")
        said = subprocess.run(
            [smi, f"--query-gpu={','.join(asked)}", "--format=csv,noheader"], capture_output=True, text=True
        )
        tell(dict(zip(asked, said.stdout.partition("\n")[0].split(", "), strict=False)))


def load(plan: Plan, tell: Tell) -> None:
    """Seconds until the large model is ready. The first time with this CUDA_CACHE_PATH it compiles its kernels."""
    began = perf_counter()
    choose_device(plan.device)  # without it: the context of the device, and the first kernel
    device = perf_counter()
    engine = Engine(plan.large, device=plan.device)
    tell(
        {
            "device_s": round(device - began, 2),
            "load_s": round(perf_counter() - device, 2),
            "compute_type": engine.compute_type,
            "workers": engine.workers,
            "batch_size": engine.batch_size,
        }
    )


def texts(plan: Plan, tell: Tell) -> None:
    """Whether the texts are those of the CPU in float32, and whether they depend on what is decoded beside them."""
    sentences = load_sentences(ROOT / "samples")[: plan.sentences]
    options = SpeechOptions()
    cpu = Engine(plan.speech, device="cpu", compute_type="float32")
    theirs = [cpu.transcribe(one.pcm, options).text for one in sentences]
    engine = Engine(plan.speech, device=plan.device, batch_size=max(plan.flips))
    alone = [engine.transcribe(one.pcm, options) for one in sentences]
    said = [one.text for one in sentences]
    tell(
        {
            "utterances": len(sentences),
            "as_on_cpu": sum(one.text == other for one, other in zip(alone, theirs, strict=True)),
            "wer": round(100 * word_error_rate(said, [one.text for one in alone]), 2),
            "wer_cpu": round(100 * word_error_rate(said, theirs), 2),
        }
    )
    for size in plan.flips:
        beside = _beside_others(engine, sentences, options, size)
        flips = sum(one.text != other.text for one, other in zip(alone, beside, strict=True))
        pairs = list(_word_times(alone, beside))
        moved = sum(abs(one - other) > NEAR for one, other in pairs)
        tell({f"flips_{size}": flips, f"moved_{size}": round(moved / max(1, len(pairs)), 4)})


def _beside_others(
    engine: Engine, sentences: Sequence[Sentence], options: SpeechOptions, size: int
) -> list[DecodeResult]:
    """Each utterance in a batch of this size, with others that may share it; where there are too few, they repeat."""
    groups: dict[Hashable, list[tuple[int, PreparedAudio]]] = defaultdict(list)
    found: dict[int, DecodeResult] = {}
    for index, one in enumerate(sentences):
        audio = engine.prepare(one.pcm, options)
        if isinstance(audio, DecodeResult):
            found[index] = audio
        else:
            groups[audio.group].append((index, audio))
    for group in groups.values():
        for start in range(0, len(group), size):
            batch = [group[(start + offset) % len(group)] for offset in range(size)]
            made = engine.decode([audio for _, audio in batch])
            for (index, _), result in zip(batch, made, strict=True):
                found.setdefault(index, result)
    return [found[index] for index in range(len(sentences))]


def _word_times(ones: Sequence[DecodeResult], others: Sequence[DecodeResult]) -> Iterator[tuple[float, float]]:
    for one, other in zip(ones, others, strict=True):
        if one.text == other.text:
            for mine, theirs in zip(_words(one), _words(other), strict=False):
                yield mine.start, theirs.start


def _words(result: DecodeResult) -> list[Any]:
    return [word for segment in result.segments for word in segment.words]


def calls(plan: Plan, tell: Tell) -> None:
    """Milliseconds of each kind of call by batch size, for both models; null: there was no memory."""
    for name, model in (("large", plan.large), ("speech", plan.speech)):
        device = choose_device(plan.device)
        compute_type = choose_compute_type("auto", device)
        whisper = Whisper(find_model(model), device=device, compute_type=compute_type, workers=1, threads=cores())
        sentences = load_sentences(ROOT / "samples")
        found: dict[str, dict[str, float] | None] = {}
        for size in plan.sizes:
            rows = [sentences[row % len(sentences)] for row in range(size)]
            found[str(size)] = None
            with suppress(OutOfMemory):
                found[str(size)] = _time_calls(whisper, rows, plan.rounds)
            tell({name: dict(found)})


def _time_calls(whisper: Whisper, sentences: Sequence[Sentence], rounds: int) -> dict[str, float]:
    """The texts keep their rules and have different lengths; where a model writes them all alike, they are cut."""
    features = [whisper.features(to_float32(one.pcm)) for one in sentences]
    shortest = round(SHORTEST_WINDOW * 100)
    prompts = [Prompt(one.language, "transcribe") for one in sentences]
    encoded = whisper.encode(features, FULL_WINDOW)
    made = whisper.generate(encoded, prompts, Search(), max_tokens(shortest))
    tokens = [[token for token in one.tokens if token < whisper.timestamp_begin] or [1, 2, 3] for one in made]
    tokens = [text[: max(2, len(text) - 2 * (row % 4))] for row, text in enumerate(tokens)]
    frames = [one.shape[1] for one in features]
    timed: dict[str, Callable[[], object]] = {
        "encode_30s": lambda: whisper.encode(features, FULL_WINDOW),
        "encode_15s": lambda: whisper.encode(features, shortest),
        "detect": lambda: whisper.detect_languages(encoded),
        "generate": lambda: whisper.generate(encoded, prompts, Search(), max_tokens(shortest)),
        "generate_beam5": lambda: whisper.generate(encoded, prompts, Search(5), max_tokens(shortest)),
        "align": lambda: whisper.align(encoded, "en", "transcribe", tokens, frames),
    }
    return {kind: round(1_000 * _median_time(call, rounds), 2) for kind, call in timed.items()}


def _median_time(call: Callable[[], object], rounds: int) -> float:
    call()
    seconds = []
    for _ in range(rounds):
        began = perf_counter()
        call()
        seconds.append(perf_counter() - began)
    return median(seconds)


class _Watched(Engine):
    """Notes the batches that fitted, and what the library said of others."""

    def watch(self) -> None:
        self.sizes: list[int] = []
        self.errors: list[str] = []

    def decode(self, batch: Sequence[PreparedAudio], turn: Turn = NO_TURNS) -> list[DecodeResult]:
        try:
            found = super().decode(batch, turn)
        except OutOfMemory as exc:
            self.errors.append(str(exc))
            raise
        self.sizes.append(len(batch))
        return found


def memory(plan: Plan, tell: Tell) -> None:
    """What happens while another process leaves little memory, and afterwards; on a CPU there is no such process."""
    limit.FIRST_PAUSE, scheduler._AGAIN_AFTER = 1.0, 0.2  # a bench has no time for more
    engine = _Watched(plan.large, device=plan.device, batch_size=max(plan.flips))
    sentences = load_sentences(ROOT / "samples")
    backlog = [sentences[index % len(sentences)] for index in range(plan.backlog // 2)]
    levels: list[dict[str, Any]] = []
    with asyncio.Runner() as runner:
        usual = runner.run(_decode_all(engine, backlog, None))
        for left in plan.left:
            with _held(left if plan.device == "cuda" else None) as held:
                levels.append({"left_mb": left, "held_mb": held, **_compared(engine, runner, backlog, usual)})
            tell({"levels": list(levels)})
        began = perf_counter()
        after = _compared(engine, runner, backlog, usual)
        tell({"after": after | {"seconds": round(perf_counter() - began, 2)}})


def _compared(
    engine: _Watched, runner: asyncio.Runner, backlog: Sequence[Sentence], usual: Sequence[str | None]
) -> dict[str, Any]:
    found = runner.run(_decode_all(engine, backlog, None))
    return {
        "largest_batch": max(engine.sizes, default=0),
        "errors": {text: engine.errors.count(text) for text in dict.fromkeys(engine.errors)},
        "without_text": sum(text is None for text in found),
        "other_text": sum(text is not None and text != before for text, before in zip(found, usual, strict=True)),
    }


async def _decode_all(engine: _Watched, backlog: Sequence[Sentence], language: str | None) -> list[str | None]:
    """The text of each utterance, None where there was no memory for it."""
    engine.watch()
    options = SpeechOptions(language=language)
    queue = Scheduler(engine, engine.batch_size, 480.0, asyncio.create_task)

    async def one(sentence: Sentence) -> str | None:
        with suppress(OutOfMemory):
            return (await queue.transcribe(sentence.pcm, options, Priority.UPLOAD)).text
        return None

    try:
        return list(await asyncio.gather(*map(one, backlog)))
    finally:
        queue.close()


@contextmanager
def _held(left: int | None) -> Iterator[int]:
    """Another process takes memory until so many megabytes are left, and ends afterwards; None: there is none."""
    if left is None:
        yield 0
        return
    command = [sys.executable, "-m", "bench.gpu.hold", str(left)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=dict(os.environ)
    ) as holder:
        assert holder.stdin is not None  # noqa: S101 - a pipe
        assert holder.stdout is not None  # noqa: S101
        try:
            yield int(holder.stdout.readline() or 0)
        finally:
            holder.stdin.close()
            holder.wait(10)
