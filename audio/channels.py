"""Which channels of decoded frames are heard, mixed to one."""

from __future__ import annotations

import av
import numpy as np
from numpy.typing import NDArray

CHANNELS = "left, right, mix, each, or a number from 1 on"
"""What may be chosen, for a person. Only whoever sends the sound can do `each`: one channel after the other."""

# ITU-R BS.775-3, table 2: the centre has the speech, the low-frequency channel has none.
_WEIGHTS = {"FC": 1.0, "FL": 0.707, "FR": 0.707, "LFE": 0.0, "LFE2": 0.0}
_OTHER = 0.5

_BLOCK = 0.05
"""Seconds. The longest block that is mixed in one way."""

_MEMORY = 0.02
"""Seconds over which power is averaged."""

# Ratios of power. A mix of two channels of which one is empty is 6 dB quieter, and stays a mix.
_LOST = 10**-0.9
_FOUND = 10**-0.7
_LOUDER = 10**0.6

_CANCELS = 0.25
"""Power of a mix, relative to that of channels that have nothing in common, below which they cancel each other out."""

_INT16, _INT32 = 2.0**15, 2.0**31

_SILENT = 1e-8
"""Power of what nobody hears."""

_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}


def read_channel(text: str) -> str:
    """Check a chosen channel; raises ValueError that says what is accepted."""
    if text in ("left", "right", "mix") or (text.isascii() and text.isdigit() and int(text)):
        return text
    raise ValueError(f"{text!r} is not a channel; accepted: {CHANNELS}")


def channel_index(channel: str, layout: av.AudioLayout) -> int | None:
    """Index of the chosen channel, None for the mix; raises ValueError if there is no such channel."""
    count = layout.nb_channels
    if channel == "mix":
        return None
    if channel in ("left", "right"):
        names = [each.name for each in layout.channels]
        side = "FL" if channel == "left" else "FR"
        index = names.index(side) if side in names else ("left", "right").index(channel)
        if count == 1:
            raise ValueError(f"there is one channel only, neither left nor right; accepted: {channel_names(layout)}")
    else:
        index = int(channel) - 1
    if index >= count:
        raise ValueError(f"there is no channel {channel}; accepted: {channel_names(layout)}")
    return index


def channel_names(layout: av.AudioLayout) -> str:
    """What may be chosen of such channels, for a person."""
    if layout.nb_channels == 1:
        return "mix or 1"
    return f"{'left, right, ' if layout.nb_channels == 2 else ''}mix, or a number from 1 to {layout.nb_channels}"


def channel_choices(layout: av.AudioLayout) -> list[str]:
    """What to choose for each channel, in order."""
    count = layout.nb_channels
    return ["left", "right"] if count == 2 else [str(number) for number in range(1, count + 1)]


