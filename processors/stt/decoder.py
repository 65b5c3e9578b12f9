"""From sounds to what was heard in them, a batch at a time: detection, decoding, the second attempt, words.

The encoder has no mask, so what comes out for a sound depends on the window that it is padded to. That window is a
function of the sound's own length, and a batch holds sounds of one window: so what a sound gives is the same alone
and in any company.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contract import SpeechOptions
from processors.stt.core import (
    Decoding,
    Heard,
    HeardSegment,
    HeardWord,
    compression_ratio,
    is_better,
    is_poor,
    is_silence,
)
from processors.stt.tokens import Span, place, spans
from processors.stt.whisper import FRAMES_PER_SECOND, FULL_WINDOW, Features, Prompt, Search, Whisper

FALLBACK = Search(beam_size=5, repetition_penalty=1.1)
"""How a window is decoded again, at full length, if it came out poor.

Five beams are what the Whisper paper takes against repetition (arXiv:2212.04356, 4.5). Not `no_repeat_ngram_size`:
where somebody does say a thing twice it makes up words, and the score, being that of the restricted search, hides it.
"""

LENGTHS = (500, 600, 800, 1_000, 1_200, 1_500, 2_000, 2_500, FULL_WINDOW)
"""Frames of the windows that there are: few, so that sounds of like length meet in one batch."""

MARGIN = 200
"""Frames of silence behind every sound: with less, whisper-micro loses words at the end of long ones."""

_LEAST_REST = 0.5
"""Seconds; what is shorter and was left undecoded holds no word."""

_MOST_ROUNDS = 8


def length_class(frames: int) -> int:
    """The least of LENGTHS that holds so many frames and the margin."""
    return next((length for length in LENGTHS if length >= frames + MARGIN), FULL_WINDOW)


def most_tokens(length: int) -> int:
    """Of a text whose sound has this length class: twice what the fastest speaker needs, so that a loop ends."""
    return 32 + 16 * length // FRAMES_PER_SECOND


@dataclass(frozen=True, eq=False)
class Sound:
    """One utterance, ready for the model. `shortest`: frames of the shortest window that the model understands."""

    features: Features
    options: SpeechOptions
    context: tuple[int, ...] = ()
    shortest: int = FULL_WINDOW
    draft: bool = False
    """An interim result is wanted: no words, no second attempt."""
    speech: float = 1.0
    """How sure it is that somebody speaks."""

    @property
    def frames(self) -> int:
        """Its length, in frames of 10 ms."""
        return int(self.features.shape[1])

    @property
    def length(self) -> int:
        """Its length class."""
        return length_class(self.frames)

    @property
    def cost(self) -> float:
        """Seconds of its encoder window."""
        return max(self.length, self.shortest) / FRAMES_PER_SECOND

    @property
    def group(self) -> Hashable:
        """Sounds of the same group can be decoded together."""
        return self.length, self.shortest, len(self.context)


@dataclass(eq=False)
class _Made:
    """What has been made of a sound."""

    language: str = ""
    languages: Mapping[str, float] = field(default_factory=dict)
    probability: float = 1.0
    segments: list[HeardSegment] = field(default_factory=list)
    no_speech: float = 0.0
    fallback: Search | None = None


@dataclass(eq=False)
class _Part:
    """What is left of a sound from frame `start` on."""

    sound: Sound
    made: _Made
    start: int = 0

    @property
    def frames(self) -> int:
        return min(self.sound.frames - self.start, FULL_WINDOW)

    @property
    def length(self) -> int:
        return length_class(self.frames)

    @property
    def window(self) -> int:
        return max(self.length, self.sound.shortest)

    @property
    def features(self) -> Features:
        return self.sound.features[:, self.start :]

    @property
    def prompt(self) -> Prompt:
        return Prompt(self.made.language, self.sound.options.task, self.sound.context)


@dataclass(eq=False)
class _Decoded:
    """A window's text, and where its encoding is."""

    part: _Part
    decoding: Decoding
    encoded: Any
    row: int
    spans: list[Span] = field(default_factory=list)


def decode(whisper: Whisper, sounds: Sequence[Sound], search: Search) -> list[Heard]:
    """What was heard in each sound. They must be of one `group`. Raises OutOfMemory, or what else the model does."""
    parts = [_Part(sound, _Made()) for sound in sounds]
    made = [part.made for part in parts]
    for _ in range(_MOST_ROUNDS):
        left: list[_Part] = []
        for group in _grouped(parts, lambda part: (part.window, part.length)):
            left += _decode_windows(whisper, group, search)
        if not (parts := left):
            break
    return [_heard(sound, one) for sound, one in zip(sounds, made, strict=True)]


