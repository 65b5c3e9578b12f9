"""Which utterances are transcribed together. Pure.

A speech model reads windows of 30 s. Utterances in a row share one as long as they fit, so that each has its context
and none pays for a window of its own. The window of an utterance follows from the utterance before it alone, so that a
worker that takes a job over, and a replay, find the same windows.
"""

from __future__ import annotations

from contract import LONGEST_PAUSE, LONGEST_WINDOW, Window


def next_window(before: Window | None, pause: int, lead: int, index: int, length: int) -> Window:
    """The window of utterance `index`, `length` samples long, that follows `pause` samples after window `before`.

    lead: how many samples of the pause are kept.
    """
    if before is not None and pause <= LONGEST_PAUSE:
        samples = before.samples + lead + length
        if samples <= LONGEST_WINDOW:
            return Window(first=before.first, samples=samples)
    return Window(first=index, samples=length)
