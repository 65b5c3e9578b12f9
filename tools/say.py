"""Makes the audio files of samples/ from say.toml with espeak-ng: `python -m tools.say [SCENE ...]`.

Each FLAC has a JSON file with its sentences and their times in samples at 16 kHz. The same version of espeak-ng makes
the same files.
"""

import argparse
import json
import tomllib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio import RATE, write_flac
from tools.whisper_micro.grammar import accepts, written
from tools.whisper_micro.voice import speak

SCENES = Path(__file__).with_suffix(".toml")
SAMPLES = Path(__file__).parents[1] / "samples"

Sound = NDArray[np.int16]

_LEAD_IN = 0.5  # seconds before the first sentence
_TAIL = 1.0  # seconds after the last
_FLOOR_DB = -78.0  # a silent room and a good microphone
_PEAK_DB = -6.0


def main() -> None:
    table = tomllib.loads(SCENES.read_text(encoding="utf-8"))
    speakers = table.pop("speakers")
    parser = argparse.ArgumentParser(prog="python -m tools.say", description="Make the audio files of samples/.")
    parser.add_argument("scene", nargs="*", help=f"one of {', '.join(table)}; none: all of them")
    parser.add_argument("--out", type=Path, default=SAMPLES, help="folder to write to (%(default)s)")
    args = parser.parse_args()
    if unknown := set(args.scene) - set(table):
        parser.error(f"no such scene: {', '.join(sorted(unknown))}; there are {', '.join(table)}")
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.scene or table:
        try:
            sound, sentences = act(table[name], speakers, seed=zlib.crc32(name.encode()))
        except (OSError, ValueError) as exc:
            parser.exit(1, f"{name}: {exc}\n")
        save(args.out / name, sound, sentences)
        print(f"{name}: {len(sound) / RATE:.1f} s, {len(sentences)} sentences")


def act(scene: dict[str, Any], speakers: dict[str, dict[str, Any]], seed: int) -> tuple[Sound, list[dict[str, Any]]]:
    """The audio of a scene, and its sentences with times in samples. Raises ValueError if a line is not grammatical."""
    random = np.random.default_rng(seed)
    said: list[tuple[int, NDArray[np.float64]]] = []
    sentences = []
    now = round(_LEAD_IN * RATE)
    for line in scene.get("lines", []):
        who, _, spoken = line.partition(": ")
        voice = speakers[who]["voice"]
        language = "ko" if voice.startswith("ko") else "en"
        if not accepts(spoken, language):
            raise ValueError(f"not in the grammar: {spoken!r}")
        speech = speak(spoken, **speakers[who]).astype(np.float64)
        said.append((now, speech * (_amplitude(scene.get("peak_db", _PEAK_DB)) / np.abs(speech).max())))
        end = now + len(speech)
        text = written(spoken, language)
        sentences.append({"text": text, "language": language, "voice": voice, "start": now, "end": end})
        now = end + round(random.uniform(*scene["pause"]) * RATE)
    length = sentences[-1]["end"] + round(_TAIL * RATE) if sentences else round(scene["seconds"] * RATE)
    sound = random.normal(0, _amplitude(scene.get("floor_db", _FLOOR_DB)), length)
    for start, speech in said:
        sound[start : start + len(speech)] += speech
    return np.rint(sound).clip(-32_768, 32_767).astype(np.int16), sentences


def _amplitude(db: float) -> float:
    return float(10 ** (db / 20) * 32_768)


def save(path: Path, sound: Sound, sentences: list[dict[str, Any]]) -> None:
    """Write the audio to path.flac and its sentences to path.json."""
    write_flac(path.with_suffix(".flac"), sound.tobytes())
    languages = {sentence["language"] for sentence in sentences}
    script = {"language": languages.pop() if len(languages) == 1 else None, "sentences": sentences}
    path.with_suffix(".json").write_text(json.dumps(script, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