def _decode_windows(whisper: Whisper, parts: list[_Part], search: Search) -> list[_Part]:
    """Decode one window of each part; returns what is left of those that had more."""
    encoded = whisper.encode([part.features for part in parts], parts[0].window)
    _find_languages(whisper, encoded, parts)
    prompts = [part.prompt for part in parts]
    found = whisper.generate(encoded, prompts, search, most_tokens(parts[0].length))
    results = [_Decoded(part, one, encoded, row) for row, (part, one) in enumerate(zip(parts, found, strict=True))]
    _decode_again(whisper, results, search)
    left = []
    for result in results:
        part, made = result.part, result.part.made
        made.no_speech = max(made.no_speech, result.decoding.no_speech_probability)
        seconds, rest = part.frames / FRAMES_PER_SECOND, None
        if not is_silence(result.decoding):
            result.spans, rest = spans(result.decoding.tokens, whisper.timestamp_begin, seconds)
        start = part.start + round((rest or seconds) * FRAMES_PER_SECOND)
        if part.sound.frames - start >= _LEAST_REST * FRAMES_PER_SECOND:
            left.append(_Part(part.sound, made, start))
    _add_segments(whisper, results)
    return left


def _find_languages(whisper: Whisper, encoded: Any, parts: Iterable[_Part]) -> None:
    unknown = [(row, part) for row, part in enumerate(parts) if not part.made.language]
    detect = whisper.multilingual and any(part.sound.options.language is None for _, part in unknown)
    detected = whisper.detect(encoded) if detect else []
    for row, part in unknown:
        made, options = part.made, part.sound.options
        if options.language is not None or not whisper.multilingual:
            made.language = options.language or "en"
            continue
        allowed = options.allowed_languages
        among = {code: p for code, p in detected[row].items() if allowed is None or code in allowed}
        total = sum(among.values()) or 1.0
        made.languages = {code: p / total for code, p in among.items()}
        made.language = max(made.languages, key=made.languages.__getitem__)
        made.probability = made.languages[made.language]


def _decode_again(whisper: Whisper, results: list[_Decoded], search: Search) -> None:
    """What came out poor is decoded once more, at full length and with a wider search; the better one stays."""
    poor = [result for result in results if not result.part.sound.draft and is_poor(result.decoding)]
    if not poor:
        return
    encoded = whisper.encode([result.part.features for result in poor], FULL_WINDOW)
    wider = Search(max(FALLBACK.beam_size, search.beam_size), FALLBACK.repetition_penalty)
    seconds = whisper.generate(encoded, [result.part.prompt for result in poor], wider, most_tokens(FULL_WINDOW))
    for row, (result, second) in enumerate(zip(poor, seconds, strict=True)):
        if is_better(second, result.decoding):
            result.decoding, result.encoded, result.row = second, encoded, row
            result.part.made.fallback = wider


def _add_segments(whisper: Whisper, results: Iterable[_Decoded]) -> None:
    spoken = [result for result in results if any(span.tokens for span in result.spans)]
    for group in _grouped(spoken, lambda r: (id(r.encoded), r.part.made.language, r.part.sound.options.task)):
        wanted = [result for result in group if not result.part.sound.draft]
        words: dict[int, Any] = {}
        if wanted:
            aligned = whisper.align(
                whisper.pick(wanted[0].encoded, [result.row for result in wanted]),
                wanted[0].part.made.language,
                wanted[0].part.sound.options.task,
                [[token for span in result.spans for token in span.tokens] for result in wanted],
                [result.part.frames for result in wanted],
            )
            words = {id(result): found for result, found in zip(wanted, aligned, strict=True)}
        for result in group:
            result.part.made.segments += _segments(whisper, result, words.get(id(result), []))


def _segments(whisper: Whisper, result: _Decoded, words: Sequence[Any]) -> list[HeardSegment]:
    at = result.part.start / FRAMES_PER_SECOND
    found = []
    for span, mine in place(result.spans, words):
        text = whisper.text(span.tokens)
        if text.strip():
            found.append(
                HeardSegment(
                    text=text,
                    tokens=len(span.tokens),
                    mean_log_probability=result.decoding.mean_log_probability,
                    compression_ratio=compression_ratio(text.strip()),
                    words=tuple(HeardWord(w.text, at + w.start, at + w.end, w.probability) for w in mine),
                )
            )
    return found


def _heard(sound: Sound, made: _Made) -> Heard:
    fallback = made.fallback
    return Heard(
        segments=tuple(made.segments),
        language=made.language,
        language_probability=made.probability,
        no_speech_probability=made.no_speech,
        languages=made.languages,
        decoding={
            "speech": round(sound.speech, 3),
            "window": sound.cost,
            "fallback": {"beam_size": fallback.beam_size, "repetition_penalty": fallback.repetition_penalty}
            if fallback
            else None,
        },
    )


def _grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
