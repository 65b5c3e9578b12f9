"""Other people's files through the whole system, every part real."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import pytest_asyncio

from audio import decode
from tests.audio.sounds import Track, movie, wav
from tests.system.test_system import SAMPLES, stenobus
from tools.system import System, running_system

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300), pytest.mark.slow]

LATE = 5.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    nobody = "http://127.0.0.1:1"
    async with running_system(tmp_path_factory.mktemp("files") / "data", OLLAMA_HOST=nobody) as started:
        yield started


async def jobs_of(system: System, path: Path, *arguments: str) -> list[dict[str, Any]]:
    """The records of the jobs that `stenobus stream` makes of a file."""
    status, out, err = await stenobus("stream", str(path), "--fast", "--json", "--server", system.url, *arguments)
    assert status == 0, err
    messages = [json.loads(line) for line in out.splitlines()]
    names = [message["job_id"] for message in messages if message["type"] == "final_summary"]
    async with httpx.AsyncClient(base_url=system.url) as http:
        return [(await http.get(f"/api/v1/jobs/{name}")).json() for name in names]


async def test_times_and_words_do_not_depend_on_how_the_sound_is_packed(system: System, tmp_path: Path) -> None:
    sound = np.frombuffer(b"".join(decode(SAMPLES / "standup.flac")), "<i2")[: 15 * 16_000]
    (tmp_path / "mono.wav").write_bytes(wav(sound))
    (mono,) = await jobs_of(system, tmp_path / "mono.wav")
    assert len(mono["segments"]) > 1

    (tmp_path / "cancel.wav").write_bytes(wav(np.stack([sound, -sound], axis=1)))
    (mixed,) = await jobs_of(system, tmp_path / "cancel.wav")
    left, right = await jobs_of(system, tmp_path / "cancel.wav", "--channel", "each")
    assert mixed["transcript"] == left["transcript"] == right["transcript"] == mono["transcript"]
    assert (left["title"], right["title"]) == ("cancel.wav (left)", "cancel.wav (right)")

    wide = np.repeat(sound, 3)  # 48 kHz
    tracks = [Track(np.zeros_like(wide), default=True), Track(wide)]
    (tmp_path / "film.mov").write_bytes(movie("mov", "pcm_s16le", tracks, late=LATE))
    (film,) = await jobs_of(system, tmp_path / "film.mov")
    assert film["options"]["metadata"]["audio"] == {"track": 2, "tracks": 2, "channel": "mix", "channels": 1}
    starts = [[segment["start"] for segment in job["segments"]] for job in (mono, film)]
    assert starts[1] == pytest.approx([start + LATE for start in starts[0]], abs=0.3)
