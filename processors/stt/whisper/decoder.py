"""Decoding a batch: language detection, beam search, a second attempt at poor results, word times.

The encoder has no mask, so that its output depends on the length that the audio is padded to. Here that length depends
only on the sound's own length, and a batch holds only sounds with the same window. So a sound gives the same result
alone and in any batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import groupby
from time import perf_counter
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
    is_repetitive,
    is_silence,
)
from processors.stt.filters.speech import CERTAIN_SPEECH, SPEECH_THRESHOLD
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Features, Prompt, Search, Whisper
from processors.stt.whisper.language import Evidence, choose_language, choose_together, restrict
from processors.stt.whisper.tokens import AlignedWord, Span, assign_words, split_spans

FALLBACK = Search(beam_size=5, repetition_penalty=1.1)
"""How a window with a poor result is decoded again, at full length.

The Whisper paper uses five beams against repetition (arXiv:2212.04356, 4.5). `no_repeat_ngram_size` is not used: it
makes up words where somebody really repeats something, and the score of the restricted search hides that.
"""

WINDOW_LENGTHS = (500, 600, 800, 1_000, 1_200, 1_500, 2_000, 2_500, FULL_WINDOW)
"""Possible window lengths in frames: few, so that utterances of similar length share a batch."""

MARGIN = 200
"""Frames of silence behind every utterance: with less, whisper-micro loses words at the end of long ones."""

LONGEST_CONTEXT = 400
"""Frames of context. With more there are somewhat fewer errors, but its words take as long to decode as one's own."""

Turn = AbstractContextManager[Any]
"""Entered for each call of the model. The scheduler lets more urgent work go first between two calls."""

NO_TURNS: Turn = nullcontext()
"""For a caller that has the model to itself."""

_SHORT = 800

_MIN_REST = 0.5
"""Seconds. A shorter undecoded rest cannot hold a word."""

_MAX_ROUNDS = 8

_SLACK = 0.05
"""Seconds by which the middle of a word may lie before the sound of its utterance."""

_LONGEST_REST = 2.0
"""Seconds at the end of a part, of which 0.3 are padding, in which more than a breath would be missing."""

_LEAST_PROBABILITY = 1e-4


def window_length(frames: int) -> int:
    """The shortest of WINDOW_LENGTHS that holds so many frames and the margin."""
    return next((length for length in WINDOW_LENGTHS if length >= frames + MARGIN), FULL_WINDOW)


def context_length(frames: int, shortest: int) -> int:
    """Frames of earlier sound that an utterance of so many frames shares its window with, at most.

    For this a long utterance takes a longer window than alone, up to the longest.
    """
    window = max(shortest, window_length(frames + LONGEST_CONTEXT))
    return min(LONGEST_CONTEXT, max(0, window - MARGIN - frames))


def text_length(frames: int, shortest: int) -> int:
    """Frames that the limit of a text is for. Sounds of more than 6 s share that of their window, and so a batch."""
    length = window_length(frames)
    return length if length <= _SHORT else max(length, shortest)


def max_tokens(length: int) -> int:
    """Limit of a text in a window of this length: twice what the fastest speaker needs, so that loops end."""
    return 32 + 16 * length // FRAMES_PER_SECOND


@dataclass(frozen=True)
class PreparedPart:
    """One utterance in a sound; seconds from the sound's beginning. `speech`: the speech score of the utterance.

    Words from `own` on are its words, up to those of the next part. What lies before the first part is context.
    """

    own: float
    start: float
    end: float
    speech: float = 1.0

    @property
    def seconds(self) -> float:
        """Length of the utterance."""
        return self.end - self.start


