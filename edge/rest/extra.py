"""Events of kinds that the edge does not know, as whoever wrote them said them."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from pydantic import ConfigDict
from pydantic_core import to_json

from bus import Bus
from contract import EVENT_KINDS, ContractError, Message, kind_of


class _Extra(Message):
    """Any map that names its job."""

    model_config = ConfigDict(extra="allow")

    SUBJECT = "events.{job}.>"


def extra_json(data: bytes) -> dict[str, Any]:
    """The fields of an unknown event as JSON has them; raises ContractError for what is not a map with a job."""
    fields = _Extra.decode(data).model_dump(exclude={"job"})
    found: dict[str, Any] = json.loads(to_json(fields, bytes_mode="base64", inf_nan_mode="null"))
    return found


async def extra(bus: Bus, job: str) -> dict[str, Any]:
    """By kind, the last event on each `events.<job>.<kind>` that is not one of the contract's own."""
    found = {}
    for raw in await bus.latest("EVENTS", f"events.{job}.*"):
        kind = kind_of(raw.subject)
        if kind not in EVENT_KINDS:
            with suppress(ContractError):  # anyone may publish there
                found[kind] = extra_json(raw.data)
    return found
