"""The models write what the golden files say."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from pydantic import BaseModel

from contract import ALL, Message
from contract.audio import decode_audio, encode_audio
from tests.golden.examples import FRAMES, FULL
from tests.golden.files import HERE, files, minimal, read


def kind(message: Message) -> str:
    return type(message).__name__


def test_the_files_are_what_the_models_write() -> None:
    found = {path.name: path.read_text() for path in HERE.glob("*.json")}
    assert found == files(FULL, FRAMES), "after an intended change run: python -m tests.golden"


def test_every_class_has_an_example() -> None:
    assert [type(message) for message in FULL] == list(ALL)


@pytest.mark.parametrize("message", FULL, ids=kind)
def test_an_example_sets_every_field(message: Message) -> None:
    assert _unset(message, "") == []


def _unset(model: BaseModel, at: str) -> list[str]:
    """Fields that have their default value, at any depth."""
    found = []
    for name, field in type(model).model_fields.items():
        value: Any = getattr(model, name)
        if not field.is_required() and value == field.get_default(call_default_factory=True):
            found.append(f"{at}{name}")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, BaseModel):
                found += _unset(item, f"{at}{name}.")
    return found


@pytest.mark.parametrize("message", FULL, ids=kind)
def test_the_bytes_are_the_message(message: Message) -> None:
    entries = read(HERE, f"{kind(message)}.json")
    for wanted, entry in ((message, entries["full"]), (minimal(message), entries["minimal"])):
        assert type(message).read(entry["subject"], entry["data"]) == wanted
        assert wanted.encode() == entry["data"]
        assert list(msgpack.unpackb(entry["data"])) == list(entry["message"])


@pytest.mark.parametrize("name", FRAMES)
def test_the_bytes_are_the_frame(name: str) -> None:
    data = read(HERE, "audio.json")[name]["data"]
    assert decode_audio(data) == FRAMES[name]
    assert encode_audio(FRAMES[name]) == data
