"""Decoding, converting and writing audio. Only this package imports PyAV; all others use mono 16 kHz s16le."""

from audio.channels import CHANNELS, read_channel
from audio.convert import ENCODINGS, RATE, WIDTH, AudioError, Converter, to_float32
from audio.files import channels, decode, duration, write_flac
from audio.tracks import Taken

__all__ = [
    "CHANNELS",
    "ENCODINGS",
    "RATE",
    "WIDTH",
    "AudioError",
    "Converter",
    "Taken",
    "channels",
    "decode",
    "duration",
    "read_channel",
    "to_float32",
    "write_flac",
]
