from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from bench.recording import AckRecorder, RecordedAcks, RecordingEdge
from bus import AudioPublisher, Bus
from bus.publisher import AudioTrack
from contract import WIDTH
from tests.support import wait_until

FRAME = bytes(960)
SAMPLES = len(FRAME) // WIDTH


@pytest.fixture
def edge() -> Iterator[RecordingEdge]:
    recording = RecordingEdge()
    yield recording
    recording.end()


async def test_each_acknowledgement_is_recorded_from_the_beginning_on(
    bus: Bus, edge: RecordingEdge, tmp_path: Path
) -> None:
    answered = AudioTrack.answered
    async with AudioPublisher(bus) as publisher:
        track, other = publisher.track("a"), publisher.track("b")
        await track.send(FRAME)
        await track.drained()
        edge.begin()
        edge.begin()  # has no effect
        began = monotonic()
        for _ in range(40):
            await track.send(FRAME)
            await other.send(FRAME)
        await wait_until(lambda: track.empty and other.empty, description="all is stored")
        ended = monotonic()
    edge.write(tmp_path / "acks")
    edge.end()
    assert AudioTrack.answered is answered
    recorded = RecordedAcks.read(tmp_path / "acks")
    assert recorded is not None
    assert recorded.jobs.keys() == {"a", "b"}
    for job, before in (("a", 1), ("b", 0)):
        acks = recorded.jobs[job]
        assert before * SAMPLES < acks.stored[0]
        assert acks.stored[-1] == (before + 40) * SAMPLES
        assert list(acks.stored) == sorted(set(acks.stored)), "only what moved the acknowledged sample"
        assert [*acks.at] == sorted(acks.at)
        assert began <= acks.at[0] <= acks.at[-1] <= ended


def test_nothing_is_recorded_without_the_signal(tmp_path: Path) -> None:
    AckRecorder().write(tmp_path / "acks")
    assert RecordedAcks.read(tmp_path / "acks") is None
