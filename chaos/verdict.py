"""Was anything lost, duplicated or changed? From the evidence of one meeting to figures, sentences and tables. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from chaos.evidence import Evidence, Segment, clock, witnesses
from chaos.faults import Fault
from contract import WIDTH

TOLERANCE = 480
"""Samples by which the edge of a segment may differ from the calm run's: one frame of 30 ms."""

ONCE = ("opened", "closed", "segmented", "summary", "completed")


@dataclass
class Verdict:
    """One meeting's result; all counts are 0 where all is well, and each that is not has a sentence in `problems`."""

    name: str
    job: str
    samples: int = 0
    segments: int = 0
    connections: int = 0
    acked_samples_lost: int = 0
    segments_missing: int = 0
    segments_doubled: int = 0
    unfinished: int = 0
    text_differs: int = 0
    other: int = 0
    problems: list[str] = field(default_factory=list)

    def note(self, count: str, amount: int, sentence: str) -> None:
        """Add to a count, with the reason; an amount of 0 changes nothing."""
        if amount:
            setattr(self, count, getattr(self, count) + amount)
            self.problems.append(sentence)


def judge(evidence: Evidence, calm: Sequence[Segment] | None) -> Verdict:
    """Hold a meeting against what was sent, and against the segments of the same sound in calm (None: not known)."""
    verdict = Verdict(
        evidence.name,
        evidence.job,
        samples=len(evidence.sent) // WIDTH,
        segments=len(evidence.transcripts),
        connections=evidence.told.closes.total(),
    )
    _judge_sound(verdict, evidence)
    _judge_indexes(verdict, evidence, None if calm is None else len(calm))
    _judge_end(verdict, evidence)
    if calm is not None:
        _judge_text(verdict, evidence.transcripts, calm)
    for sentence in evidence.told.problems:
        verdict.note("other", 1, f"the client {sentence}")
    return verdict


def _judge_sound(verdict: Verdict, evidence: Evidence) -> None:
    sent, stored = (np.frombuffer(pcm, "<i2") for pcm in (evidence.sent, evidence.pcm))
    acked = max((ack.samples for ack in evidence.told.acks), default=0)
    common = min(len(sent), len(stored))
    wrong = np.flatnonzero(sent[:common] != stored[:common])
    below = int(np.count_nonzero(wrong < acked))
    verdict.note("acked_samples_lost", below, f"{below} acked samples differ, the first at {_first(wrong)}")
    gone = max(0, acked - len(stored))
    verdict.note("acked_samples_lost", gone, f"acked up to {clock(acked)}, stored up to {clock(len(stored))}")
    rest = len(wrong) - below
    verdict.note("other", rest, f"{rest} samples that were never acked differ, the first at {_first(wrong[below:])}")
    if evidence.told.finished and len(stored) != len(sent):
        verdict.note("other", 1, f"sent up to {clock(len(sent))}, stored up to {clock(len(stored))}")
    if evidence.closed is not None and evidence.closed != len(sent):
        verdict.note("other", 1, f"closed at {clock(evidence.closed)}, sent up to {clock(len(sent))}")
    for ack, piece in witnesses(evidence.told.acks, evidence.pieces).items():
        late = evidence.stored_at[piece.seq] - ack.at
        if late > 0:
            early = ack.samples - piece.start
            sentence = f"acked up to {clock(ack.samples)}, but that was stored {late:.3f} s later"
            verdict.note("acked_samples_lost", early, sentence)


def _first(samples: np.ndarray) -> str:
    return clock(int(samples[0])) if len(samples) else "none"


def _judge_indexes(verdict: Verdict, evidence: Evidence, expected: int | None) -> None:
    counts = sorted({index for index, _ in evidence.counts})
    if not counts:
        verdict.note("other", 1, "the segmenter never said how many segments there are")
    verdict.note(
        "segments_doubled", max(0, len(evidence.counts) - 1), f"{len(evidence.counts)} marks of the end of speech"
    )
    total = expected if expected is not None else max(counts, default=0)
    if counts and counts != [total]:
        verdict.note("other", 1, f"the segmenter counted {counts} segments; there should be {total}")
    for what, found in (("speech", evidence.speech), ("transcript", evidence.transcripts)):
        seen = Counter(segment.index for segment in found)
        missing = [index for index in range(total) if not seen[index]]
        doubled = [index for index, times in seen.items() if times > 1]
        beyond = [index for index in seen if index >= total]
        verdict.note("segments_missing", len(missing), f"{what} misses {missing}")
        verdict.note("segments_doubled", sum(seen[index] - 1 for index in doubled), f"{what} has {doubled} repeatedly")
        verdict.note("segments_doubled", len(beyond), f"{what} has {beyond} beyond the {total} there should be")
        if what == "speech" and [segment.index for segment in found] != sorted(seen):
            verdict.note("other", 1, "speech is not stored in order")


