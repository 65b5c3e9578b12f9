"""The bus: its contract, JetStream plumbing, and how a process on it runs."""

from bus.messages import RATE, WIDTH, ContractError, Message, parse_event
from bus.publisher import AudioPublisher, AudioTrack
from bus.run import StartError, run
from bus.serve import Fenced, Retry, lease, serve
from bus.stream import Bus, Conflict, Raw, Stored, connect

__all__ = [
    "RATE",
    "WIDTH",
    "AudioPublisher",
    "AudioTrack",
    "Bus",
    "Conflict",
    "ContractError",
    "Fenced",
    "Message",
    "Raw",
    "Retry",
    "StartError",
    "Stored",
    "connect",
    "lease",
    "parse_event",
    "run",
    "serve",
]
