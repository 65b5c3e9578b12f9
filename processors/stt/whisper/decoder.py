"""Decoding a batch: language detection, beam search, a second attempt at poor results, word times.

The encoder has no mask, so that its output depends on the length that the audio is padded to. Here that length depends
only on the utterance's own length, and a batch holds only utterances with the same window. So an utterance gives the
same result alone and in any batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from contract import SpeechOptions
from processors.stt.core import (
    DecodedSegment,
    DecodedWord,
    DecodeResult,
    Hypothesis,
    compression_ratio,
    is_better,
    is_poor,
    is_silence,
)
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Features, Prompt, Search, Whisper
from processors.stt.whisper.language import restrict
from processors.stt.whisper.tokens import Span, assign_words, split_spans

FALLBACK = Search(beam_size=5, repetition_penalty=1.1)
"""How a window with a poor result is decoded again, at full length.

The Whisper paper uses five beams against repetition (arXiv:2212.04356, 4.5). `no_repeat_ngram_size` is not used: it
makes up words where somebody really repeats something, and the score of the restricted search hides that.
"""

WINDOW_LENGTHS = (500, 600, 800, 1_000, 1_200, 1_500, 2_000, 2_500, FULL_WINDOW)
"""Possible window lengths in frames: few, so that utterances of similar length share a batch."""

MARGIN = 200
"""Frames of silence behind every utterance: with less, whisper-micro loses words at the end of long ones."""

Turn = AbstractContextManager[Any]
"""Entered for each call of the model. The scheduler lets more urgent work go first between two calls."""

NO_TURNS: Turn = nullcontext()
"""For a caller that has the model to itself."""

_MIN_REST = 0.5
"""Seconds. A shorter undecoded rest cannot hold a word."""

_MAX_ROUNDS = 8


def window_length(frames: int) -> int:
    """The shortest of WINDOW_LENGTHS that holds so many frames and the margin."""
    return next((length for length in WINDOW_LENGTHS if length >= frames + MARGIN), FULL_WINDOW)


def max_tokens(length: int) -> int:
    """Limit of a text in a window of this length: twice what the fastest speaker needs, so that loops end."""
    return 32 + 16 * length // FRAMES_PER_SECOND


@dataclass(frozen=True, eq=False)
class PreparedAudio:
    """One utterance, ready for the model. `shortest`: frames of the shortest window that the model supports."""

    features: Features
    options: SpeechOptions
    context: tuple[int, ...] = ()
    shortest: int = FULL_WINDOW
    interim: bool = False
    """For an interim result: no word times, no second attempt."""
    speech: float = 1.0
    """The speech score of the audio."""

    @property
    def frames(self) -> int:
        """Its length, in frames of 10 ms."""
        return int(self.features.shape[1])

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.frames / FRAMES_PER_SECOND

    @property
    def cost(self) -> float:
        """Seconds of its encoder window."""
        return max(window_length(self.frames), self.shortest) / FRAMES_PER_SECOND

    @property
    def group(self) -> Hashable:
        """Only utterances of the same group can share a batch."""
        return window_length(self.frames), self.shortest, len(self.context)


@dataclass(eq=False)
class _Progress:
    """What has been decoded of an utterance so far."""

    language: str = ""
    languages: Mapping[str, float] = field(default_factory=dict)
    probability: float = 1.0
    segments: list[DecodedSegment] = field(default_factory=list)
    no_speech: float = 0.0
    fallback: Search | None = None


@dataclass(eq=False)
class _Rest:
    """What is still to be decoded of an utterance: all of it from frame `start` on."""

    audio: PreparedAudio
    progress: _Progress
    start: int = 0

    @property
    def frames(self) -> int:
        return min(self.audio.frames - self.start, FULL_WINDOW)

    @property
    def length(self) -> int:
        return window_length(self.frames)

    @property
    def window(self) -> int:
        return max(self.length, self.audio.shortest)

    @property
    def features(self) -> Features:
        return self.audio.features[:, self.start :]

    @property
    def prompt(self) -> Prompt:
        return Prompt(self.progress.language, self.audio.options.task, self.audio.context)


@dataclass(eq=False)
class _Window:
    """A decoded window, and where its encoding is: row `row` of `encoded`."""

    rest: _Rest
    hypothesis: Hypothesis
    encoded: Any
    row: int
    spans: list[Span] = field(default_factory=list)


def decode(
    whisper: Whisper, batch: Sequence[PreparedAudio], search: Search, turn: Turn = NO_TURNS
) -> list[DecodeResult]:
    """Decode utterances of one `group`. Raises OutOfMemory, or whatever else the model or the turn raises."""
    rests = [_Rest(audio, _Progress()) for audio in batch]
    progress = [rest.progress for rest in rests]
    for _ in range(_MAX_ROUNDS):
        left: list[_Rest] = []
        for group in _grouped(rests, lambda rest: (rest.window, rest.length)):
            left += _decode_windows(whisper, group, search, turn)
        if not (rests := left):
            break
    return [_result(audio, made) for audio, made in zip(batch, progress, strict=True)]


def _decode_windows(whisper: Whisper, rests: list[_Rest], search: Search, turn: Turn) -> list[_Rest]:
    """Decode one window of each utterance; returns what is left of the utterances that are longer."""
    with turn:
        encoded = whisper.encode([rest.features for rest in rests], rests[0].window)
    _detect_languages(whisper, encoded, rests, turn)
    prompts = [rest.prompt for rest in rests]
    with turn:
        found = whisper.generate(encoded, prompts, search, max_tokens(rests[0].length))
    windows = [_Window(rest, one, encoded, row) for row, (rest, one) in enumerate(zip(rests, found, strict=True))]
    _decode_poor_again(whisper, windows, search, turn)
    left = []
    for window in windows:
        rest, progress = window.rest, window.rest.progress
        progress.no_speech = max(progress.no_speech, window.hypothesis.no_speech_probability)
        seconds, resume_at = rest.frames / FRAMES_PER_SECOND, None
        if not is_silence(window.hypothesis):
            window.spans, resume_at = split_spans(window.hypothesis.tokens, whisper.timestamp_begin, seconds)
        start = rest.start + round((resume_at or seconds) * FRAMES_PER_SECOND)
        if rest.audio.frames - start >= _MIN_REST * FRAMES_PER_SECOND:
            left.append(_Rest(rest.audio, progress, start))
    _add_segments(whisper, windows, turn)
    return left


def _detect_languages(whisper: Whisper, encoded: Any, rests: Iterable[_Rest], turn: Turn) -> None:
    """Set the language of each utterance that has none yet: the given one, or the likeliest of those allowed."""
    unknown = [(row, rest) for row, rest in enumerate(rests) if not rest.progress.language]
    detect = whisper.multilingual and any(rest.audio.options.language is None for _, rest in unknown)
    detected: Sequence[Mapping[str, float]] = []
    if detect:
        with turn:
            detected = whisper.detect_languages(encoded)
    for row, rest in unknown:
        progress, options = rest.progress, rest.audio.options
        if options.language is not None or not whisper.multilingual:
            progress.language = options.language or "en"
            continue
        allowed = options.allowed_languages or detected[row]
        progress.languages = restrict(detected[row], options.allowed_languages) or {
            next(code for code in allowed if code in detected[row]): 0.0  # each allowed language has probability 0
        }
        progress.language, progress.probability = next(iter(progress.languages.items()))


def _decode_poor_again(whisper: Whisper, windows: list[_Window], search: Search, turn: Turn) -> None:
    """Decode windows with a poor result once more, at full length and with a wider search; keep the better result."""
    poor = [window for window in windows if not window.rest.audio.interim and is_poor(window.hypothesis)]
    if not poor:
        return
    with turn:
        encoded = whisper.encode([window.rest.features for window in poor], FULL_WINDOW)
    wider = Search(max(FALLBACK.beam_size, search.beam_size), FALLBACK.repetition_penalty)
    with turn:
        seconds = whisper.generate(encoded, [window.rest.prompt for window in poor], wider, max_tokens(FULL_WINDOW))
    for row, (window, second) in enumerate(zip(poor, seconds, strict=True)):
        if is_better(second, window.hypothesis):
            window.hypothesis, window.encoded, window.row = second, encoded, row
            window.rest.progress.fallback = wider


def _add_segments(whisper: Whisper, windows: Iterable[_Window], turn: Turn) -> None:
    """Align the words of all windows that need them, and add each window's segments to its utterance."""
    with_text = [window for window in windows if any(span.tokens for span in window.spans)]
    for group in _grouped(with_text, lambda w: (id(w.encoded), w.rest.progress.language, w.rest.audio.options.task)):
        final = [window for window in group if not window.rest.audio.interim]
        words: dict[int, Any] = {}
        if final:
            with turn:
                aligned = whisper.align(
                    whisper.select(final[0].encoded, [window.row for window in final]),
                    final[0].rest.progress.language,
                    final[0].rest.audio.options.task,
                    [[token for span in window.spans for token in span.tokens] for window in final],
                    [window.rest.frames for window in final],
                )
            words = {id(window): found for window, found in zip(final, aligned, strict=True)}
        for window in group:
            window.rest.progress.segments += _segments(whisper, window, words.get(id(window), []))


def _segments(whisper: Whisper, window: _Window, words: Sequence[Any]) -> list[DecodedSegment]:
    at = window.rest.start / FRAMES_PER_SECOND
    segments = []
    for span, mine in assign_words(window.spans, words):
        text = whisper.text(span.tokens)
        if text.strip():
            segments.append(
                DecodedSegment(
                    text=text,
                    tokens=len(span.tokens),
                    mean_log_probability=window.hypothesis.mean_log_probability,
                    compression_ratio=compression_ratio(text.strip()),
                    words=tuple(DecodedWord(w.text, at + w.start, at + w.end, w.probability) for w in mine),
                )
            )
    return segments


def _result(audio: PreparedAudio, progress: _Progress) -> DecodeResult:
    fallback = progress.fallback
    return DecodeResult(
        segments=tuple(progress.segments),
        language=progress.language,
        language_probability=progress.probability,
        no_speech_probability=progress.no_speech,
        languages=progress.languages,
        decoding={
            "speech": round(audio.speech, 3),
            "window": audio.cost,
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
