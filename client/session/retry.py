"""When to try again after a connection broke, and when no more. Pure; times in seconds."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 0.2
LONGEST = 5.0
GIVE_UP_AFTER = 60.0


@dataclass(frozen=True)
class Reconnecting:
    """There is no connection at present; `kept`: seconds of sound that wait for one, `retry_in`: seconds until then."""

    job_id: str
    attempt: int
    retry_in: float
    kept: float
    reason: str


def backoff(attempt: int, chance: float) -> float:
    """Seconds to wait before attempt 1, 2, ...; chance: uniform in 0..1.

    "Full jitter": https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance * min(LONGEST, FIRST * 2.0 ** min(attempt - 1, 30))


class Outage:
    """Counts attempts, and time without a connection, since the job last got anywhere.

    A connection alone does not end an outage: a server that breaks each time it is spoken to would never be given up.
    Nor does time count that is spent connected: a long summary is no outage.
    """

    def __init__(self, give_up_after: float = GIVE_UP_AFTER) -> None:
        self.attempt = 0
        self.give_up_after = give_up_after
        self._away = 0.0
        self._since: float | None = None

    def connected(self, now: float) -> None:
        """A server has welcomed the job."""
        if self._since is not None:
            self._away += now - self._since
            self._since = None

    def progress(self) -> None:
        """Sound was stored, or text was told."""
        self.attempt = 0
        self._away = 0.0

    def pause(self, now: float, chance: float, retry_after: float | None = None) -> float | None:
        """Note a failure; gives the time to wait before the next attempt, or None when it is time to give up."""
        if self._since is None:
            self._since = now
        left = self.give_up_after - self._away - (now - self._since)
        if left <= 0:
            return None
        self.attempt += 1
        return min(left, max(backoff(self.attempt, chance), retry_after or 0.0))
