"""Live clients by the hundred, in processes of their own: real speech in real time, each over its own WebSocket.

A bench describes them as a `Plan` and has them with `generating`; `python -m bench.load --help` is for people.
"""

from __future__ import annotations

from bench.load.clients import Clients, LoadFailed, generating
from bench.load.plan import Plan
from bench.load.report import Lateness, Meeting, Report, Told, Window

__all__ = ["Clients", "Lateness", "LoadFailed", "Meeting", "Plan", "Report", "Told", "Window", "generating"]
