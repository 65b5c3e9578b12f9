"""One track of a source, decoded from its first to its last part."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer

from audio.channels import Mixer, channel_index, samples_of
from audio.containers import containers
from audio.convert import RATE, WIDTH, AudioError, Resampler
from audio.links import Source
from audio.timeline import Timeline
from audio.tracks import Taken, describe, number_of, only_sound, promised_length, select, tells_length

_HEARD = 0.001
"""The largest sample, of 1, from which on a track has sound."""

_SILENT = round(_HEARD * 32_768)

_SHORT = 1.0
"""Seconds for which channels may cancel each other out, or sound may be missing at the end, and nobody is told."""

_SELDOM = 0.02
"""Part of the time for which channels may cancel each other out, as those of wide music do, and nobody is told."""

_CUT_OFF = 0.95
"""Part of what the header promises that a whole file has at least; some lengths are rounded."""

_UNUSED = 0.25
"""Part of a file that may follow the last sound: tags and pictures."""

_TAGS = 65_536
"""Bytes that may follow the last sound of any file."""


class Decoding:
    """Decodes a file; `run` is called once. Arguments: as for `audio.decode`."""

    def __init__(
        self,
        name: str,
        file: BinaryIO | Source,
        track: int | None,
        channel: str,
        missing: Callable[[float, float], None],
        tell: Callable[[str], None],
        taken: Callable[[Taken], None],
    ) -> None:
        self._name = name
        self._file = file
        self._track = track
        self._channel = channel
        self._missing = missing
        self._tell = tell
        self._on_taken = taken
        self._taken: Taken | None = None
        self._mixer = Mixer(channel)
        self._resampler = Resampler(self._mixer)
        self._end = 0.0
        """Seconds that were decoded."""
        self._peak = 0
        self._undecodable = False
        self._cut_off = ""
        self._behind = 0
        """Where the last packet ends in the file."""

    def run(self) -> Generator[bytes]:
        """Yield the sound; raises AudioError, and ValueError for a track or channel that is not there."""
        if self._track is None and not isinstance(self._file, Source):
            self._track = self._audible(self._file)
        broken: av.FFmpegError | None = None
        parts = 0
        sole = False
        for container in containers(self._name, self._file, self._tell):
            parts += 1
            sole = only_sound(container) and (tells_length(container) or container.format.name == "mp3")
            broken = None
            try:
                for chunk in self._part(container, first=parts == 1):
                    self._peak = max(self._peak, _peak(chunk))
                    yield chunk
            except av.FFmpegError as exc:
                broken = exc
        if not self._end:
            if broken:
                raise broken_file(self._name, broken)
            reason = "its sound cannot be decoded" if self._undecodable else "no sound in it"
            raise AudioError(f"{self._name}: {reason}")
        self._tell_all(parts)
        if broken:
            raise broken_file(self._name, broken)
        if not (parts == 1 and sole and self._is_unused()) and self._cut_off:
            self._tell(self._cut_off)

    def _part(self, container: InputContainer, *, first: bool) -> Generator[bytes]:
        track = self._select(container, first=first)
        timeline = Timeline(container)
        offset = self._end
        for packet in container.demux(track):
            try:
                frames = packet.decode()
            except av.FFmpegError:  # damage causes many errors, not only invalid data
                timeline.lose(packet)
                self._undecodable = True
                continue
            if packet.pos is not None and frames:
                self._behind = max(self._behind, packet.pos + packet.size)
            for frame in frames:
                if self._taken is None:
                    self._take(container, track, frame)
                if not timeline.end and (lead := timeline.lead(frame)):
                    self._tell(f"the sound begins {lead:.1f} s after the start of the file: silence was put before it")
                    yield from _silence(lead)
                at = timeline.end
                if gap := timeline.place(frame):
                    yield from self._gap(offset + at, gap)
                self._end = self._mixer.time = offset + timeline.end
                if chunk := self._resampler.push(frame):
                    yield chunk
        at = timeline.end
        if gap := timeline.close():
            yield from self._gap(offset + at, gap)
        self._end = offset + timeline.end
        if chunk := self._resampler.flush():
            yield chunk
        self._check_length(container, track, timeline.end)

    def _gap(self, at: float, seconds: float) -> Generator[bytes]:
        self._missing(at, seconds)
        if chunk := self._resampler.flush():
            yield chunk
        yield from _silence(seconds)

    def _select(self, container: InputContainer, *, first: bool) -> av.AudioStream:
        if first or (self._track is not None and self._track <= len(container.streams.audio)):
            return select(container, self._track)[0]
        return select(container)[0]

    def _take(self, container: InputContainer, track: av.AudioStream, frame: av.AudioFrame) -> None:
        channel_index(self._channel, frame.layout)
        tracks = len(container.streams.audio)
        self._taken = Taken(number_of(container, track), tracks, self._channel, frame.layout.nb_channels)
        if tracks > 1 and self._track is None:
            self._tell(f"track {self._taken.track} of {tracks} was taken ({describe(track)})")
        self._on_taken(self._taken)

    def _audible(self, file: BinaryIO) -> int | None:
        """The best track of a file with several, None if there is one only."""
        start = file.tell()
        with closing(containers(self._name, file, _nobody)) as parts:
            container = next(parts)
            candidates = [(number_of(container, track), describe(track)) for track in select(container)]
            count = len(container.streams.audio)
        file.seek(start)
        if count == 1:
            return None
        best = candidates[0]
        for candidate in candidates:
            sounds = self._sounds(candidate[0])
            file.seek(start)
            if sounds:
                best = candidate
                break
        number, what = best
        reason = f", because track {candidates[0][0]} is silent" if best is not candidates[0] else ""
        self._tell(f"track {number} of {count} was taken ({what}){reason}")
        return number

    def _sounds(self, track: int) -> bool:
        with closing(containers(self._name, self._file, _nobody)) as parts:
            for container in parts:
                try:
                    if any(_sounds(packet) for packet in container.demux(select(container, track)[0])):
                        return True
                except (av.FFmpegError, ValueError):
                    continue
        return False

    def _is_unused(self) -> bool:
        """Tell how much of the file is behind the last sound, if it is more than tags."""
        if isinstance(self._file, Source) or not self._behind:
            return False
        size = self._file.seek(0, os.SEEK_END)
        if size - self._behind <= max(_UNUSED * size, _TAGS):
            return False
        self._tell(f"{(size - self._behind) / size:.0%} of the file, behind the last sound, was not used")
        return True

    def _check_length(self, container: InputContainer, track: av.AudioStream, length: float) -> None:
        promised = promised_length(container, track)
        if promised is not None and length < _CUT_OFF * promised and promised - length > _SHORT:
            self._cut_off = f"the file is cut off: its header promises {promised:.1f} s, and {length:.1f} s are there"

    def _tell_all(self, parts: int) -> None:
        mixer, taken = self._mixer, self._taken
        if parts > 1:
            self._tell(f"it consists of {parts} files that were joined: all were taken")
        if mixer.not_numbers:
            self._tell(f"{mixer.not_numbers:,} samples are infinite or not a number: they became silence")
        if mixer.unscaled:
            self._tell("its samples are integers stored as floats, far above full scale: they were scaled")
        if mixer.cancelled > max(_SHORT, _SELDOM * self._end):
            where = f"for {mixer.cancelled:.1f} s from {mixer.cancelled_from:.1f} s on"
            self._tell(f"its channels cancel each other out {where}: one of them was taken there instead of the mix")
        if self._peak <= _SILENT and taken is not None:
            what = "it is" if taken.tracks == 1 else f"track {taken.track} of {taken.tracks} is"
            if taken.channel != "mix":
                what = f"channel {taken.channel} of {taken.channels} is"
            self._tell(f"{what} silent from the beginning to the end")


def broken_file(name: str, exc: av.FFmpegError) -> AudioError:
    """The error for a person."""
    error = AudioError(f"{name}: broken audio file ({exc.strerror})")
    error.__cause__ = exc
    return error


def _nobody(_sentence: str) -> None:
    """For a second look at a file."""


def _sounds(packet: av.Packet[av.AudioStream]) -> bool:
    try:
        return any(float(np.nan_to_num(np.abs(samples_of(frame))).max(initial=0)) > _HEARD for frame in packet.decode())
    except av.FFmpegError:
        return False


def _peak(chunk: bytes) -> int:
    samples = np.frombuffer(chunk, "<i2")
    return max(int(samples.max(initial=0)), -int(samples.min(initial=0)))


def _silence(seconds: float) -> list[bytes]:
    """Chunks of at most a second, all with the same memory."""
    whole, rest = divmod(round(seconds * RATE), RATE)
    return [chunk for chunk in [bytes(RATE * WIDTH)] * whole + [bytes(rest * WIDTH)] if chunk]
