"""The audio tracks of a container, and which one is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import av
from av.container import InputContainer
from av.stream import Disposition

_ASIDE = (
    Disposition.comment
    | Disposition.karaoke
    | Disposition.clean_effects
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.dependent
)
"""Not the sound that most people hear."""

_TELL_LENGTH = {"aiff", "asf", "au", "caf", "flac", "matroska", "mov", "w64"}
"""Containers whose header says how long the sound is."""


@dataclass(frozen=True)
class Taken:
    """Which track and channel of a file were taken. Tracks count from 1; channel: left, right, mix or a number."""

    track: int
    tracks: int
    channel: str
    channels: int


def select(container: InputContainer, wanted: int | None = None) -> list[av.AudioStream]:
    """The tracks that can be decoded, the best one first; only the wanted one if there is one.

    The default track comes first, then what is no commentary or description, then the earlier one. Raises ValueError if
    there is none such.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        raise ValueError("no audio stream")
    if wanted is not None:
        if not 1 <= wanted <= len(tracks):
            raise ValueError(f"there is no track {wanted}; accepted: {described(tracks)}")
        tracks = [tracks[wanted - 1]]
    usable = [track for track in tracks if track.codec_context is not None]
    if not usable:
        raise ValueError("its audio is in a codec that cannot be decoded here")
    return sorted(usable, key=_rank)


def _rank(track: av.AudioStream) -> tuple[bool, bool]:
    return not track.disposition & Disposition.default, bool(track.disposition & _ASIDE)


def number_of(container: InputContainer, track: av.AudioStream) -> int:
    """From 1 on, among the audio tracks."""
    return [each.index for each in container.streams.audio].index(track.index) + 1


def described(tracks: Sequence[av.AudioStream]) -> str:
    """All tracks in one line."""
    return ", ".join(f"{at} ({describe(track)})" for at, track in enumerate(tracks, 1))


def describe(track: av.AudioStream) -> str:
    """Language, title and codec of a track, and whether it is the default."""
    known = [track.metadata.get("language", ""), track.metadata.get("title", "")]
    codec = "unknown codec" if track.codec_context is None else track.codec_context.name
    parts = [*(" ".join(text.split()) for text in known if text and text != "und"), codec]
    return ", ".join([*parts, "default"] if track.disposition & Disposition.default else parts)


def start(container: InputContainer) -> float | None:
    """When the first picture or sound is shown, in seconds; None if there are no times."""
    times = [
        float(stream.start_time * stream.time_base)
        for stream in (*container.streams.audio, *container.streams.video)
        if stream.start_time is not None and stream.time_base and not stream.disposition & Disposition.attached_pic
    ]
    return min(times, default=None)


def only_sound(container: InputContainer) -> bool:
    """Whether there is one track and no picture but a cover."""
    pictures = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    return len(container.streams.audio) == 1 and not pictures


def tells_length(container: InputContainer) -> bool:
    """Whether the header says how long the sound is, or where it ends."""
    return not _TELL_LENGTH.isdisjoint(container.format.name.split(","))


def promised_length(container: InputContainer, track: av.AudioStream) -> float | None:
    """Seconds of sound that the header promises; None if it does not say, or what it says is an estimate."""
    if not tells_length(container):
        return None
    if track.duration is not None and track.time_base:
        return float(track.duration * track.time_base)
    if container.duration is not None and only_sound(container):
        return container.duration / av.time_base
    return None
