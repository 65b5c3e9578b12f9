"""Audio from a microphone through PortAudio. The only file that imports the optional package sounddevice."""

from __future__ import annotations

import queue
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from audio import RATE, AudioError, Converter

BLOCK_MS = 30
SILENT, ONCE_MORE = 5.0, 1.0
"""Seconds without a sample after which a device counts as gone. The second, shorter wait is for when this process was
stopped during the first."""

GAP = 0.25
"""Seconds by which a block may be late by the device's clock before sound is taken to be missing before it."""

_MISSING = "the microphone needs the Python package sounddevice: pip install 'stenobus[mic]'"
_NO_LIBRARY = "the microphone needs the library PortAudio: apt install libportaudio2, or brew install portaudio"
_QUEUED = 60_000 // BLOCK_MS
"""Blocks that may wait to be read: a minute."""


@dataclass(frozen=True)
class Device:
    """An input device."""

    index: int
    name: str
    channels: int
    rate: int
    default: bool


def devices() -> list[Device]:
    """The input devices of this machine; raises AudioError where they cannot be listed."""
    sd = _sounddevice()
    default = sd.default.device[0]
    return [
        Device(index, info["name"], info["max_input_channels"], int(info["default_samplerate"]), index == default)
        for index, info in enumerate(sd.query_devices())
        if info["max_input_channels"] > 0
    ]


def microphone(name: str | None, lost: Callable[[float], None], ended: Callable[[], bool]) -> Iterator[bytes]:
    """Yield mono 16 kHz s16le as it is recorded, until `ended()`: then the device stops, even if nobody reads.

    name: a part of the name of a device, or its number; None: the default. `lost(seconds)` is called for audio that was
    not read in time; as far as its length is known, silence takes its place, so that later times are right. Raises
    AudioError that says what is missing, or that the device is gone.
    """
    sd = _sounddevice()
    device = choose(devices(), name)
    rate, channels = _format(sd, device)
    recorded: queue.Queue[tuple[int, bytes]] = queue.Queue(_QUEUED)
    missing = 0  # frames before the next block
    due = 0.0  # time of the next block by the clock of the device

    def record(data: Any, frames: int, time: Any, status: Any) -> None:
        nonlocal missing, due
        if ended():
            raise sd.CallbackStop
        began = time.inputBufferAdcTime if time else 0.0  # not every system says
        gap = began - due if began and due else 0.0
        due = began + frames / rate if began else 0.0
        if gap > GAP:
            missing += round(gap * rate)
            lost(gap)
        elif status.input_overflow:
            lost(BLOCK_MS / 1_000)  # PortAudio does not say how much; it drops whole blocks
        try:
            recorded.put_nowait((missing, bytes(data)))
            missing = 0
        except queue.Full:
            missing += frames
            lost(frames / rate)

    def blocks() -> Iterator[bytes]:
        while True:
            try:
                silence, data = recorded.get(timeout=SILENT)
            except queue.Empty:
                silence, data = recorded.get(timeout=ONCE_MORE)
            while silence > 0:
                yield bytes(2 * channels * min(silence, rate))
                silence -= rate
            yield data

    converter = Converter("pcm_s16le", rate)
    try:
        with sd.RawInputStream(
            device=device.index,
            samplerate=rate,
            channels=channels,
            dtype="int16",
            blocksize=rate * BLOCK_MS // 1_000,
            callback=record,
        ):
            for block in blocks():
                if pcm := converter.push(mixed(block, channels)):
                    yield pcm
    except sd.PortAudioError as exc:
        raise AudioError(f"the microphone {device.name!r} cannot be opened: {_message(exc)}") from exc
    except queue.Empty as exc:
        if ended():
            return
        raise AudioError(f"the microphone {device.name!r} no longer delivers audio") from exc


def choose(found: list[Device], name: str | None) -> Device:
    """The device of that name or number; raises AudioError that lists the devices."""
    if not found:
        raise AudioError("there is no microphone here")
    if name is None:
        return next((device for device in found if device.default), found[0])
    if name.isdecimal():
        matching = [device for device in found if device.index == int(name)]
    else:
        folded = _fold(name)
        matching = [device for device in found if _fold(device.name) == folded]
        matching = matching or [device for device in found if folded in _fold(device.name)]
    if len(matching) == 1:
        return matching[0]
    what = f"{len(matching)} devices are called" if matching else "no device is called"
    listed = "; ".join(f"{device.index}: {device.name}" for device in matching or found)
    raise AudioError(f"{what} {name!r}; there are {listed}")


def _fold(name: str) -> str:
    # Systems differ in how they compose letters, and a name is often copied from elsewhere.
    return unicodedata.normalize("NFKC", name).casefold()


def mixed(data: bytes, channels: int) -> bytes:
    """Interleaved s16 channels as their mean."""
    if channels == 1:
        return data
    frames = np.frombuffer(data, np.int16).reshape(-1, channels)
    return bytes(np.rint(frames.mean(axis=1)).astype("<i2"))


def _format(sd: Any, device: Device) -> tuple[int, int]:
    """The sample rate and channels that a device accepts, nearest to ours; if it accepts none, opening it says why."""
    for rate, channels in ((RATE, 1), (device.rate, 1), (RATE, 2), (device.rate, 2)):
        try:
            sd.check_input_settings(device=device.index, samplerate=rate, channels=channels, dtype="int16")
        except (sd.PortAudioError, ValueError):
            continue
        return rate, channels
    return device.rate, 1


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ModuleNotFoundError as exc:
        raise AudioError(_MISSING) from exc
    except OSError as exc:
        raise AudioError(_NO_LIBRARY) from exc
    return sounddevice


def _message(exc: Exception) -> str:
    return str(exc.args[0] if exc.args else exc).lower()
