"""The bus: audio and messages in and out of JetStream, and how a process on the bus runs."""

from bus.publisher import AudioPublisher, AudioTrack
from bus.run import StartError, run
from bus.serve import Fenced, Retry, lease, serve
from bus.storage import Storage
from bus.streams import Bus, Conflict, Raw, Stored, connect

__all__ = [
    "AudioPublisher",
    "AudioTrack",
    "Bus",
    "Conflict",
    "Fenced",
    "Raw",
    "Retry",
    "StartError",
    "Storage",
    "Stored",
    "connect",
    "lease",
    "run",
    "serve",
]
