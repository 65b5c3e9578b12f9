"""Warm-up: each kind of call that will be made, by every worker, at the largest batch; and how large that may be.

The first call of a kind loads its kernels, or compiles them on a GPU for which CTranslate2 brings none, and takes
memory that is kept. CTranslate2 does not notice when a kernel cannot be loaded for lack of memory, so it has to happen
before anybody speaks.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from time import perf_counter

import numpy as np

from processors.stt.core import OutOfMemory
from processors.stt.whisper.backend import FULL_WINDOW, Features, Prompt, Search, Whisper
from processors.stt.whisper.prepared import max_tokens

BATCH_SIZES = (1, 2, 4, 8, 16, 32)

LONGEST_CALL = 0.25
"""Seconds of one encoder call: a final waits for a call that has begun, and may take a second in all."""

_TEXT = "Nobody has said anything so far, and this is what it sounds like."


def choose_batch_size(whisper: Whisper, clock: Callable[[], float] = perf_counter) -> int:
    """The most windows of 30 s that the device encodes within LONGEST_CALL, of BATCH_SIZES.

    Raises OutOfMemory if it has none for a single one.
    """
    best = BATCH_SIZES[0]
    for size in BATCH_SIZES:
        try:
            _encode(whisper, size, FULL_WINDOW)  # not timed: it loads what it needs
            began = clock()
            _encode(whisper, size, FULL_WINDOW)
        except OutOfMemory:
            if size == BATCH_SIZES[0]:
                raise
            break
        if clock() - began > LONGEST_CALL:
            break
        best = size
    return best


def warm_up(whisper: Whisper, size: int, workers: int, shortest: int, searches: tuple[Search, Search]) -> int:
    """Make every kind of call with batches of 1 and of `size`; returns the size that there was memory for.

    shortest: frames of the shortest window, which is decoded as the first of `searches` says; a whole window as the
    second, which is that of a second attempt. Raises OutOfMemory if there is none for a single window.
    """
    with ThreadPoolExecutor(workers) as pool:

        def fits(rows: int) -> bool:
            # As many threads as workers, and all at once: CTranslate2 gives each worker the next call that waits.
            together = Barrier(workers)
            calls = [pool.submit(_call, whisper, rows, shortest, searches, together) for _ in range(workers)]
            errors = [call.exception() for call in calls]
            for error in errors:
                if error is not None and not isinstance(error, OutOfMemory):
                    raise error
            return not any(errors)

        # Each size is tried twice: one failure can be reported twice, see `cuda.OUT_OF_MEMORY`.
        while not all(fits(rows) or fits(rows) for rows in dict.fromkeys((1, size))):
            if size == 1:
                raise OutOfMemory("out of memory")
            size //= 2
    return size


def _call(whisper: Whisper, rows: int, shortest: int, searches: tuple[Search, Search], together: Barrier) -> None:
    together.wait()
    text = whisper.context(_TEXT, None)[1:]
    for window, search in zip((shortest, FULL_WINDOW), searches, strict=True):
        encoded = _encode(whisper, rows, window)
        whisper.detect_languages(encoded)
        whisper.generate(encoded, [Prompt("en", "transcribe")] * rows, search, max_tokens(window))
        texts, frames = [text[row % 2 :] for row in range(rows)], [window - row % 2 for row in range(rows)]
        whisper.align(encoded, "en", "transcribe", texts, frames)


def _encode(whisper: Whisper, rows: int, frames: int) -> object:
    silence: Features = whisper.features(np.zeros(16_000, np.float32))
    return whisper.encode([silence] * rows, frames)
