"""How many streams are held, found step by step, so that several contenders may take turns. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Search:
    """From `start` on it doubles until streams are not held any more, then halves the gap until that is a tenth.

    A number that was not held is tried once more before that is believed: a moment's disturbance would end it all.
    """

    start: int
    most: int
    """Streams that are tried at most."""
    low: int = field(default=0, init=False)
    """The most that were held; 0: none yet."""
    high: int = field(default=0, init=False)
    """The fewest that were not; 0: none yet."""
    _doubted: int = field(default=0, init=False)

    @property
    def due(self) -> int | None:
        """The streams to try next; None: it is known."""
        if self._doubted:
            return self._doubted
        if not self.high:
            return None if self.low >= self.most else min(self.most, 2 * self.low or self.start)
        if self.high - self.low <= max(1, self.low // 10):
            return None
        return (self.low + self.high) // 2

    def tell(self, *, held: bool) -> None:
        """Say what came of those that were due. Raises ValueError where none were."""
        streams = self.due
        if streams is None:
            raise ValueError(f"it is known already: {self.low} streams")
        if held:
            self.low, self._doubted = streams, 0
        elif self._doubted:
            self.high, self._doubted = streams, 0
        else:
            self._doubted = streams
