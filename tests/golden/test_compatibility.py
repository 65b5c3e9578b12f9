"""Old messages and old readers: each folder `v<N>` has the messages and the schemas of contract N."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from contract import ALL, VERSION, ContractError, Message, parse_event
from contract.audio import AudioFrame, decode_audio
from contract.schema import schemas
from tests.golden.compatibility import breaks
from tests.golden.examples import FRAMES, FULL
from tests.golden.files import HERE, Json, minimal, read

BY_NAME = {cls.__name__: cls for cls in ALL}
FROZEN = sorted(HERE.glob("v*/"))
OLD = [(folder, path.name) for folder in FROZEN for path in sorted(folder.glob("[A-Z]*.json"))]

ACCEPTED = {"v2": ["Utterance: subject was speech.{job}, is speech.{job}.{generation}.{source}"]}
"""The intended incompatibilities, for which the number of the contract went up."""


def version(path: object) -> str:
    return path.name if isinstance(path, Path) else str(path)


def test_every_version_before_is_kept() -> None:
    kept = {folder.name for folder in FROZEN}
    assert kept == {f"v{number}" for number in range(2, VERSION)}, (
        "of each contract before this one tests/golden/v<N>/ has the golden files and docs/schema.json as they were"
    )


@pytest.mark.parametrize("folder", FROZEN, ids=version)
def test_the_contract_is_compatible_with_older_ones(folder: Path) -> None:
    old = json.loads((folder / "schema.json").read_text())
    assert breaks(old, schemas()) == ACCEPTED.get(folder.name, [])


@pytest.mark.parametrize(("folder", "name"), OLD, ids=version)
def test_an_old_message_is_read(folder: Path, name: str) -> None:
    cls = BY_NAME[Path(name).stem]
    subject = json.loads((folder / "schema.json").read_text())[cls.__name__]["subject"]
    for entry in read(folder, name).values():
        message = cls.decode(entry["data"])
        written = msgpack.unpackb(entry["data"])
        assert _only(message.model_dump(), written) == written
        if subject == cls.SUBJECT:
            assert cls.read(entry["subject"], entry["data"]) == message


def _only(value: Any, wanted: Any) -> Any:
    """Keep only the keys of maps that `wanted` has, at any depth."""
    if isinstance(wanted, dict):
        return {key: _only(value[key], item) for key, item in wanted.items()}
    if isinstance(wanted, list):
        assert len(value) == len(wanted)
        return [_only(mine, theirs) for mine, theirs in zip(value, wanted, strict=True)]
    return value


@pytest.mark.parametrize("folder", FROZEN, ids=version)
def test_old_audio_is_read(folder: Path) -> None:
    for entry in read(folder, "audio.json").values():
        fields = entry["frame"]
        wanted = AudioFrame(**fields | {"pcm": bytes.fromhex(fields["pcm"]["bytes"])})
        assert decode_audio(entry["data"]) == wanted


@pytest.mark.parametrize(("folder", "name"), OLD, ids=version)
def test_an_old_reader_reads_a_new_message(folder: Path, name: str) -> None:
    schema = json.loads((folder / "schema.json").read_text())[Path(name).stem]["schema"]
    for entry in read(HERE, name).values():
        Draft202012Validator(schema).validate(_without_bytes(msgpack.unpackb(entry["data"])))


def _without_bytes(value: Any) -> Any:
    """Bytes as the strings that they are in JSON Schema."""
    if isinstance(value, dict):
        return {key: _without_bytes(item) for key, item in value.items()}
    return value.hex() if isinstance(value, bytes) else value


@pytest.mark.parametrize("message", FULL, ids=lambda message: type(message).__name__)
def test_any_optional_field_may_be_missing(message: Message) -> None:
    paths = list(_optional(message))
    for path in paths:
        fields = message.model_dump()
        *way, last = path
        at: Any = fields
        for key in way:
            at = at[key]
        del at[last]
        type(message).decode(msgpack.packb(fields))
    given = minimal(message).model_dump(exclude_unset=True)
    assert type(message).decode(msgpack.packb(given)) == minimal(message)
    assert len(paths) >= len(message.model_dump()) - len(given)


def _optional(model: BaseModel) -> Iterator[tuple[str | int, ...]]:
    """The path of each field that may be missing, at any depth."""
    for name, field in type(model).model_fields.items():
        if not field.is_required():
            yield (name,)
        value = getattr(model, name)
        for place, item in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(item, BaseModel):
                yield from ((name, *(() if place is None else (place,)), *rest) for rest in _optional(item))


@pytest.mark.parametrize("message", FULL, ids=lambda message: type(message).__name__)
def test_added_fields_are_ignored_at_any_depth(message: Message) -> None:
    fields = _with_more(message.model_dump(), message)
    assert "added" in fields
    assert type(message).decode(msgpack.packb(fields)) == message


def _with_more(fields: Json, model: BaseModel) -> Json:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            _with_more(fields[name], value)
        elif isinstance(value, list):
            for item, theirs in zip(value, fields[name], strict=True):
                if isinstance(item, BaseModel):
                    _with_more(theirs, item)
    fields["added"] = {"by": ["a newer", "writer"], "size": 2}
    return fields


@pytest.mark.parametrize("subject", ["events.m1.applause", "events.m1.applause.1.2", "events.m1.opening"])
def test_an_added_kind_of_event_is_ignored(subject: str) -> None:
    assert parse_event(subject, b"whatever it is") is None


def test_a_new_value_of_an_enumeration_is_refused() -> None:
    """So no enumeration may grow, which test_the_contract_is_compatible_with_older_ones checks."""
    now = schemas()
    enumerations = [
        (message, name)
        for message in FULL
        for name, field in now[type(message).__name__]["schema"]["properties"].items()
        if "enum" in field
    ]
    assert len(enumerations) >= 3
    for message, name in enumerations:
        with pytest.raises(ContractError, match=f"{name}: Input should be"):
            type(message).decode(msgpack.packb(message.model_dump() | {name: "something new"}))


@pytest.mark.parametrize("name", FRAMES)
def test_an_added_flag_of_audio_is_ignored(name: str) -> None:
    entry = read(HERE, "audio.json")[name]
    data = bytearray(entry["data"])
    data[1] |= 0x80
    assert decode_audio(bytes(data)) == FRAMES[name]


def change(path: str, edit: Callable[[Json], None]) -> Json:
    """Today's schemas with one class edited, `Message` or `Message/Class`."""
    changed = copy.deepcopy(schemas())
    name, _, inner = path.partition("/")
    edit(changed[name]["schema"]["$defs"][inner] if inner else changed[name]["schema"])
    return changed


