from __future__ import annotations

from pathlib import Path

import pytest

from audio import decode

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture(scope="session")
def meeting() -> bytes:
    """A stand-up, mono s16le at 16 kHz."""
    return b"".join(decode(SAMPLES / "standup.flac"))