def _judge_end(verdict: Verdict, evidence: Evidence) -> None:
    if not evidence.told.finished or evidence.state != "completed":
        heard = evidence.told.finished or "nothing"
        verdict.note("unfinished", 1, f"the client heard of its end by {heard}, the state is {evidence.state!r}")
    for kind in ONCE:
        if (times := evidence.kinds.get(kind, 0)) != 1:
            verdict.note("other", 1, f"{times} events `{kind}`")
    doubled = len(evidence.corrected) - len({segment.index for segment in evidence.corrected})
    verdict.note("segments_doubled", doubled, f"{doubled} corrected transcripts are there twice")
    finished = evidence.transcripts if evidence.generation == 1 else evidence.corrected
    written = {segment.index: segment.text for segment in evidence.transcripts}
    if evidence.state == "completed" and list(evidence.record) != sorted(finished):
        verdict.note("other", 1, "the store has other segments than the bus")
    told = evidence.told.segments
    wrong = [index for index, text in told.items() if written.get(index) != text]
    verdict.note("text_differs", len(wrong), f"the client was told another text than the bus has for {wrong}")
    untold = sorted(set(written) - set(told))
    if evidence.told.finished == "socket":
        acked = max((ack.samples for ack in evidence.told.acks), default=0)
        verdict.note("other", int(acked != verdict.samples), f"the last ack was {clock(acked)}")
        verdict.note("segments_missing", len(untold), f"the client was never told {untold}")


def _judge_text(verdict: Verdict, found: Iterable[Segment], calm: Sequence[Segment]) -> None:
    expected = {segment.index: segment for segment in calm}
    for segment in found:
        if (wanted := expected.get(segment.index)) is None:
            continue  # counted already
        if segment.text != wanted.text:
            verdict.note("text_differs", 1, f"{segment.index} is {segment.text!r}, in calm {wanted.text!r}")
        elif max(abs(segment.start - wanted.start), abs(segment.end - wanted.end)) > TOLERANCE:
            edges = f"{clock(segment.start)} to {clock(segment.end)}"
            verdict.note("text_differs", 1, f"{segment.index} is {edges}, in calm {wanted.start} to {wanted.end}")


COUNTS = ("acked_samples_lost", "segments_missing", "segments_doubled", "unfinished", "text_differs", "other")
"""All of them must be 0."""

_HEADINGS = {
    "meeting": "meeting",
    "samples": "samples",
    "segments": "segments",
    "connections": "connections",
    "acked_samples_lost": "acked lost",
    "segments_missing": "missing",
    "segments_doubled": "doubled",
    "unfinished": "unfinished",
    "text_differs": "text differs",
    "other": "other",
}


def of_faults(done: Iterable[Fault]) -> str:
    """How often each kind of fault hit each process."""
    struck = Counter((process(fault), fault.kind) for fault in done)
    kinds = sorted({kind for _, kind in struck})
    rows = [
        [name, *(str(struck[name, kind] or "") for kind in kinds), str(sum(struck[name, kind] for kind in kinds))]
        for name in sorted({name for name, _ in struck})
    ]
    return grid(["faults", *kinds, "all"], rows)


def process(fault: Fault) -> str:
    """The kind of process that a fault hit: `edge-2` is an `edge`, a poisoned subject belongs to its stream."""
    if fault.kind == "poison":
        return fault.target.split(".")[0].upper()
    name, _, number = fault.target.rpartition("-")
    return name if number.isdigit() else fault.target


def of_verdicts(verdicts: Sequence[Verdict]) -> str:
    """One row for each meeting, and below them a sentence for whatever was wrong."""
    names = list(_HEADINGS)[1:]
    rows = [[verdict.name, *(str(getattr(verdict, name) or "-") for name in names)] for verdict in verdicts]
    lines = [f"{verdict.name} (job {verdict.job}): {text}" for verdict in verdicts for text in verdict.problems]
    return "\n".join([grid(list(_HEADINGS.values()), rows), *([""] if lines else []), *lines])


def totals(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """The sums over all meetings."""
    judged = list(verdicts)
    return {name: sum(getattr(verdict, name) for verdict in judged) for name in COUNTS}


def grid(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, the first flush left and the others flush right."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([first.ljust(widths[0]), *map(str.rjust, rest, widths[1:])]).rstrip() for first, *rest in lines
    )
