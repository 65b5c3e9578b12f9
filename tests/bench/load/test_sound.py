from __future__ import annotations

from itertools import pairwise

import pytest

from bench.load import Plan
from bench.load.sound import SILENCE, SPEECH, Sound, load, sounds
from bench.speech import load_sentences, tape
from contract import RATE, WIDTH
from tools.system import ROOT

URL = "http://127.0.0.1:8000"


def test_frames_begin_again_behind_the_last() -> None:
    pcm = bytes(range(10))  # two frames of two samples, and one sample too few for a third
    sound = Sound(pcm, 2)
    assert [bytes(sound.frame(number)) for number in range(4)] == [pcm[:4], pcm[4:8], pcm[:4], pcm[4:8]]


def test_less_than_a_frame_is_no_sound() -> None:
    with pytest.raises(ValueError, match="3 samples are less than a frame of 480"):
        Sound(bytes(6), 480)


def test_each_client_begins_elsewhere() -> None:
    sound = Sound(bytes(WIDTH * RATE * 60), 480)
    places = sorted(sound.place(stream) for stream in range(300))
    assert len(set(places)) == 300
    assert max(b - a for a, b in pairwise(places)) < 4 * 2_000 / 300


def test_what_is_said_is_speech_unless_it_is_to_be_silent() -> None:
    (spoken, place), (same, other) = sounds(Plan(URL, 2), range(2))
    assert spoken is same
    assert place != other
    speech, silence = load(SPEECH), load(SILENCE)
    assert bytes(spoken.frame(0)) == speech[:960]
    assert bytes(sounds(Plan(URL, 1, silent=True), range(1))[0][0].frame(1)) == silence[960:1_920]
    assert max(silence[1::2].strip(b"\x00\xff"), default=0) == 0  # no sample is beyond a byte
    assert len(speech) > 3 * 60 * RATE * WIDTH


def test_a_talk_is_that_of_the_stream() -> None:
    ((sound, place),) = sounds(Plan(URL, 8, talk=9.0, seed=3), range(7, 8))
    pcm, said = tape(load_sentences(ROOT / "samples"), 9.0, 30_007)
    assert said
    assert place == 0
    assert b"".join(bytes(sound.frame(number)) for number in range(300)) == pcm
