"""Which sound an utterance is decoded in: behind what was said before it, or together with its neighbours.

A speech model understands a sentence better if it hears what was said around it. The sound is read from the stream of
utterances, backwards from one to the one before. It is stored, so that every worker, and every redelivery and replay,
decodes the same; earlier text would not do, because it may be late or wrong, and a mistake in it would be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bus import Bus
from bus.speech import utterance_before
from contract import LONGEST_PAUSE, LONGEST_WINDOW, WIDTH, Snapshot, Utterance
from processors.stt.core import Part
from processors.stt.scheduling.scheduler import SpeechEngine


@dataclass(frozen=True)
class Sound:
    """What is decoded as a whole: `pcm`, and where the utterances are in it."""

    pcm: bytes
    parts: tuple[Part, ...]

    @property
    def samples(self) -> int:
        """Its length."""
        return len(self.pcm) // WIDTH


def merged(window: Sequence[Utterance | Snapshot]) -> Sound:
    """The sound of utterances in a row, each behind its lead."""
    pcm: list[bytes] = []
    parts: list[Part] = []
    own = 0
    for said in window:
        room = max(0, LONGEST_WINDOW - len(said.pcm) // WIDTH - own) * WIDTH
        lead = said.lead[max(0, len(said.lead) - room) :]
        start = own + len(lead) // WIDTH
        end = start + len(said.pcm) // WIDTH
        pcm += [lead, said.pcm]
        parts.append(Part(own, start, end))
        own = end
    return Sound(b"".join(pcm), tuple(parts))


async def sound_of(bus: Bus, window: Sequence[Utterance | Snapshot], engine: SpeechEngine) -> Sound:
    """The sound in which an engine decodes utterances in a row, behind what was said before them."""
    if not engine.in_context:
        return Sound(window[0].pcm, ())
    sound = merged(window)
    return await _behind_context(bus, window[0], sound, engine.context(sound.samples, merged=len(window) > 1))


async def _behind_context(bus: Bus, said: Utterance | Snapshot, sound: Sound, samples: int) -> Sound:
    """`sound`, which is that of `said`, behind up to `samples` samples of what was said before it."""
    pcm: list[bytes] = []
    found, later = 0, said
    while found < samples and (earlier := await utterance_before(bus, later)) is not None:
        if later.start - earlier.end > LONGEST_PAUSE:
            break
        heard = (earlier.lead + earlier.pcm)[-(samples - found) * WIDTH :]
        pcm.insert(0, heard)
        found, later = found + len(heard) // WIDTH, earlier
    parts = tuple(Part(found + part.own, found + part.start, found + part.end) for part in sound.parts)
    return Sound(b"".join([*pcm, sound.pcm]), parts)


async def closed_window(bus: Bus, later: Utterance) -> list[Utterance]:
    """The utterances of the merged window that is complete now that `later` is stored; [] if none is."""
    if not later.last and (later.window is None or later.window.first != later.index):
        return []
    found: list[Utterance] = []
    first = 0  # index of the first one
    while (earlier := await utterance_before(bus, found[0] if found else later)) is not None:
        if earlier.window is None or earlier.index < first:
            break
        first = earlier.window.first
        found.insert(0, earlier)
    return found
