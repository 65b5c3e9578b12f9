from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from bus.topology import StreamSettings, configurations
from contract import ALL
from contract.asyncapi import HEADER, PARAMETERS, REPLIES, WRITERS, document, specification
from contract.audio import encode_audio
from tests.golden.examples import FRAMES
from tests.golden.files import HERE, read

ROOT = Path(__file__).parents[2]
OFFICIAL = json.loads((Path(__file__).parent / "asyncapi" / "3.0.0.json").read_text())

SPECIFICATION = specification()
CHANNELS: dict[str, Any] = SPECIFICATION["channels"]
OPERATIONS: dict[str, Any] = SPECIFICATION["operations"]
NAMES = [cls.__name__ for cls in ALL]


def test_the_document_is_up_to_date() -> None:
    wanted = (ROOT / "docs" / "asyncapi.json").read_text()
    assert wanted == document(), "run: python -m contract.asyncapi > docs/asyncapi.json"


def test_it_is_an_asyncapi_document() -> None:
    official = Draft7Validator(OFFICIAL)
    assert [error.message for error in official.iter_errors(SPECIFICATION)] == []
    wrong = SPECIFICATION | {"operations": {"subscribeOpened": OPERATIONS["subscribeOpened"] | {"action": "peruse"}}}
    assert not official.is_valid(wrong)


def test_every_reference_leads_somewhere() -> None:
    found = list(references(SPECIFICATION))
    assert len(found) > 100
    for reference in found:
        assert resolve(reference) is not None, reference


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
            assert len(node) == 1, f"{node}: JSON Schema draft 7 does not see what stands beside a $ref"
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolve(reference: str) -> Any:
    at: Any = SPECIFICATION
    for key in reference.removeprefix("#/").split("/"):
        at = at[key]
    return at


def test_an_operation_has_messages_of_its_channel() -> None:
    for name, operation in OPERATIONS.items():
        for part in filter(None, [operation, operation.get("reply")]):
            channel = part["channel"]["$ref"]
            assert part["messages"], name
            assert all(message["$ref"].startswith(f"{channel}/messages/") for message in part["messages"]), name


def test_the_parameters_are_those_of_the_address() -> None:
    for channel in CHANNELS.values():
        tokens = re.findall(r"{(\w+)}", channel["address"] or "")
        assert list(channel.get("parameters", {})) == tokens
        (message,) = list(channel["messages"].values())[:1]
        for token, parameter in channel.get("parameters", {}).items():
            assert parameter["description"] == PARAMETERS[token]["description"]
            if "location" in parameter:
                fields = resolve(message["payload"]["$ref"])["properties"]
                assert parameter["location"] == f"$message.payload#/{token}"
                assert parameter.get("enum") == fields[token].get("enum")


@pytest.mark.parametrize("cls", ALL, ids=NAMES)
def test_every_message_has_a_channel_and_two_operations(cls: Any) -> None:
    name = cls.__name__
    channel = CHANNELS[name[0].lower() + name[1:]]
    assert channel["address"] == cls.SUBJECT
    if cls in REPLIES:
        sent, received = OPERATIONS[f"request{name}"], OPERATIONS[f"reply{name}"]
        channel = resolve(sent["reply"]["channel"]["$ref"])
    else:
        sent, received = OPERATIONS[f"publish{name}"], OPERATIONS[f"subscribe{name}"]
        assert WRITERS[cls] in channel["description"]
        assert (f"stream {cls.STREAM}" in channel["description"]) == (cls.STREAM is not None)
    assert (sent["action"], received["action"]) == ("send", "receive")
    assert channel["messages"][name]["payload"] == {"$ref": f"#/components/schemas/{name}"}


def test_the_stream_of_each_subject_is_named() -> None:
    taken = {config.name: config.subjects or [] for config in configurations(StreamSettings())}
    for channel in CHANNELS.values():
        address = re.sub(r"{\w+}", "x", channel["address"] or "")
        stream = re.search(r"in stream (\w+)", channel["description"])
        kept = {name for name, filters in taken.items() if any(_matches(filter_, address) for filter_ in filters)}
        assert kept == ({stream[1]} if stream else set()), address


def _matches(pattern: str, subject: str) -> bool:
    words = {"*": r"[^.]+", ">": r".+"}
    return (
        re.fullmatch(r"\.".join(words.get(token, re.escape(token)) for token in pattern.split(".")), subject)
        is not None
    )


@pytest.mark.parametrize("name", NAMES)
def test_golden_messages_match_their_payload(name: str) -> None:
    schema = {"$ref": f"#/components/schemas/{name}", "components": SPECIFICATION["components"]}
    payload = Draft7Validator(schema)
    for entry in read(HERE, f"{name}.json").values():
        message = {key: _text(value) for key, value in entry["message"].items()}
        payload.validate(message)
        assert set(message) == set(SPECIFICATION["components"]["schemas"][name]["properties"])
        assert not payload.is_valid(message | {"job": "two tokens"})


def _text(value: Any) -> Any:
    return value["bytes"] if isinstance(value, dict) and set(value) == {"bytes"} else value


def test_the_audio_header_is_as_written() -> None:
    codes = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q"}
    layout = struct.Struct("<" + "".join(codes[field["type"]] for field in HEADER))
    offsets = [struct.calcsize("<" + "".join(codes[each["type"]] for each in HEADER[:n])) for n in range(len(HEADER))]
    assert [field["offset"] for field in HEADER] == offsets
    assert CHANNELS["audioFrame"]["messages"]["AudioFrame"]["payload"]["minLength"] == layout.size
    for frame in FRAMES.values():
        fields = [field["name"] for field in HEADER]
        found = dict(zip(fields, layout.unpack_from(encode_audio(frame)), strict=True))
        flags = frame.last | frame.cut << 1
        assert found == {
            "version": 1,
            "flags": flags,
            "generation": frame.generation,
            "samples": len(frame.pcm) // 2,
            "start": frame.start,
        }