@dataclass(frozen=True, eq=False)
class PreparedAudio:
    """The sound of a window, ready for the model. `shortest`: frames of the shortest window that the model supports."""

    features: Features
    options: SpeechOptions
    context: tuple[int, ...] = ()
    """Tokens of the prompt."""
    shortest: int = FULL_WINDOW
    interim: bool = False
    """For an interim result: no second attempt, and word times only to tell its words from the context's."""
    parts: tuple[PreparedPart, ...] = ()
    """The utterances in it, in order; () is one that fills it."""
    language: str | None = None
    """Set if it is known already."""
    evidence: tuple[Evidence, ...] = ()
    """What was said around it, if its language is not known."""

    @property
    def heard(self) -> tuple[PreparedPart, ...]:
        """The utterances in it."""
        return self.parts or (PreparedPart(0.0, 0.0, self.seconds),)

    @property
    def is_shared(self) -> bool:
        """Whether there is more in it than one utterance."""
        return len(self.parts) > 1 or any(part.own > 0 for part in self.parts)

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
        """Only sounds of the same group can share a batch."""
        return text_length(self.frames, self.shortest), self.shortest, len(self.context)

    def excerpt(
        self, first: int, last: int, language: str | None, evidence: tuple[Evidence, ...] = ()
    ) -> PreparedAudio:
        """Only the parts `first` to `last`, inclusive, without context."""
        begin, end = self.heard[first].own, self.heard[last].end
        parts = tuple(
            replace(part, own=part.own - begin, start=part.start - begin, end=part.end - begin)
            for part in self.heard[first : last + 1]
        )
        features = self.features[:, round(begin * FRAMES_PER_SECOND) : round(end * FRAMES_PER_SECOND)]
        return replace(self, features=features, parts=parts, language=language, evidence=evidence)


@dataclass(eq=False)
class _Progress:
    """What has been decoded of a sound so far. The lists have an element for each part."""

    audio: PreparedAudio
    languages: list[str] = field(default_factory=list)
    detected: list[Mapping[str, float]] = field(default_factory=list)
    main: str = ""
    """The language that is spoken longest, if it seems that there are several; parts in others are decoded apart."""
    segments: list[list[DecodedSegment]] = field(default_factory=list)
    no_speech: float = 0.0
    fallback: Search | None = None
    is_repetitive: bool = False

    def runs(self) -> list[tuple[int, int, str]]:
        """First and last part of each run of parts in the same language."""
        found = []
        for language, members in groupby(range(len(self.languages)), self.languages.__getitem__):
            run = list(members)
            found.append((run[0], run[-1], language))
        return found


@dataclass(eq=False)
class _Rest:
    """What is still to be decoded of a sound: all of it from frame `start` on."""

    progress: _Progress
    start: int = 0

    @property
    def audio(self) -> PreparedAudio:
        return self.progress.audio

    @property
    def frames(self) -> int:
        return min(self.audio.frames - self.start, FULL_WINDOW)

    @property
    def length(self) -> int:
        return text_length(self.frames, self.audio.shortest)

    @property
    def window(self) -> int:
        return max(self.length, self.audio.shortest)

    @property
    def features(self) -> Features:
        return self.audio.features[:, self.start :]

    @property
    def prompt(self) -> Prompt:
        return Prompt(self.progress.languages[0], self.audio.options.task, self.audio.context)


@dataclass(eq=False)
class _Window:
    """A decoded window, and where its encoding is: row `row` of `encoded`."""

    rest: _Rest
    hypothesis: Hypothesis
    encoded: Any
    row: int
    spans: list[Span] = field(default_factory=list)
    resume_at: float | None = None
    """Second at which decoding must go on, because the text is not complete."""
    last_word_end: float = 0.0


class Calls:
    """Makes the calls of a model, each in a turn of its own, and adds up what they take."""

    def __init__(self, turn: Turn) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        """Seconds by kind of call, without those that it waited for its turn."""
        self._turn = turn

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        """Enter this for a call of one kind."""
        with self._turn:
            began = perf_counter()
            yield
            self.seconds[kind] += perf_counter() - began


def decode(
    whisper: Whisper, batch: Sequence[PreparedAudio], search: Search, turn: Turn = NO_TURNS
) -> list[DecodeResult]:
    """Decode sounds of one `group`. Raises OutOfMemory, or whatever else the model or the turn raises.

    The result of a sound with several parts has one result for each of them in `parts`.
    """
    calls = Calls(turn)
    found = _decode(whisper, batch, search, calls)
    timing = {kind: round(seconds, 4) for kind, seconds in calls.seconds.items()}
    return [_joined([replace(one, timing=timing) for one in results]) for results in found]


def _joined(parts: list[DecodeResult]) -> DecodeResult:
    return parts[0] if len(parts) == 1 else replace(parts[0], parts=tuple(parts))


