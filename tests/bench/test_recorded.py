from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from bench.recorded import RecordingEdge
from bench.watermarks import Noted
from bus import AudioPublisher, Bus
from bus.publisher import AudioTrack
from contract import WIDTH
from tests.support import wait_until

FRAME = bytes(960)


@pytest.fixture
def edge() -> Iterator[RecordingEdge]:
    recording = RecordingEdge()
    yield recording
    recording.end()


async def test_each_move_of_a_watermark_is_noted_from_the_beginning_on(
    bus: Bus, edge: RecordingEdge, tmp_path: Path
) -> None:
    answered = AudioTrack.answered
    async with AudioPublisher(bus) as publisher:
        track, other = publisher.track("a"), publisher.track("b")
        await track.send(FRAME)
        await track.drained()
        edge.begin()
        edge.begin()  # twice is once
        began = monotonic()
        for _ in range(40):
            await track.send(FRAME)
            await other.send(FRAME)
        await wait_until(lambda: track.empty and other.empty, description="all is stored")
        ended = monotonic()
    edge.write(tmp_path / "acks")
    noted = Noted.read(tmp_path / "acks")
    assert noted is not None
    samples = len(FRAME) // WIDTH
    assert noted.jobs.keys() == {"a", "b"}
    for job, before in (("a", 1), ("b", 0)):
        moves = noted.jobs[job]
        assert before * samples < moves.stored[0]
        assert moves.stored[-1] == (before + 40) * samples
        assert list(moves.stored) == sorted(set(moves.stored))
        assert [*moves.at] == sorted(moves.at)
        assert began <= moves.at[0] <= moves.at[-1] <= ended
    edge.end()
    assert AudioTrack.answered is answered


async def test_an_ack_that_moves_nothing_is_not_noted(bus: Bus, edge: RecordingEdge, tmp_path: Path) -> None:
    async with AudioPublisher(bus) as publisher:
        track = publisher.track("a")
        await track.send(FRAME)
        await track.drained()
        edge.begin()
        track.answered(0, b"{}")  # once more
    edge.write(tmp_path / "acks")
    noted = Noted.read(tmp_path / "acks")
    assert noted is not None
    assert noted.jobs == {}
