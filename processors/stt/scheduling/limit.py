"""How many utterances a batch may have while the device is short of memory. Pure."""

from __future__ import annotations

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 300.0
"""Seconds without a failure after which a larger batch is tried; they double with each failure."""


class BatchLimit:
    """At most `most` utterances; half of what did not fit, and after a while twice as many again.

    Another program may use the same GPU, such as a language model that is loaded for a question and unloaded later.
    Times are seconds of any clock.
    """

    def __init__(self, most: int) -> None:
        self.value = most
        self._most = most
        self._pause = FIRST_PAUSE
        self._raise_at = 0.0

    def did_not_fit(self, size: int, now: float) -> None:
        """There was no memory for a batch of this size."""
        self.value = max(1, min(self.value, size // 2))
        self._raise_at = now + self._pause
        self._pause = min(LONGEST_PAUSE, 2 * self._pause)

    def fitted(self, size: int, now: float) -> None:
        """There was memory for a batch of this size."""
        if size == self._most:
            self._pause = FIRST_PAUSE
        if self.value < self._most and now >= self._raise_at:
            self.value = min(self._most, 2 * self.value)
            self._raise_at = now + FIRST_PAUSE
