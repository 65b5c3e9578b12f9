"""The golden files: what the models write, as text, so that a diff shows each change of the contract.

`<Class>.json` has a message with every field set, `full`, and one with only required fields, `minimal`; `audio.json`
has audio frames. Bytes are written as `{"bytes": hex}`.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgpack

from contract import Message
from contract.audio import AudioFrame, encode_audio

HERE = Path(__file__).parent

Json = dict[str, Any]


def minimal(full: Message) -> Message:
    """The same message with only its required fields."""
    given = full.model_dump()
    return type(full)(**{name: given[name] for name, field in type(full).model_fields.items() if field.is_required()})


def files(full: Iterable[Message], frames: Mapping[str, AudioFrame]) -> dict[str, str]:
    """The text of each golden file, by name."""
    found = {
        f"{type(message).__name__}.json": {"full": _entry(message), "minimal": _entry(minimal(message))}
        for message in full
    }
    found["audio.json"] = {
        name: {"frame": _plain(frame._asdict()), "hex": _hex(encode_audio(frame))} for name, frame in frames.items()
    }
    return {name: json.dumps(entries, indent=1, ensure_ascii=False) + "\n" for name, entries in found.items()}


def read(folder: Path, name: str) -> Json:
    """A golden file; its `hex` as bytes."""
    entries: Json = json.loads((folder / name).read_text())
    return {key: entry | {"data": bytes.fromhex("".join(entry["hex"]))} for key, entry in entries.items()}


def _entry(message: Message) -> Json:
    data = message.encode()
    return {"subject": message.subject, "message": _plain(msgpack.unpackb(data)), "hex": _hex(data)}


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return {"bytes": value.hex()}
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _hex(data: bytes) -> list[str]:
    return textwrap.wrap(data.hex(), 96)