def _decode(whisper: Whisper, batch: Sequence[PreparedAudio], search: Search, calls: Calls) -> list[list[DecodeResult]]:
    """Decode sounds of one group; gives the results of the parts of each."""
    progress = [_Progress(audio, segments=[[] for _ in audio.heard]) for audio in batch]
    rests = [_Rest(one) for one in progress]
    for _ in range(_MAX_ROUNDS):
        left: list[_Rest] = []
        for group in _grouped(rests, lambda rest: (rest.window, rest.length)):
            left += _decode_windows(whisper, group, search, calls)
        if not (rests := left):
            break
    found = [_results(one) for one in progress]
    _decode_apart(whisper, progress, found, search, calls)
    return found


def _decode_apart(
    whisper: Whisper, progress: Sequence[_Progress], found: list[list[DecodeResult]], search: Search, calls: Calls
) -> None:
    """Decode parts without the others: those in another language, and those whose result cannot be trusted."""
    apart: list[tuple[int, int, PreparedAudio]] = []
    for at, one in enumerate(progress):
        if not one.audio.is_shared:
            continue
        if one.main:
            apart += [(at, first, audio) for first, audio in _by_language(one)]
        elif not one.audio.interim:
            suspects = (part for part in range(len(one.segments)) if _is_suspect(one, part))
            apart += [(at, part, one.audio.excerpt(part, part, one.languages[part])) for part in suspects]
    for group in _grouped(apart, lambda piece: piece[2].group):
        made = _decode(whisper, [audio for *_, audio in group], search, calls)
        for (at, first, _), results in zip(group, made, strict=True):
            one = progress[at]
            for part, second in enumerate(results, first):
                if one.main or one.is_repetitive or _words(second) > _words(found[at][part]):
                    found[at][part] = replace(second, languages={}, decoding={**second.decoding, "apart": True})


def _by_language(progress: _Progress) -> Iterator[tuple[int, PreparedAudio]]:
    """The sound of each run of parts in the main language, and of each other part; with the number of the first part.

    The detection beside others can be wrong, so the language of other parts is detected again by their own sound.
    """
    for first, last, language in progress.runs():
        if language == progress.main:
            yield first, progress.audio.excerpt(first, last, language)
        else:
            for part in range(first, last + 1):
                yield part, progress.audio.excerpt(part, part, None, (Evidence(progress.main, 0.9, 30.0, 1.0),))


def _is_suspect(progress: _Progress, part: int) -> bool:
    """Whether what one part was decoded to beside others may miss words or be part of a loop."""
    heard, segments = progress.audio.heard[part], progress.segments[part]
    if heard.speech < SPEECH_THRESHOLD:
        return False
    words = [word for segment in segments for word in segment.words]
    return progress.is_repetitive or not words or heard.seconds - words[-1].end > _LONGEST_REST


def _words(result: DecodeResult) -> int:
    return len(result.text.split()) if " " in result.text else len(result.text)


def _decode_windows(whisper: Whisper, rests: list[_Rest], search: Search, calls: Calls) -> list[_Rest]:
    """Decode one window of each sound; returns what is left of the sounds that are longer."""
    encoded = whisper.encode([rest.features for rest in rests], rests[0].window, lambda: calls("encode"))
    _choose_languages(whisper, encoded, rests, calls)
    rows = [row for row, rest in enumerate(rests) if not rest.progress.main]
    if not rows:
        return []
    rests = [rests[row] for row in rows]
    with calls("generate"):
        encoded = whisper.select(encoded, rows)
        found = whisper.generate(encoded, [rest.prompt for rest in rests], search, max_tokens(rests[0].length))
    windows = [_Window(rest, one, encoded, row) for row, (rest, one) in enumerate(zip(rests, found, strict=True))]
    _decode_poor_again(whisper, windows, search, calls)
    for window in windows:
        progress, seconds = window.rest.progress, window.rest.frames / FRAMES_PER_SECOND
        progress.no_speech = max(progress.no_speech, window.hypothesis.no_speech_probability)
        progress.is_repetitive |= is_repetitive(window.hypothesis)
        if not is_silence(window.hypothesis):
            window.spans, window.resume_at = split_spans(window.hypothesis.tokens, whisper.timestamp_begin, seconds)
    _add_segments(whisper, windows, calls)
    return [rest for window in windows if (rest := _rest(window))]


