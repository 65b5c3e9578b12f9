"""Decoding a batch: language detection, beam search, a second attempt at poor results, word times.

The encoder has no mask, so that its output depends on the length that the audio is padded to. Here that length depends
only on the sound's own length, and a batch holds only sounds with the same window. So a sound gives the same result
alone and in any batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from time import perf_counter
from typing import Any

from contract import SpeechOptions
from processors.stt.core import (
    DecodeResult,
    is_better,
    is_poor,
    is_repetitive,
    is_silence,
)
from processors.stt.filters.speech import CERTAIN_SPEECH, SPEECH_THRESHOLD
from processors.stt.whisper.backend import FRAMES_PER_SECOND, FULL_WINDOW, Search, Whisper
from processors.stt.whisper.language import choose_language, choose_together, restrict
from processors.stt.whisper.prepared import PreparedAudio, PreparedPart, max_tokens
from processors.stt.whisper.progress import (
    Progress,
    Rest,
    Window,
    by_language,
    is_suspect,
    rest_of,
    results_of,
    segments_of,
    word_count,
)
from processors.stt.whisper.tokens import AlignedWord, split_spans

FALLBACK = Search(beam_size=5, repetition_penalty=1.1)
"""How a window with a poor result is decoded again, at full length.

The Whisper paper uses five beams against repetition (arXiv:2212.04356, 4.5). `no_repeat_ngram_size` is not used: it
makes up words where somebody really repeats something, and the score of the restricted search hides that.
"""

Turn = AbstractContextManager[Any]
"""Entered for each call of the model. The scheduler lets more urgent work go first between two calls."""

NO_TURNS: Turn = nullcontext()
"""For a caller that has the model to itself."""

_MAX_ROUNDS = 8


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
    progress = [Progress(audio, segments=[[] for _ in audio.heard]) for audio in batch]
    rests = [Rest(one) for one in progress]
    for _ in range(_MAX_ROUNDS):
        left: list[Rest] = []
        for group in _grouped(rests, lambda rest: (rest.window, rest.length)):
            left += _decode_windows(whisper, group, search, calls)
        if not (rests := left):
            break
    found = [results_of(one) for one in progress]
    _decode_apart(whisper, progress, found, search, calls)
    return found


def _decode_apart(
    whisper: Whisper, progress: Sequence[Progress], found: list[list[DecodeResult]], search: Search, calls: Calls
) -> None:
    """Decode parts without the others: those in another language, and those whose result cannot be trusted."""
    apart: list[tuple[int, int, PreparedAudio]] = []
    for at, one in enumerate(progress):
        if not one.audio.is_shared:
            continue
        if one.main:
            apart += [(at, first, audio) for first, audio in by_language(one)]
        elif not one.audio.interim:
            suspects = (part for part in range(len(one.segments)) if is_suspect(one, part))
            apart += [(at, part, one.audio.excerpt(part, part, one.languages[part])) for part in suspects]
    for group in _grouped(apart, lambda piece: piece[2].group):
        made = _decode(whisper, [audio for *_, audio in group], search, calls)
        for (at, first, _), results in zip(group, made, strict=True):
            one = progress[at]
            for part, second in enumerate(results, first):
                if one.main or one.is_repetitive or word_count(second) > word_count(found[at][part]):
                    found[at][part] = replace(second, languages={}, decoding={**second.decoding, "apart": True})


def _decode_windows(whisper: Whisper, rests: list[Rest], search: Search, calls: Calls) -> list[Rest]:
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
    windows = [Window(rest, one, encoded, row) for row, (rest, one) in enumerate(zip(rests, found, strict=True))]
    _decode_poor_again(whisper, windows, search, calls)
    for window in windows:
        progress, seconds = window.rest.progress, window.rest.frames / FRAMES_PER_SECOND
        progress.no_speech = max(progress.no_speech, window.hypothesis.no_speech_probability)
        progress.is_repetitive |= is_repetitive(window.hypothesis)
        if not is_silence(window.hypothesis):
            window.spans, window.resume_at = split_spans(window.hypothesis.tokens, whisper.timestamp_begin, seconds)
    _add_segments(whisper, windows, calls)
    return [rest for window in windows if (rest := rest_of(window))]


def _choose_languages(whisper: Whisper, encoded: Any, rests: Sequence[Rest], calls: Calls) -> None:
    """Set the language of each part of the sounds that have none yet.

    The given language, or the likeliest of those allowed. In a window that is shared, each part is judged by its own
    sound, and an unclear one goes with the parts around it and with the context.
    """
    unknown = [(row, rest) for row, rest in enumerate(rests) if not rest.progress.languages]
    together: list[tuple[int, Rest]] = []
    for row, rest in unknown:
        audio = rest.audio
        given = audio.language or audio.options.language
        if given is not None or not whisper.multilingual:
            rest.progress.languages = [given or "en"] * len(audio.heard)
        elif audio.is_shared:
            _choose_by_part(whisper, encoded, row, rest.progress, calls)
        else:
            together.append((row, rest))
    if not together:
        return
    with calls("detect"):
        detected = whisper.detect_languages(encoded)
    for row, rest in together:
        audio, among = rest.audio, _allowed(detected[row], rest.audio.options)
        language = next(iter(among))
        if audio.evidence:
            allowed = audio.options.allowed_languages
            language = choose_language(among, audio.seconds, allowed, audio.evidence).language
        rest.progress.detected, rest.progress.languages = [among], [language]


def _choose_by_part(whisper: Whisper, encoded: Any, row: int, progress: Progress, calls: Calls) -> None:
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


def _decode_poor_again(whisper: Whisper, windows: list[Window], search: Search, calls: Calls) -> None:
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


def _add_segments(whisper: Whisper, windows: Iterable[Window], calls: Calls) -> None:
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
            for part, segment in segments_of(whisper, window, words.get(id(window), [])):
                window.rest.progress.segments[part].append(segment)


def _grouped(items: Iterable[Any], key: Callable[[Any], Hashable]) -> list[list[Any]]:
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return list(groups.values())
