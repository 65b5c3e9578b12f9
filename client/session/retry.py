"""When to try again after a failure, and when to give up. Pure; times are in seconds."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 0.2
LONGEST = 5.0
GIVE_UP_AFTER = 60.0
LONGEST_ATTEMPT = 40.0
"""No attempt to connect takes longer. If more time has passed, this process or the whole machine was suspended."""


@dataclass(frozen=True)
class Reconnecting:
    """There is no connection. `kept`: seconds of audio in the backlog; `retry_in`: seconds until the next attempt."""

    job_id: str
    attempt: int
    retry_in: float
    kept: float
    reason: str


def backoff(attempt: int, jitter: float) -> float:
    """Seconds to wait before attempt 1, 2, ...; jitter: uniform in 0..1.

    "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return jitter * min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 30))


class Outage:
    """Counts attempts, and time without a connection, since the job last made progress.

    A connection alone does not end an outage, or a server that fails each time would never be given up. Time with a
    connection does not count: a long summary is no outage. Nor does time in which this process did not run.
    """

    def __init__(self, give_up_after: float = GIVE_UP_AFTER) -> None:
        self.attempt = 0
        self.give_up_after = give_up_after
        self._down = 0.0
        self._since: float | None = None
        self._due = 0.0  # when the next failure is noted at the latest

    def connected(self, now: float) -> None:
        """Note that a server answers."""
        if self._since is not None:
            self._down += now - self._since
            self._since = None

    def progress(self) -> None:
        """Note that audio was stored or a segment arrived."""
        self.attempt = 0
        self._down = 0.0

    def next_delay(self, now: float, jitter: float, retry_after: float | None = None) -> float | None:
        """Note a failure; returns seconds until the next attempt, or None when it is time to give up."""
        if self._since is None:
            self._since = now
        else:
            self._since += max(0.0, now - self._due)
        left = self.give_up_after - self._down - (now - self._since)
        if left <= 0:
            return None
        self.attempt += 1
        delay = min(left, max(backoff(self.attempt, jitter), retry_after or 0.0))
        self._due = now + delay + LONGEST_ATTEMPT
        return delay
