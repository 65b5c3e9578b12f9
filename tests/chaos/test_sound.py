from __future__ import annotations

import pytest

from audio import RATE, WIDTH
from chaos.faults import seeded
from chaos.sound import clips, lengths, meeting
from tools.system import ROOT


def test_the_clips_are_the_sentences_of_the_samples_and_a_long_speech() -> None:
    sentences, unbroken = clips(ROOT / "samples")
    assert len(sentences) == 11 + 28 + 6
    assert all(0.5 < len(sentence) / WIDTH / RATE < 6 for sentence in sentences)
    assert len(unbroken) / WIDTH / RATE > 28


@pytest.mark.parametrize("seconds", [5.0, 20.0, 60.0, 600.0])
def test_a_room_is_in_use_for_the_whole_time(seconds: float) -> None:
    found = lengths(seeded(3), seconds)
    assert sum(found) == pytest.approx(seconds, abs=15)
    assert max(found) <= 120
    assert len(found) > 1 or seconds < 30


def test_a_meeting_follows_from_its_seed() -> None:
    said = [b"\1\1" * 20_000, b"\2\2" * 20_000]
    first = meeting(seeded(1, "room", 1), said, b"", 20)
    assert first == meeting(seeded(1, "room", 1), said, b"", 20)
    assert first != meeting(seeded(1, "room", 2), said, b"", 20)
    assert 20 <= len(first) / WIDTH / RATE < 27


def test_a_long_meeting_has_the_unbroken_speech_once() -> None:
    unbroken = b"\7\7" * RATE * 43
    sound = meeting(seeded(5), [b"\1\1" * 20_000], unbroken, 120)
    assert sound.count(unbroken) == 1
    assert unbroken not in meeting(seeded(5), [b"\1\1" * 20_000], unbroken, 40)
