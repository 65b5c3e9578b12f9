from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from bench.recorded import EVERY, Latencies, RecordingEdge, read_latencies
from bus import AudioPublisher, Bus
from bus.publisher import AudioTrack
from tests.support import wait_until

FRAME = bytes(960)


@pytest.fixture
def latencies() -> Iterator[RecordingEdge]:
    recording = RecordingEdge()
    yield recording
    recording.end()


def test_latencies_are_told_of_the_frames_of_a_window(tmp_path: Path) -> None:
    written = Latencies()
    for came, ended in ((1.0, 1.25), (2.0, 2.5), (2.75, 9.0), (3.0, 3.5)):
        written.add(came, ended)
    written.write(tmp_path / "acks")
    assert read_latencies(tmp_path / "acks", 2.0, 3.0) == [0.5, 6.25]
    assert read_latencies(tmp_path / "acks", 4.0, 5.0) == []


def test_it_begins_at_the_signal() -> None:
    before, waiting = signal.getsignal(signal.SIGUSR1), Latencies()
    try:
        waiting.begin_at_signal()
        assert not waiting.on
        signal.raise_signal(signal.SIGUSR1)
        assert waiting.on
    finally:
        signal.signal(signal.SIGUSR1, before)


async def test_some_of_the_frames_are_timed_until_they_are_stored(
    bus: Bus, latencies: RecordingEdge, tmp_path: Path
) -> None:
    push, answered = AudioTrack.publish, AudioTrack.answered
    async with AudioPublisher(bus) as publisher:
        track, other = publisher.track("a"), publisher.track("b")
        for _ in range(EVERY):
            track.publish(FRAME)
        began = monotonic()
        latencies.begin()
        latencies.begin()  # twice is once
        for _ in range(3 * EVERY):
            await track.room()
            track.publish(FRAME)
            await other.room()
            other.publish(FRAME)
        await wait_until(lambda: not track.waiting and not other.waiting, description="all is stored")
        ended = monotonic()
    latencies.write(tmp_path / "acks")
    found = read_latencies(tmp_path / "acks", began, ended)
    assert len(found) == 6
    assert all(0 < seconds < ended - began for seconds in found)
    latencies.end()
    assert (AudioTrack.publish, AudioTrack.answered) == (push, answered)