class Mixer:
    """Makes one channel of decoded frames; how the audio is split into frames matters for quick changes only.

    The mix is the mean, weighted where the layout says what a channel is for. Where it is much quieter than the loudest
    channel, because channels cancel each other out or because most of many are empty, that channel is taken alone.
    """

    def __init__(self, channel: str = "mix") -> None:
        self.cancelled = 0.0
        """Seconds during which channels cancelled each other out."""
        self.cancelled_from = 0.0
        self.time = 0.0
        """Seconds, end of the frame that comes next; set by the owner."""
        self.not_numbers = 0
        """Samples that were infinite or not a number; they are silence now."""
        self._channel = channel
        self._layout: tuple[str, int] | None = None
        self._full_scale: float | None = None
        self._chosen: int | None = None
        self._weights: NDArray[np.float32] = np.ones(1, np.float32)
        self._powers: NDArray[np.float64] | None = None
        """Of each channel and of the mix, as an average over the last moments."""
        self._alone: int | None = None
        """The channel that is taken instead of the mix."""

    def mono(self, frame: av.AudioFrame) -> av.AudioFrame:
        """The frame itself if nothing is to be done, else a new one of float samples."""
        layout = frame.layout
        if (layout.name, layout.nb_channels) != self._layout:
            self._start(layout)
        is_float = frame.format.name.startswith(("flt", "dbl"))
        if layout.nb_channels == 1 and not is_float:
            return frame
        samples = samples_of(frame)
        if is_float and not np.isfinite(samples.sum()):  # the sum is quicker than a look at each
            bad = ~np.isfinite(samples)
            self.not_numbers += int(bad.sum())
            samples = np.where(bad, np.float32(0), samples)
        if is_float:
            samples = self._scaled(samples)
        made = av.AudioFrame.from_ndarray(self._mixed(samples, frame.sample_rate), format="flt", layout="mono")
        made.sample_rate = frame.sample_rate
        return made

    def _scaled(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Floats in the range of integers, as programs write them that forget to scale, with full scale 1."""
        if self._full_scale is None and samples.any():
            self._full_scale = _INT16 if np.array_equal(samples, np.rint(samples)) else 1.0
        if self._full_scale is None or self._full_scale == 1.0:
            return samples
        if np.abs(samples).max() > self._full_scale:
            self._full_scale = _INT32
        return samples / np.float32(self._full_scale)

    @property
    def unscaled(self) -> bool:
        """Whether the samples were floats in the range of integers."""
        return self._full_scale not in (None, 1.0)

    def _start(self, layout: av.AudioLayout) -> None:
        try:
            self._chosen = channel_index(self._channel, layout)
        except ValueError:
            self._chosen = None  # a later part of a file has fewer channels
        count = layout.nb_channels
        weights = np.array([_WEIGHTS.get(channel.name, _OTHER) for channel in layout.channels])
        if not weights.any():
            weights = np.ones(count)
        self._layout = (layout.name, count)
        self._weights = (weights / weights.sum()).astype(np.float32)
        self._alone = None
        self._powers = None

    def _mixed(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        """(1, samples) of (channels, samples)."""
        only = 0 if len(samples) == 1 else self._chosen
        if only is not None:
            return np.ascontiguousarray(samples[only : only + 1])
        mix = self._weights @ samples
        length = max(1, round(_BLOCK * rate))
        for at in range(0, len(mix), length):
            block, mixed = samples[:, at : at + length], mix[at : at + length]
            first, before = self._powers is None, self._alone
            self._measure(block, mixed, rate, self.time - (len(mix) - at) / rate)
            if before is None and self._alone is None:
                continue
            wanted = mixed if self._alone is None else block[self._alone]
            if self._alone != before and not first:
                fade = np.linspace(0, 1, len(mixed), dtype=np.float32)
                wanted = wanted * fade + (mixed if before is None else block[before]) * (1 - fade)
            mixed[:] = wanted
        return mix[np.newaxis]

    def _measure(self, block: NDArray[np.float32], mix: NDArray[np.float32], rate: int, at: float) -> None:
        """Decide what is taken from this block on; at: where it begins, in seconds."""
        now = np.array([*np.einsum("cs,cs->c", block, block), mix @ mix], np.float64) / len(mix)
        kept = 0.0 if self._powers is None else np.exp(-len(mix) / (_MEMORY * rate))
        self._powers = now if self._powers is None else kept * self._powers + (1 - kept) * now
        if now[:-1].max() < _SILENT:
            return
        powers, mixed = self._powers[:-1] * (self._weights > 0), self._powers[-1]
        loudest = int(np.argmax(powers))
        if self._alone is None:
            self._alone = loudest if mixed < _LOST * powers[loudest] else None
        elif mixed > _FOUND * powers[loudest]:
            self._alone = None
        elif powers[loudest] > _LOUDER * powers[self._alone]:
            self._alone = loudest
        if self._alone is not None and mixed < _CANCELS * float(self._weights**2 @ powers):
            self.cancelled_from = self.cancelled_from if self.cancelled else at
            self.cancelled += len(mix) / rate


def samples_of(frame: av.AudioFrame) -> NDArray[np.float32]:
    """(channels, samples), full scale is 1."""
    kind = np.dtype(_TYPES[frame.format.name.removesuffix("p")])
    count = frame.layout.nb_channels
    if frame.format.is_planar:
        planes = frame.planes[:count]  # with eight channels PyAV gives a ninth, which is no memory of ours
        samples = np.stack([np.frombuffer(memoryview(plane), kind, frame.samples) for plane in planes])
    else:
        samples = np.frombuffer(memoryview(frame.planes[0]), kind, frame.samples * count).reshape(-1, count).T
    if kind == np.uint8:
        return (samples.astype(np.float32) - np.float32(128)) / np.float32(128)
    if kind.kind == "i":
        return samples.astype(np.float32) / np.float32(2.0 ** (8 * kind.itemsize - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        return samples.astype(np.float32)
