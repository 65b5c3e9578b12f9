"""Real people at their own pace through the whole system: how late their text is, and what takes how long.

Speech begins and ends where it does in the recordings (`bench.people`), whatever the system makes of it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any

from bench.people import PEOPLE, load_people
from bench.speech import Said, Sentence, tape, word_error_rate
from bench.stt.figures import percentile
from bench.trace import Meeting, MeetingFailed, hold, stored_at, transcripts, utterances
from bus import Bus, connect
from contract import RATE, Transcript, Utterance
from tools.system import running_system

PARTS = {
    "hangover": "silence that ends the segment",
    "queue": "preparing, waiting for the model",
    "encode": "encoder",
    "decode": "decoder",
    "inference": "encoder and decoder",
    "rest": "bus, edge and client",
}
"""What the time from the end of speech to the final is the sum of, in order, and how a person reads it."""


@dataclass(frozen=True, slots=True)
class Told:
    """The text of one utterance. Seconds."""

    final: float
    """From the end of speech to the final at the client."""
    partial: float | None
    """From the beginning of speech to the first interim text; None where there was none."""
    parts: dict[str, float]
    """Of `final`, by the names of PARTS that apply; their sum is `final`."""


@dataclass
class Measured:
    """What a run with so many streams gave. missed: utterances without a segment that holds their end."""

    streams: int
    told: list[Told] = field(default_factory=list)
    missed: int = 0
    said: list[str] = field(default_factory=list)
    """The words of each stream; `heard`: what became of them."""
    heard: list[str] = field(default_factory=list)


async def measure(model: str, levels: Sequence[int], seconds: float, *, partials: bool) -> list[Measured]:
    """Let so many streams talk at a time, one level after the other, in one system. Raises MeetingFailed and others."""
    sentences = load_people()
    found = []
    with tempfile.TemporaryDirectory(prefix="stenobus-latency-") as folder:
        async with running_system(Path(folder), STT_MODEL=model) as system, connect(system.bus_url) as bus:
            for streams in levels:
                print(f"{streams} streams: {seconds:g} s", file=sys.stderr, flush=True)
                tapes = [tape(sentences, seconds, seed, PEOPLE) for seed in range(streams)]
                async with asyncio.TaskGroup() as group:
                    held = [
                        group.create_task(hold(system.url, pcm, None, partials=partials, end_within=60 + seconds))
                        for pcm, _ in tapes
                    ]
                measured = Measured(streams)
                for meeting, (_, said) in zip(held, tapes, strict=True):
                    await _add(measured, bus, meeting.result(), said, sentences)
                found.append(measured)
    return found


async def _add(
    measured: Measured, bus: Bus, meeting: Meeting, said: Sequence[Said], sentences: Sequence[Sentence]
) -> None:
    """Add what became of each utterance of a meeting."""
    spoken = await utterances(bus, meeting.job)
    written = await transcripts(bus, meeting.job)
    measured.said.append(" ".join(sentences[one.sentence].text for one in said))
    measured.heard.append(" ".join(transcript.text for _, (_, transcript) in sorted(written.items())))
    for one in said:
        found = segment_of(one, spoken)
        if found is None:
            measured.missed += 1
            continue
        seq, utterance = found
        transcript_seq, transcript = written[utterance.index]
        cut, made = await stored_at(bus, "SPEECH", seq), await stored_at(bus, "EVENTS", transcript_seq)
        ended, told = meeting.handed_with(one.end), meeting.told[utterance.index]
        parts = split(told - ended, cut - ended, made - cut, transcript)
        measured.told.append(Told(told - ended, first_partial(one, meeting), parts))
    if not measured.told:
        raise MeetingFailed("no utterance became a segment")


def segment_of(said: Said, spoken: dict[int, Utterance]) -> tuple[int, Utterance] | None:
    """The segment that holds the end of what was said, with its sequence."""
    holding = (item for item in spoken.items() if item[1].start < said.end <= item[1].end)
    return next(holding, None)


def first_partial(said: Said, meeting: Meeting) -> float | None:
    """Seconds from the beginning of speech to the first interim text of a segment that began with it."""
    earliest = said.start - round(PEOPLE.least_pause * RATE)
    moments = (at for at, start in meeting.partials if earliest < start < said.end)
    first = min(moments, default=None)
    return None if first is None else first - meeting.handed_with(max(1, said.start))


def split(final: float, hangover: float, worker: float, transcript: Transcript) -> dict[str, float]:
    """Divide the time to the final; worker: seconds that the utterance was with the speech worker.

    How long the encoder and the decoder took is known where the worker recorded the timing of its calls. What was
    decoded ahead took its time while the hangover lasted, so that only what the worker still needed is theirs.
    """
    timing = transcript.timing
    if timing:
        model = {"encode": timing.get("encode", 0.0)}
        model["decode"] = sum(timing.get(call, 0.0) for call in ("detect", "generate", "align"))
    else:
        model = {"inference": transcript.elapsed}
    if (inference := sum(model.values())) > worker:
        model = {name: seconds * worker / inference for name, seconds in model.items()}
    parts = {"hangover": hangover, "queue": worker - sum(model.values()), **model}
    return parts | {"rest": final - sum(parts.values())}


def summary(measured: Measured) -> dict[str, Any]:
    """Its figures, as the last line has them."""
    partials = [told.partial for told in measured.told if told.partial is not None]
    finals = [told.final for told in measured.told]
    return {
        "streams": measured.streams,
        "finals": len(finals),
        "missed": measured.missed,
        "final_p50_ms": round(1_000 * percentile(finals, 50)),
        "final_p95_ms": round(1_000 * percentile(finals, 95)),
        "first_partial_p50_ms": round(1_000 * median(partials)) if partials else None,
        "without_partial": len(finals) - len(partials),
        "share": {name: round(seconds / mean(finals), 3) for name, seconds in means(measured).items()},
        "wer": round(100 * word_error_rate(measured.said, measured.heard), 2),
    }


def means(measured: Measured) -> dict[str, float]:
    """Seconds of each part on average, in the order of PARTS."""
    known = [told.parts for told in measured.told]
    return {name: mean(parts.get(name, 0.0) for parts in known) for name in PARTS if any(name in p for p in known)}


def table(runs: Sequence[Measured]) -> str:
    """Lay the figures out for a person."""
    lines = [
        f"{'streams':>7}{'finals':>8}{'missed':>8}{'p50 ms':>9}{'p95 ms':>9}{'first interim p50 ms':>22}{'WER %':>8}"
    ]
    for run in runs:
        found = summary(run)
        interim = "-" if found["first_partial_p50_ms"] is None else found["first_partial_p50_ms"]
        lines.append(
            f"{run.streams:7}{found['finals']:8}{run.missed:8}{found['final_p50_ms']:9}{found['final_p95_ms']:9}"
            f"{interim:>22}{found['wer']:8.1f}"
        )
    lines += ["", "end of speech -> final, on average:"]
    for run in runs:
        whole = mean(told.final for told in run.told)
        lines += [f"  {run.streams} streams, {1_000 * whole:.0f} ms"]
        lines += [
            f"    {PARTS[name]:32}{1_000 * seconds:7.0f} ms {seconds / whole:6.0%}"
            for name, seconds in means(run).items()
        ]
    return "\n".join(lines)
