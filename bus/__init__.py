"""JetStream plumbing, and how a process on the bus runs."""

from bus.publisher import AudioPublisher, AudioTrack
from bus.run import StartError, run
from bus.serve import Fenced, Retry, lease, serve
from bus.stream import Bus, Conflict, Raw, Stored, connect

__all__ = [
    "AudioPublisher",
    "AudioTrack",
    "Bus",
    "Conflict",
    "Fenced",
    "Raw",
    "Retry",
    "StartError",
    "Stored",
    "connect",
    "lease",
    "run",
    "serve",
]
