"""Files with pictures and several tracks: which one is heard, and when."""

import numpy as np
import pytest

from audio import AudioError, Taken
from tests.audio.sounds import Decoded, Track, level, movie, tone

SOUND, SILENCE = tone(3, rate=48_000), np.zeros(144_000, np.int16)
LEVEL = level(tone(1))
CONTAINERS = [("mp4", "aac"), ("mov", "pcm_s16le"), ("matroska", "libopus"), ("mpegts", "aac"), ("mpeg", "mp2")]


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(("container", "codec"), [*CONTAINERS, ("nut", "aac")])
def test_a_track_that_begins_late_keeps_its_time(container: str, codec: str, pipe: bool) -> None:
    out = Decoded(movie(container, codec, [Track(SOUND)], late=5), pipe=pipe)
    assert out.told == ["the sound begins 5.0 s after the start of the file: silence was put before it"]
    assert out.seconds == pytest.approx(8, abs=0.05)
    assert not out.pcm[: round(4.9 * 16_000)].any()
    assert out.level(5.1, 7.9) == pytest.approx(LEVEL, abs=0.5)
    assert out.gaps == []


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(("container", "codec"), CONTAINERS[:3])
def test_the_default_track_is_taken(container: str, codec: str, pipe: bool) -> None:
    tracks = [Track(tone(3, 300, 48_000), language="eng"), Track(tone(3, 700, 48_000), default=True, language="kor")]
    out = Decoded(movie(container, codec, tracks), pipe=pipe)
    assert out.pitch(1, 2) == pytest.approx(700, abs=5)
    assert out.taken == [Taken(track=2, tracks=2, channel="mix", channels=1)]
    (told,) = out.told
    assert told.startswith("track 2 of 2 was taken (kor, ")


@pytest.mark.parametrize(("container", "codec"), CONTAINERS[:4])
def test_a_silent_default_track_is_not_taken(container: str, codec: str) -> None:
    tracks = [Track(SILENCE, default=True), Track(SILENCE), Track(SOUND)]
    out = Decoded(movie(container, codec, tracks))
    assert out.level(1, 2) == pytest.approx(LEVEL, abs=0.5)
    assert out.taken[0].track == 3
    (told,) = out.told
    assert told.startswith("track 3 of 3 was taken (")
    assert told.endswith("), because track 1 is silent")


def test_a_pipe_tells_that_the_default_track_is_silent() -> None:
    out = Decoded(movie("matroska", "libopus", [Track(SILENCE, default=True), Track(SOUND)]), pipe=True)
    assert out.told == [
        "track 1 of 2 was taken (opus, default)",
        "track 1 of 2 is silent from the beginning to the end",
    ]


@pytest.mark.parametrize(("track", "hz"), [(1, 300), (2, 700)])
def test_the_wanted_track_is_taken(track: int, hz: float) -> None:
    tracks = [Track(tone(3, 300, 48_000)), Track(tone(3, 700, 48_000), default=True)]
    out = Decoded(movie("mp4", "aac", tracks), track=track)
    assert out.pitch(1, 2) == pytest.approx(hz, abs=5)
    assert out.taken[0].track == track
    assert out.told == []


@pytest.mark.parametrize("track", [0, 3])
def test_a_track_that_is_not_there_is_refused(track: int) -> None:
    tracks = [Track(SOUND, language="eng"), Track(SOUND, default=True, language="kor")]
    with pytest.raises(
        AudioError, match=rf"there is no track {track}; accepted: 1 \(eng, aac\), 2 \(kor, aac, default\)"
    ):
        Decoded(movie("mp4", "aac", tracks), track=track)
