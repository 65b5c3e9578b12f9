"""Which fault strikes what, and when: a list that follows from a seed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from chaos.chance import chance

Kind = Literal["kill", "term", "stop", "abort", "takeover", "poison"]

PROCESS_KINDS: tuple[Kind, ...] = ("kill", "term", "stop")
"""SIGKILL; SIGTERM; SIGSTOP and, some seconds later, SIGCONT."""

CLIENT_KINDS: tuple[Kind, ...] = ("abort", "takeover")
"""A client's TCP connection is reset; a client comes back while its old connection is still open."""

CLIENT_CARDS = 4
"""How often each fault of a client is in the deck: there are several clients."""

POISONED = ("speech.{job}.1.live", "audio.{job}", "events.{job}.opened", "events.{job}.nonsense",
            "speech.{stray}.1.live", "events.{stray}.opened", "events.{stray}.closed")  # fmt: skip
"""Where garbage is published. `{job}`: a meeting that is being held; `{stray}`: one that nobody holds."""

LEAST_STOP, MOST_STOP = 6.0, 9.0
"""Seconds of a stop: longer than the lease of the segmenter and, as they are run here, of the speech workers (5 s)."""


@dataclass(frozen=True, order=True, slots=True)
class Fault:
    """One fault, `at` seconds after the storm began."""

    at: float
    kind: Kind
    target: str
    """A process, `client`, or the subject that is poisoned."""
    lasts: float = 0.0
    """Seconds until a stopped process goes on."""
    lot: float = 0.0
    """Draws one of the meetings that are held then: 0 the first, just under 1 the last."""


def schedule(seed: int, seconds: float, processes: Sequence[str], *, every: float, clients: bool = True) -> list[Fault]:
    """Faults in order of time, `every` seconds on average; all pairs of kind and target come before any comes again.

    A process that is stopped is left alone until it goes on.
    """
    random = chance(seed, "faults")
    found: list[Fault] = []
    deck: list[tuple[Kind, str]] = []
    stopped_until = dict.fromkeys(processes, 0.0)
    at = 0.0
    while True:
        at += random.uniform(0.2, 1.8) * every
        if at >= seconds:
            return found
        if not deck:
            deck = cards(processes, clients=clients)
            random.shuffle(deck)
        place = next((place for place, card in enumerate(deck) if stopped_until.get(card[1], 0.0) <= at), None)
        if place is None:
            continue
        kind, target = deck.pop(place)
        lasts = round(random.uniform(LEAST_STOP, MOST_STOP), 2) if kind == "stop" else 0.0
        if lasts:
            stopped_until[target] = at + lasts + 1.0
        found.append(Fault(round(at, 2), kind, target, lasts, random.random()))


def cards(processes: Sequence[str], *, clients: bool) -> list[tuple[Kind, str]]:
    """Every pair of kind and target, once, or as often as it is to come up among the others."""
    deck: list[tuple[Kind, str]] = [(kind, process) for process in processes for kind in PROCESS_KINDS]
    deck += [("poison", subject) for subject in POISONED]
    if clients:
        deck += [(kind, "client") for kind in CLIENT_KINDS] * CLIENT_CARDS
    return deck
