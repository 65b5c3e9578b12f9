"""The capture socket sends what the AsyncAPI document describes."""

from __future__ import annotations

from typing import Any, get_args

from jsonschema import Draft7Validator

from bus import Bus
from contract import Completed, Partial, Segmented, Speaking, State, Summary, Transcript, Word
from contract.asyncapi import specification
from tests.edge.conftest import Client, Edge, client

SPECIFICATION = specification()
SCHEMAS: dict[str, Any] = SPECIFICATION["components"]["schemas"]
DESCRIBED = {
    schema["properties"]["type"]["const"]: schema
    for name, schema in SCHEMAS.items()
    if name.startswith("Socket") and "type" in schema["properties"]
}


def test_states_and_commands_are_those_of_the_contract() -> None:
    assert SCHEMAS["SocketStatus"]["properties"]["state"]["enum"] == list(get_args(State))
    assert sorted(SCHEMAS["SocketCommand"]["properties"]["command"]["enum"]) == ["finalize", "keepalive", "stop"]


def check(meeting: Client) -> set[str]:
    """Fail unless all messages are as described, without further members; returns their types."""
    for message in meeting.received:
        schema = DESCRIBED[message["type"]]
        Draft7Validator({**schema, "components": SPECIFICATION["components"]}).validate(message)
        _check_members(message, schema)
    return {message["type"] for message in meeting.received}


def _check_members(value: Any, schema: dict[str, Any]) -> None:
    schema = SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(value, dict) and "anyOf" in schema:
        schema = next(SCHEMAS[each["$ref"].rpartition("/")[2]] for each in schema["anyOf"] if "$ref" in each)
    if isinstance(value, list):
        for item in value:
            _check_members(item, schema["items"])
    elif isinstance(value, dict):
        assert set(value) <= set(schema["properties"])
        for name, member in value.items():
            _check_members(member, schema["properties"][name])


async def test_messages_are_as_described(edge: Edge, worker: Bus) -> None:
    job = await edge.create(language="en")
    async with client(edge, job) as meeting:
        await meeting.until("connection_success")
        await meeting.socket.send(b"\x01\x02" * 480)
        await worker.publish(Speaking(job=job, index=0, start=160, end=8_000, first=True))
        await meeting.until("speech_started")
        await worker.publish(Partial(job=job, index=0, start=160, end=8_000, text="Hello wor", stable=5))
        await meeting.until("partial")
        word = Word(word="Hello", start=160, end=4_000, probability=0.91234)
        await worker.create(
            Transcript(
                job=job, index=0, start=160, end=12_000, text="Hello.", language="en", confidence=0.5, words=[word]
            )
        )
        await worker.create(Transcript(job=job, index=1, start=16_000, end=20_000, text="", error="out of memory"))
        await meeting.command("keepalive")
        await meeting.command("finalize")
        await meeting.command("dance")
        await meeting.until("error")
        await meeting.until("ack")
        await meeting.command("stop")
        await worker.create(Segmented(job=job, segments=2, samples=480))
        items = [{"who": "Mina", "what": "call", "due": None}]
        await worker.create(Summary(job=job, title="T", summary="S", engine="ollama", model="g", action_items=items))
        await worker.create(Completed(job=job, segments=2, samples=480))
        await meeting.until("final_summary")
        assert await meeting.closed() == 1000
        assert check(meeting) == set(DESCRIBED)


async def test_refusals_are_as_described(edge: Edge) -> None:
    async with client(edge, "nobody") as meeting:
        assert await meeting.closed() == 4004
        assert check(meeting) == {"error"}
    codes = SPECIFICATION["channels"]["capture"]["description"]
    assert "4004 no such job" in codes
