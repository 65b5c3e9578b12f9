"""How well speech is told from other sounds here: `python -m tools.nonspeech [--variants N]`.

For every made sound without speech, and for the committed samples under every hardship, it shows the strength of the
segments that the segmenter cuts; what is at least the threshold is transcribed.
"""

import argparse
from functools import partial

from audio import to_float32
from processors.stt.guards import SPEECH, speech_strength
from processors.stt.speech import SpeechDetector
from processors.vad.classifier import webrtc_detector
from processors.vad.core import Parameters, Segmenter
from tests.processors.stt.hardships import HARDSHIPS, SPOKEN, segments_with_speech
from tests.processors.stt.nonspeech import made, names


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.nonspeech", description="Check the threshold for speech.")
    parser.add_argument("--variants", type=int, default=1, help="of each sound without speech (%(default)s)")
    variants = parser.parse_args().variants
    if variants < 1:
        parser.error(f"--variants is {variants}: at least 1 is accepted")
    speech = SpeechDetector()

    def strengths(sounds: list[bytes]) -> list[float]:
        return sorted(speech_strength(speech.probability(to_float32(pcm))) for pcm in sounds)

    without: list[float] = []
    for name in names():
        found = strengths([pcm for variant in range(variants) for pcm in cut(made(name, variant))])
        without += found
        if found:
            print(f"without speech  {name:38}  segments {len(found):4}  highest {found[-1]:.2f}")
    spoken: list[float] = []
    for hardship in HARDSHIPS:
        found = strengths([segment.pcm for name in SPOKEN for segment in segments_with_speech(name, hardship)])
        spoken += found
        print(f"speech          {hardship:38}  segments {len(found):4}  lowest  {found[0]:.2f}")
    passed, lost = sum(one >= SPEECH for one in without), sum(one < SPEECH for one in spoken)
    print(
        f"at {SPEECH} there pass {passed} of {len(without)} without speech, and {lost} of {len(spoken)} with it do not"
    )


def cut(pcm: bytes) -> list[bytes]:
    """Segments, with the usual settings."""
    segmenter = Segmenter(partial(webrtc_detector, 2), Parameters())
    return [segment.pcm for segment in segmenter.feed(pcm) + segmenter.finish()]


if __name__ == "__main__":
    main()
