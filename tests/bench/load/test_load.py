"""The generator against our edge, with nobody who segments."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.deployment import Deployment, deployed, edge_part
from bench.load import Meeting, Plan, Report, generating
from bench.load.sound import SPEECH, Sound, load
from bus import connect
from contract import RATE, WIDTH
from contract.audio import audio_subject, decode_audio
from tools.system import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, [edge_part()]) as running:
        yield running


async def stored(system: Deployment, meeting: Meeting) -> bytes:
    """The sound of a job on the bus; each sample once."""
    pcm = bytearray()
    async with connect(system.bus_url) as bus:
        for raw in await bus.history("AUDIO", audio_subject(meeting.job)):
            frame = decode_audio(raw.data)
            if frame.start * WIDTH == len(pcm):
                pcm += frame.pcm
    return bytes(pcm)


def is_fine(report: Report) -> bool:
    return all(one.error is None and one.close == 1000 and one.acked == one.samples for one in report.meetings)


async def test_all_that_is_said_is_acked_and_on_the_bus(system: Deployment) -> None:
    plan = Plan(system.url, 5, leave=True, ramp=0.2, settle=0.1, times=True, processes=2, options={"title": "load"})
    async with generating(plan) as clients:
        assert clients.failed == []
        window = await clients.window(1.5)
        report = await clients.finish()
    assert report.excuse() == ""
    assert is_fine(report)
    assert sorted(one.stream for one in report.meetings) == [0, 1, 2, 3, 4]
    sound = Sound(load(SPEECH), 480)
    for one in report.meetings:
        place = sound.place(one.stream)
        assert one.samples > RATE
        frames = (sound.frame(number) for number in range(place, place + one.samples // 480))
        assert await stored(system, one) == b"".join(frames)
        assert len(one.handed) == one.samples // 480
        assert one.asked < one.began < window.began < window.ended < one.over
    handed = [one.began + at for one in report.meetings for at in one.handed]
    assert abs(sum(window.began <= at < window.ended for at in handed) - window.frames) <= 10  # it is counted and timed
    assert window.late.frames.total() >= window.frames - 10
    assert window.samples == 480 * window.frames
    assert window.acked > 0
    assert 0 < window.cores < 2


async def test_meetings_end_and_others_begin(system: Deployment) -> None:
    async with generating(Plan(system.url, 2, leave=True, ramp=0.0, settle=0.0, meeting=(0.2, 0.4))) as clients:
        await clients.begin()
        async with asyncio.timeout(60):
            while (await clients.window(0.2)).meetings == 0:
                pass
        report = await clients.finish()
    assert is_fine(report)
    assert len({one.job for one in report.meetings}) == len(report.meetings) > 2
    assert any(0.2 * RATE <= one.samples < RATE for one in report.meetings)


async def test_the_program_tells_when_the_window_is_and_what_came_of_it(system: Deployment) -> None:
    command = ["-m", "bench.load", system.url, "--streams", "2", "--seconds", "1", "--ramp", "0", "--leave"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *command, "--option", 'language="ko"', "--meetings"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complaint = await process.communicate()
    assert (process.returncode, complaint) == (0, b"")
    begun, ended, *_, last = told.decode().splitlines()
    assert (begun, ended) == ("window", "end")
    found = json.loads(last)
    assert found["errors"] == {}
    assert found["unacked"] == 0
    assert found["meetings"] == 2 == len(found["told"])
    assert found["samples"] == sum(one["acked"] for one in found["told"])


async def test_clients_that_lose_their_server_say_so(system: Deployment) -> None:
    async with generating(Plan(system.url, 2, leave=True, ramp=0.0, settle=0.0)) as clients:
        await system.children["edge"].kill()
        report = await clients.finish()
    assert report.errors == {"the connection was closed without a word": 2}
    assert "2 x the connection was closed" in report.excuse()