def _rest(window: _Window) -> _Rest | None:
    """What is left of a sound, if that is more than nothing.

    Timestamps can be seconds too early, and what is decoded already would be decoded twice; words tell better where
    the text ends.
    """
    rest = window.rest
    at = max(window.resume_at or rest.frames / FRAMES_PER_SECOND, window.last_word_end)
    start = rest.start + round(at * FRAMES_PER_SECOND)
    return _Rest(rest.progress, start) if rest.audio.frames - start >= _MIN_REST * FRAMES_PER_SECOND else None


def _choose_languages(whisper: Whisper, encoded: Any, rests: Sequence[_Rest], calls: Calls) -> None:
    """Set the language of each part of the sounds that have none yet.

    The given language, or the likeliest of those allowed. In a window that is shared, each part is judged by its own
    sound, and an unclear one goes with the parts around it and with the context.
    """
    unknown = [(row, rest) for row, rest in enumerate(rests) if not rest.progress.languages]
    together: list[tuple[int, _Rest]] = []
    readable = None  # copied from the device once
    for row, rest in unknown:
        audio = rest.audio
        given = audio.language or audio.options.language
        if given is not None or not whisper.multilingual:
            rest.progress.languages = [given or "en"] * len(audio.heard)
        elif audio.is_shared:
            if readable is None:
                with calls("detect"):
                    readable = whisper.in_memory(encoded)
            _choose_by_part(whisper, readable, row, rest.progress, calls)
        else:
            together.append((row, rest))
    if not together:
        return
    with calls("detect"):
        detected = whisper.detect_languages(encoded)
    for row, rest in together:
        audio, among = rest.audio, _allowed(detected[row], rest.audio.options)
        chosen = choose_language(among, audio.seconds, audio.options.allowed_languages, audio.evidence)
        rest.progress.detected = [among]
        rest.progress.languages = [chosen.language if audio.evidence else next(iter(among))]


def _choose_by_part(whisper: Whisper, encoded: Any, row: int, progress: _Progress, calls: Calls) -> None:
    audio, parts = progress.audio, list(progress.audio.heard)
    if parts[0].own > 0:
        parts.insert(0, PreparedPart(0.0, 0.0, parts[0].own))  # the context has a language too
    # The detection of a sound in which perhaps nobody speaks must not part it from the others.
    least = CERTAIN_SPEECH if any(part.speech >= CERTAIN_SPEECH for part in parts) else SPEECH_THRESHOLD
    detected: list[Mapping[str, float]] = []
    for part in parts:
        found: Mapping[str, float] = {}
        if part.speech >= least:
            with calls("detect"):
                found = whisper.detect_languages(whisper.between(encoded, row, part.start, part.end))[0]
            found = _allowed(found, audio.options)
        detected.append(found)
    chosen = choose_together(detected, [part.seconds for part in parts], audio.options.allowed_languages)
    if len(set(chosen)) > 1:
        spoken: dict[str, float] = defaultdict(float)
        for language, part in zip(chosen, parts, strict=True):
            spoken[language] += part.seconds
        progress.main = max(spoken, key=spoken.__getitem__)
    progress.languages = chosen[-len(audio.heard) :]
    progress.detected = detected[-len(audio.heard) :]


def _allowed(detected: Mapping[str, float], options: SpeechOptions) -> Mapping[str, float]:
    """Probabilities of the allowed languages; if none of them was detected, the first one has probability 0."""
    allowed = options.allowed_languages or detected
    return restrict(detected, options.allowed_languages) or {next(code for code in allowed if code in detected): 0.0}


def _decode_poor_again(whisper: Whisper, windows: list[_Window], search: Search, calls: Calls) -> None:
    """Decode windows with a poor result once more, at full length and with a wider search; keep the better result."""
    poor = [window for window in windows if not window.rest.audio.interim and is_poor(window.hypothesis)]
    if not poor:
        return
    encoded = whisper.encode([window.rest.features for window in poor], FULL_WINDOW, lambda: calls("encode"))
    wider = Search(max(FALLBACK.beam_size, search.beam_size), FALLBACK.repetition_penalty)
    with calls("generate"):
        prompts = [window.rest.prompt for window in poor]
        seconds = whisper.generate(encoded, prompts, wider, max_tokens(poor[0].rest.length))
    for row, (window, second) in enumerate(zip(poor, seconds, strict=True)):
        if is_better(second, window.hypothesis):
            window.hypothesis, window.encoded, window.row = second, encoded, row
            window.rest.progress.fallback = wider


