"""What a load generator is asked for. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from contract import RATE

PER_PROCESS = 700
"""Clients of one process that it can serve in time, with half a core to spare."""

OPENED_A_SECOND = 50


@dataclass(frozen=True)
class Plan:
    """Clients and what they do. Raises ValueError for what cannot be done."""

    url: str
    """Of the server, `http://host:port`: where jobs are created."""
    streams: int
    """Clients at a time."""
    frame_ms: int = 30
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of each job, as `POST /api/v1/stream/create` takes them."""
    leave: bool = False
    """Leave once everything is acknowledged, instead of waiting for the summary; for servers that do not transcribe."""
    ramp: float | None = None
    """Seconds over which they come; None: OPENED_A_SECOND."""
    settle: float = 1.0
    """Seconds that all have been streaming before anything is measured."""
    talk: float = 0.0
    """Seconds of the talk of each client, a sentence every 3.5 s, over and over (`bench.speech.tape` with the seed
    `seed * 10_000 + stream`); 0: all the speech of samples/ instead, each client from another place on."""
    silent: bool = False
    """Nobody speaks: there is nothing to transcribe."""
    meeting: tuple[float, float] | None = None
    """Clients stop after this many seconds, at least and at most, and start again; None: they stay to the end."""
    burst: float = 0.0
    """Seconds of sound that are sent at once; then clients stop, and start again. 0: in real time."""
    times: bool = False
    """Record when each frame was handed to the socket."""
    end_within: float = 60.0
    """Seconds that a client waits for the end of its job."""
    seed: int = 1
    processes: int = 0
    """0: as many as it takes."""

    def __post_init__(self) -> None:
        if self.streams < 1:
            raise ValueError(f"{self.streams} streams: at least 1")
        if not 10 <= self.frame_ms <= 1_000:
            raise ValueError(f"frames of {self.frame_ms} ms: 10 to 1000 are taken")
        if self.meeting is not None and not 0 < self.meeting[0] <= self.meeting[1]:
            raise ValueError(f"meetings of {self.meeting} s: the least first, and more than 0")
        if self.meeting is not None and self.burst:
            raise ValueError("meeting and burst both say when clients stop: one of them")
        if self.talk and self.silent:
            raise ValueError("talk and silent both say what is heard: one of them")
        if min(self.talk, self.burst, self.settle, self.ramp or 0, self.processes, self.end_within) < 0:
            raise ValueError("a time or a number below 0")

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return self.frame_ms * RATE // 1_000

    @property
    def shares(self) -> int:
        """Processes."""
        return min(self.streams, self.processes or math.ceil(self.streams / PER_PROCESS))

    @property
    def opening(self) -> float:
        """Seconds over which clients come."""
        return self.streams / OPENED_A_SECOND if self.ramp is None else self.ramp

    def encode(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, line: str) -> Self:
        """What `encode` wrote."""
        plan = cls(**json.loads(line))
        return plan if plan.meeting is None else replace(plan, meeting=(plan.meeting[0], plan.meeting[1]))
