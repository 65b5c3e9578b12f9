"""The voice activity detector of WebRTC."""

from __future__ import annotations

from functools import partial

import webrtcvad

from contract import RATE
from processors.vad.hearing import Detector


def detector(aggressiveness: int) -> Detector:
    """A new webrtcvad; the higher its aggressiveness, 0 to 3, the less it takes for speech. Raises ValueError."""
    if aggressiveness not in range(4):
        raise ValueError(f"aggressiveness is {aggressiveness}: 0, 1, 2 and 3 are accepted")
    return partial(webrtcvad.Vad(aggressiveness).is_speech, sample_rate=RATE)
