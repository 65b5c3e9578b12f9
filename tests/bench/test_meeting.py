from __future__ import annotations

import pytest

from bench.meeting import Meeting, MeetingFailed, hold
from bench.timeline import Endpointing


@pytest.mark.parametrize(
    ("samples", "expected"), [(1, 0.0), (480, 0.0), (481, 1.0), (960, 1.0), (961, 2.0), (1_000, 2.0)]
)
def test_the_frame_that_brings_a_sample_is_the_one_that_counts(samples: int, expected: float) -> None:
    meeting = Meeting("job", 1_000, handed=[0.0, 1.0, 2.0], told={})
    assert meeting.handed_with(samples) == expected


async def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(MeetingFailed, match=r"the connection to http://127\.0\.0\.1:1 failed: "):
        await hold("http://127.0.0.1:1", bytes(960), Endpointing())
