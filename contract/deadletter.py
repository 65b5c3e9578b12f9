"""Messages that could not be used, and requests to try them again."""

from __future__ import annotations

import re

from pydantic import Field

from contract.message import Message


class Dead(Message):
    """A message that could not be used, and why. The message itself stays in its stream.

    Replaced when another attempt fails, removed when one succeeds.
    """

    SUBJECT = "events.{job}.dead.{stream}.{seq}"

    stream: str
    seq: int = Field(ge=0, description="Sequence of the message in `stream`.")
    at: str = Field(description="Subject of the message.")
    reason: str
    worker: str = Field("", description="Durable consumer that takes it again when asked; empty: no attempt can help.")


class Redrive(Message):
    """Somebody asks that a dead message be tried again by the worker that gave it up."""

    SUBJECT = "events.{job}.redrive.{worker}.{stream}.{seq}"

    worker: str = Field(description="As in `Dead`.")
    stream: str
    seq: int = Field(ge=0)


class Redriven(Message):
    """A dead message was tried again with success; what came of it is stored. Written once."""

    SUBJECT = "events.{job}.redriven.{worker}.{stream}.{seq}"

    worker: str
    stream: str
    seq: int = Field(ge=0)


def dead_letter(stream: str, seq: int, subject: str, reason: str, worker: str = "") -> Dead:
    """The note about a message that could not be used; its job is the subject's second token, made fit to be one."""
    job = re.sub(r"[^A-Za-z0-9_-]", "_", [*subject.split("."), ""][1])[:64] or "_"
    return Dead(job=job, stream=stream, seq=seq, at=subject, reason=reason, worker=worker)
