"""Messages that could not be used, and requests to try them again."""

from __future__ import annotations

import re

from pydantic import Field

from contract.message import Message


class Dead(Message):
    """A message that could not be used, and why. The message itself stays in its stream.

    It is replaced when another attempt fails, and removed when one succeeds.
    """

    SUBJECT = "events.{job}.dead.{stream}.{seq}"

    stream: str
    seq: int = Field(ge=0, description="Sequence of the message in `stream`.")
    at: str = Field(description="Subject of the message.")
    reason: str
    worker: str = Field("", description="Durable consumer that can try it again; empty: no attempt can help.")


class Redrive(Message):
    """A request to try a dead message again. It is for the worker that gave up on the message."""

    SUBJECT = "events.{job}.redrive.{worker}.{stream}.{seq}"

    worker: str = Field(description="As in `Dead`.")
    stream: str
    seq: int = Field(ge=0)


class Redriven(Message):
    """A dead message was tried again with success, and its output is stored. Written once."""

    SUBJECT = "events.{job}.redriven.{worker}.{stream}.{seq}"

    worker: str
    stream: str
    seq: int = Field(ge=0)


def dead_letter(stream: str, seq: int, subject: str, reason: str, worker: str = "") -> Dead:
    """A note about a message that could not be used. Its job is the second token of the subject, as far as valid."""
    job = re.sub(r"[^A-Za-z0-9_-]", "_", [*subject.split("."), ""][1])[:64] or "_"
    return Dead(job=job, stream=stream, seq=seq, at=subject, reason=reason, worker=worker)