def _add_segments(whisper: Whisper, windows: Iterable[_Window], calls: Calls) -> None:
    """Align the words of all windows that need them, and add each window's segments to its parts."""
    with_text = [window for window in windows if any(span.tokens for span in window.spans)]
    for group in _grouped(
        with_text, lambda w: (id(w.encoded), w.rest.progress.languages[0], w.rest.audio.options.task)
    ):
        timed = [window for window in group if not window.rest.audio.interim or window.rest.audio.is_shared]
        words: dict[int, list[AlignedWord]] = {}
        if timed:
            with calls("align"):
                aligned = whisper.align(
                    whisper.select(timed[0].encoded, [window.row for window in timed]),
                    timed[0].rest.progress.languages[0],
                    timed[0].rest.audio.options.task,
                    [[token for span in window.spans for token in span.tokens] for window in timed],
                    [window.rest.frames for window in timed],
                )
            words = {id(window): found for window, found in zip(timed, aligned, strict=True)}
        for window in group:
            for part, segment in _segments(whisper, window, words.get(id(window), [])):
                window.rest.progress.segments[part].append(segment)


def _segments(whisper: Whisper, window: _Window, words: Sequence[AlignedWord]) -> Iterator[tuple[int, DecodedSegment]]:
    """The segments of a window, each with the number of its part; those of the context are left out."""
    audio, at = window.rest.audio, window.rest.start / FRAMES_PER_SECOND
    for span, mine in assign_words(window.spans, words):
        text = whisper.text(span.tokens)
        if not text.strip():
            continue
        if mine:
            window.last_word_end = mine[-1].end
        if not audio.is_shared:
            yield 0, _segment(text, len(span.tokens), window.hypothesis.mean_log_probability, mine, at)
            continue
        if not mine:  # the aligner found no words
            if (part := _part_at(audio, at + (span.start + span.end) / 2)) is not None:
                yield part, _segment(text, len(span.tokens), window.hypothesis.mean_log_probability, (), at)
            continue
        for found, members in groupby(mine, lambda word: _part_at(audio, at + (word.start + word.end) / 2)):
            if found is not None:
                own = list(members)
                tokens = sum(word.tokens for word in own)
                likely = sum(word.tokens * math.log(max(word.probability, _LEAST_PROBABILITY)) for word in own)
                text = "".join(word.text for word in own)
                yield found, _segment(text, tokens, likely / max(1, tokens), own, at - audio.heard[found].start)


def _segment(text: str, tokens: int, likely: float, words: Iterable[AlignedWord], at: float) -> DecodedSegment:
    return DecodedSegment(
        text=text,
        tokens=tokens,
        mean_log_probability=likely,
        compression_ratio=compression_ratio(text.strip()),
        words=tuple(DecodedWord(w.text, at + w.start, at + w.end, w.probability) for w in words),
    )


def _part_at(audio: PreparedAudio, seconds: float) -> int | None:
    """The part whose words are said at this time; None: it is context."""
    found = None
    for number, part in enumerate(audio.heard):
        if seconds >= part.own - _SLACK or part.own == 0:
            found = number
    return found


def _results(progress: _Progress) -> list[DecodeResult]:
    """The result of each part."""
    audio, fallback = progress.audio, progress.fallback
    shared: dict[str, Any] = {}
    if audio.is_shared:
        # Where a word is depends on the others in the window.
        shared = {"context": round(audio.heard[0].own, 2), "together": len(audio.heard)}
    return [
        DecodeResult(
            segments=tuple(segments),
            language=progress.languages[number],
            language_probability=_probability(progress, number),
            no_speech_probability=progress.no_speech,
            # The parts of a shared window are evidence for each other already.
            languages={} if audio.is_shared or not progress.detected else progress.detected[number],
            decoding={
                "speech": round(part.speech, 3),
                "window": audio.cost,
                **shared,
                "fallback": {"beam_size": fallback.beam_size, "repetition_penalty": fallback.repetition_penalty}
                if fallback
                else None,
            },
        )
        for number, (part, segments) in enumerate(zip(audio.heard, progress.segments, strict=True))
    ]


def _probability(progress: _Progress, part: int) -> float:
    """The probability of the language of a part by detection; 1 if it was given."""
    return progress.detected[part].get(progress.languages[part], 0.0) if progress.detected else 1.0


def _grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