@pytest.mark.parametrize(
    ("path", "edit", "says"),
    [
        ("Closed", lambda cls: cls["properties"]["reason"]["enum"].append("tired"), "Closed.reason: was "),
        ("Closed", lambda cls: cls["properties"]["reason"]["enum"].pop(), "Closed.reason: was "),
        ("Closed", lambda cls: cls["properties"].pop("samples"), "Closed.samples: is gone"),
        ("Closed", lambda cls: cls["required"].remove("samples"), "Closed.samples: was required, is optional"),
        ("Progress", lambda cls: cls["required"].append("start"), "Progress.start: was optional, is required"),
        ("Closed", lambda cls: cls["properties"]["samples"].update(minimum=1), "Closed.samples: was "),
        ("Closed", lambda cls: cls["properties"]["samples"].update(type="number"), "Closed.samples: was "),
        ("Dead", lambda cls: cls["properties"]["worker"].update(default="stt"), "Dead.worker: was "),
        (
            "Opened/VadOptions",
            lambda cls: cls["properties"]["max_ms"]["anyOf"][0].update(maximum=30_000),
            "VadOptions.max_ms: was ",
        ),
        (
            "Transcript/Word",
            lambda cls: (cls["properties"].update(speaker={"type": "string"}), cls["required"].append("speaker")),
            "Word.speaker: is new and required",
        ),
    ],
)
def test_an_incompatible_change_is_found(path: str, edit: Callable[[Json], None], says: str) -> None:
    (found,) = breaks(schemas(), change(path, edit))
    assert found.startswith(says)


def test_a_removed_or_moved_message_is_found() -> None:
    changed = copy.deepcopy(schemas())
    del changed["Partial"]
    changed["Dead"] |= {"subject": "events.{job}.lost", "stream": None}
    assert breaks(schemas(), changed) == [
        "Dead: subject was events.{job}.dead.{stream}.{seq}, is events.{job}.lost",
        "Dead: stream was EVENTS, is None",
        "Partial: is gone",
    ]


def test_compatible_changes_are_allowed() -> None:
    def grow(cls: Json) -> None:
        cls["properties"]["more"] = {"type": "string", "default": ""}
        cls["properties"]["samples"]["description"] = "Said otherwise."

    assert breaks(schemas(), change("Closed", grow) | {"New": {"subject": "", "stream": None, "schema": {}}}) == []
