"""When each decoded frame is heard, and what is missing between frames."""

from __future__ import annotations

import av
from av.container import InputContainer

from audio.tracks import start

_MIN_GAP = 0.02
"""Seconds. One lost packet of MP3, AAC or Opus is longer; rounding and jitter of timestamps are mostly shorter."""

_MIN_LEAD = 0.1
"""Seconds. Decoders begin later than the first packet by less."""

_MAX_GAP = 600.0
"""Seconds. A larger jump of the timestamps, also backwards, means that the clock was reset and nothing is missing."""


class Timeline:
    """Finds gaps between the frames of a track. Times are seconds from where the first picture or sound is shown."""

    def __init__(self, container: InputContainer) -> None:
        self.end = 0.0
        """End of the last frame."""
        # MP3 has no timestamps. FFmpeg joins all bytes up to the next good packet into one bad packet, so that the size
        # of bad packets tells how much is missing.
        self._by_size = container.format.name == "mp3"
        # AVI has no timestamps either. Those that FFmpeg makes up for it are wrong where the bit rate varies.
        self._has_times = not self._by_size and container.format.name != "avi"
        self._lost = 0.0
        self._lost_until = 0.0
        self._zero: float | None = None
        self._start = start(container)
        self._length = (container.duration or 0) / av.time_base

    def lose(self, packet: av.Packet[av.AudioStream]) -> None:
        """Count a packet that cannot be decoded."""
        if self._by_size and (bit_rate := packet.stream.bit_rate):
            self._lost += packet.size * 8 / bit_rate
        elif packet.pts is not None and packet.time_base:
            self._lost_until = float((packet.pts + (packet.duration or 0)) * packet.time_base)

    def lead(self, frame: av.AudioFrame) -> float:
        """Take the first frame, before `place`; returns the silence before it, 0 if there is none."""
        if frame.time is None:
            return 0.0
        self._zero = frame.time
        lead = 0.0 if self._start is None else frame.time - self._start
        if not _MIN_LEAD <= lead <= max(_MAX_GAP, self._length):
            return 0.0
        self._zero -= lead
        self.end = lead
        return lead

    def place(self, frame: av.AudioFrame) -> float:
        """Take the next frame; returns the length of the gap before it, 0 if there is none."""
        missing = self._within(self._missing(frame) if self.end else 0.0)
        self._lost = 0.0
        self.end += missing + frame.samples / frame.sample_rate
        return missing

    def close(self) -> float:
        """Take the end; returns how much is missing behind the last frame, 0 if nothing is."""
        if self._zero is None or not self._has_times:
            return 0.0
        missing = self._within(self._lost_until - self._zero - self.end)
        self.end += missing
        return missing

    def _missing(self, frame: av.AudioFrame) -> float:
        if not self._has_times or frame.time is None:
            return self._lost
        stated = frame.time - self.end
        if self._zero is None or abs(stated - self._zero) > _MAX_GAP:
            self._zero = stated
        return stated - self._zero

    @staticmethod
    def _within(gap: float) -> float:
        return gap if _MIN_GAP <= gap <= _MAX_GAP else 0.0
