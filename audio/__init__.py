"""Decoding, converting and writing audio. Only this package imports PyAV; all others use mono 16 kHz s16le."""

from audio.convert import ENCODINGS, RATE, WIDTH, AudioError, Converter, to_float32
from audio.files import decode, duration, write_flac

__all__ = ["ENCODINGS", "RATE", "WIDTH", "AudioError", "Converter", "decode", "duration", "to_float32", "write_flac"]
