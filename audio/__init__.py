"""Sound in, sound out: everything behind this package is mono, 16 kHz, s16le. The only place that knows PyAV."""

from audio.convert import ENCODINGS, Converter
from audio.decode import decode, duration
from audio.encode import write_flac
from audio.samples import RATE, WIDTH, AudioError, to_float32

__all__ = ["ENCODINGS", "RATE", "WIDTH", "AudioError", "Converter", "decode", "duration", "to_float32", "write_flac"]
