"""What all messages share: one class = one subject = one meaning. Pure: no I/O in this package.

On the bus all audio is mono, 16 kHz, signed 16-bit little-endian, and time is a sample index at that rate. Messages are
msgpack maps with named fields. Readers ignore unknown fields, so that a newer writer can add some. Audio frames
(`audio.py`) are the exception: a fixed header and raw samples.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, ClassVar, Self

import msgpack
from pydantic import BaseModel, ConfigDict, Field, ValidationError

_PACKER = msgpack.Packer()  # shared, because each one allocates a buffer of 256 kB

VERSION = 4
"""Number of the contract. It goes up when a stream or a message changes in a way that an older part cannot read."""

RATE = 16_000
"""Samples per second of all audio on the bus."""

WIDTH = 2
"""Bytes per sample of all audio on the bus."""

JOB_ID = r"^[A-Za-z0-9_-]{1,64}$"
"""Pattern of a job id: one token of a subject. A `*`, for one, would match all jobs in a subject filter."""

JobId = Annotated[str, Field(pattern=JOB_ID, description="One subject token.")]
Samples = Annotated[int, Field(ge=0, description="Sample index at 16 kHz.")]
Probability = Annotated[float, Field(ge=0, le=1)]


def is_job_id(text: str) -> bool:
    """Whether a text can be the id of a job."""
    return re.fullmatch(JOB_ID, text) is not None


def seconds(samples: int) -> float:
    """Samples at 16 kHz in seconds, to the millisecond, as clients and people see them."""
    return round(samples / RATE, 3)


class ContractError(ValueError):
    """Bytes that break the contract of their subject. Not worth another attempt: they become a dead letter."""


class Value(BaseModel):
    """A part of a message."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Message(Value):
    """The base of all messages. `SUBJECT` has a token `{name}` for each field that addresses the message."""

    SUBJECT: ClassVar[str]
    STREAM: ClassVar[str | None] = "EVENTS"

    job: JobId

    @property
    def subject(self) -> str:
        """Where this message is published."""
        return self.SUBJECT.format(**{name: getattr(self, name) for name in _tokens(self.SUBJECT)})

    @classmethod
    def pattern(cls, job: str = "*", **others: str) -> str:
        """Subject filter for the messages of one job or of all; `others` are values for further tokens."""
        given = {"job": job, **others}
        return cls.SUBJECT.format(**{name: given.get(name, "*") for name in _tokens(cls.SUBJECT)})

    def encode(self) -> bytes:
        """One msgpack map."""
        return bytes(_PACKER.pack(self.model_dump()))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a msgpack map; raises ContractError, which says what is wrong."""
        try:
            return cls.model_validate(msgpack.unpackb(data))
        except ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or "message"
            raise ContractError(f"not a {cls.__name__}: {where}: {first['msg']}") from exc
        except (ValueError, TypeError, msgpack.UnpackException) as exc:
            raise ContractError(f"not a {cls.__name__}: not a msgpack map: {str(exc) or type(exc).__name__}") from exc

    @classmethod
    def read(cls, subject: str, data: bytes) -> Self:
        """Decode a message found on a subject; raises ContractError also if it belongs on another subject."""
        message = cls.decode(data)
        if message.subject != subject:
            raise ContractError(f"not a {cls.__name__}: addressed to {message.subject} but published on {subject}")
        return message


@cache
def _tokens(subject: str) -> list[str]:
    return re.findall(r"{(\w+)}", subject)
