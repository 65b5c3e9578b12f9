"""How long to wait before another attempt. Pure.

Delays double up to a limit. Where many retry at once each waits between half and all of its delay, so that they do not
come back together. Source: "Exponential Backoff And Jitter" of the AWS Architecture Blog, there called equal jitter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count


def delay_after(failures: int, first: float, longest: float, chance: float = 1.0) -> float:
    """Seconds to wait after so many failures in a row, 1 or more: `first`, then twice as long each time.

    chance: 0 to 1, where in the upper half of the delay to be; 1: no jitter.
    """
    # Without a bound on the exponent the power overflows after a thousand failures.
    return min(longest, first * 2.0 ** min(failures - 1, 60)) * (1 + chance) / 2


def delays(first: float, longest: float) -> Iterator[float]:
    """The delays after each failure in turn, with jitter; never ends.

    retry_in = delays(0.2, 10)
    while not await attempt():
        await asyncio.sleep(next(retry_in))
    """
    return (delay_after(failures, first, longest, random.random()) for failures in count(1))  # noqa: S311
