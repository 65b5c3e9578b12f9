"""Checks the threshold of the speech filter: `python -m tools.nonspeech [--variants N]`.

It cuts synthetic sounds without speech, and the committed samples under several degradations, into segments as the
segmenter does, and prints their speech scores. Segments that reach the threshold are transcribed.
"""

import argparse
from functools import partial

from audio import to_float32
from processors.stt.filters.speech import SPEECH_THRESHOLD, SpeechDetector, speech_score
from processors.vad.core import Parameters, Segmenter
from processors.vad.settings import webrtc_detector
from tests.processors.stt.degraded import DEGRADATIONS, SPOKEN, segments_with_speech
from tests.processors.stt.nonspeech import made, names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.nonspeech", description="Check the threshold for speech.")
    parser.add_argument("--variants", type=int, default=1, help="variants of each sound without speech (%(default)s)")
    variants = parser.parse_args().variants
    if variants < 1:
        parser.error(f"--variants is {variants}: at least 1 is accepted")
    speech = SpeechDetector()

    def scores(sounds: list[bytes]) -> list[float]:
        return sorted(speech_score(speech.probabilities(to_float32(pcm))) for pcm in sounds)

    without: list[float] = []
    for name in names():
        found = scores([pcm for variant in range(variants) for pcm in cut(made(name, variant))])
        without += found
        if found:
            print(f"without speech  {name:38}  segments {len(found):4}  highest {found[-1]:.2f}")
    spoken: list[float] = []
    for degradation in DEGRADATIONS:
        found = scores([segment.pcm for name in SPOKEN for segment in segments_with_speech(name, degradation)])
        spoken += found
        print(f"speech          {degradation:38}  segments {len(found):4}  lowest  {found[0]:.2f}")
    passed, lost = sum(one >= SPEECH_THRESHOLD for one in without), sum(one < SPEECH_THRESHOLD for one in spoken)
    print(
        f"threshold {SPEECH_THRESHOLD}: {passed} of {len(without)} segments without speech pass, "
        f"{lost} of {len(spoken)} with speech are rejected"
    )


def cut(pcm: bytes) -> list[bytes]:
    """Segments, with the usual settings."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters())
    return [segment.pcm for segment in segmenter.feed(pcm) + segmenter.finish()]


if __name__ == "__main__":
    main()
