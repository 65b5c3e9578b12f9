"""What is known of one meeting at its end: what its client sent and received, what bus and store have. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from contract import RATE, WIDTH
from contract.audio import AudioFrame


@dataclass(frozen=True, order=True, slots=True)
class Segment:
    """A stretch of speech and its text; `start` and `end` are sample indexes."""

    index: int
    start: int
    end: int
    text: str = ""


class Ack(NamedTuple):
    """At `at` (seconds since 1970) the client received an ack of all samples below `samples`."""

    at: float
    samples: int


class Piece(NamedTuple):
    """Samples from `start` to before `end` first came with message `seq` of the stream AUDIO."""

    start: int
    end: int
    seq: int


@dataclass
class Told:
    """What a client received."""

    acks: list[Ack] = field(default_factory=list)
    segments: dict[int, str] = field(default_factory=dict)
    finished: str = ""
    """How the end was heard of: `socket`, `rest`, or not at all."""
    closes: Counter[int] = field(default_factory=Counter)
    """How its connections ended, by close code."""
    problems: list[str] = field(default_factory=list)
    """What a client must never receive."""


@dataclass(frozen=True)
class Evidence:
    """All about one meeting."""

    name: str
    job: str
    sent: bytes
    told: Told
    pcm: bytes
    """The audio on the bus, put together as a reader does it."""
    pieces: Sequence[Piece]
    stored_at: Mapping[int, float]
    """Times (seconds since 1970) of the messages of AUDIO that `witnesses` names, by sequence."""
    speech: Sequence[Segment]
    """In the order in which they are stored; so are the others."""
    counts: Sequence[tuple[int, int]]
    """Index and end of each mark `last` on the stream SPEECH."""
    transcripts: Sequence[Segment]
    corrected: Sequence[Segment]
    """The second transcripts, as far as there was time for them."""
    kinds: Mapping[str, int]
    """How many events there are of each kind that comes once: opened, closed, segmented, summary, completed."""
    closed: int | None
    """Samples that the event `closed` names."""
    record: Sequence[Segment]
    """The segments in the store."""
    generation: int
    """Whether these are the first transcripts (1) or the corrected ones (2)."""
    state: str
    """Of the job in the store."""


def assemble(frames: Iterable[tuple[int, AudioFrame]]) -> tuple[bytes, list[Piece]]:
    """Stored frames to sound: only the sample that is expected next is taken, so repeats and early frames drop out."""
    pcm = bytearray()
    pieces: list[Piece] = []
    for seq, frame in frames:
        expected = len(pcm) // WIDTH
        if frame.start <= expected < frame.end:
            pcm += frame.pcm[(expected - frame.start) * WIDTH :]
            pieces.append(Piece(expected, frame.end, seq))
    return bytes(pcm), pieces


def witnesses(acks: Iterable[Ack], pieces: Sequence[Piece]) -> dict[Ack, Piece]:
    """The message that brought the last sample of each ack; acks beyond all that is stored have none."""
    found: dict[Ack, Piece] = {}
    at = 0
    for ack in sorted(acks, key=lambda ack: ack.samples):
        while at < len(pieces) and pieces[at].end < ack.samples:
            at += 1
        if ack.samples and at < len(pieces):
            found[ack] = pieces[at]
    return found


def clock(samples: int) -> str:
    """A sample index for people: `12.345 s (sample 197520)`."""
    return f"{samples / RATE:.3f} s (sample {samples})"
