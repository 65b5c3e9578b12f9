from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audio import decode
from processors.vad.core import WARM_UP

SAMPLES = Path(__file__).parents[3] / "samples"


@pytest.fixture(scope="session")
def meeting() -> bytes:
    """A stand-up, mono s16le at 16 kHz."""
    return b"".join(decode(SAMPLES / "standup.flac"))


@pytest.fixture(scope="module")
def short_spans() -> Iterator[None]:
    """Generated audio then has many spans."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("processors.vad.core.SPAN", WARM_UP + 10)
        yield
