"""The whole contract as AsyncAPI 3.0, made from the models: `python -m contract.asyncapi > docs/asyncapi.json`.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0. A channel is a subject of the bus or the capture
socket of the edge. Each has an operation for those who write there (`send`) and one for those who read (`receive`).
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import contract
from contract import ALL, VERSION, Message, Source, socket
from contract.audio import audio_subject, feed_subject

Json = dict[str, Any]

MEDIA_TYPE = "application/vnd.aai.asyncapi+json;version=3.0.0"

_BYTES, _JSON, _MSGPACK = "application/octet-stream", "application/json", "application/msgpack"

WRITERS: dict[type[Message], str] = {
    contract.Opened: "edge",
    contract.Closed: "edge, or vad if the client is gone",
    contract.Segmented: "vad",
    contract.Transcript: "stt",
    contract.Summary: "summary",
    contract.Completed: "summary",
    contract.Replay: "edge, or anyone",
    contract.Replayed: "vad",
    contract.Dead: "the worker that could not use the message",
    contract.Redrive: "edge, or anyone",
    contract.Redriven: "the worker that tried it again",
    contract.Utterance: "vad",
    contract.Progress: "vad",
    contract.Speaking: "vad",
    contract.Snapshot: "vad",
    contract.Partial: "stt",
    contract.Attached: "edge",
}
"""Who publishes each message."""

REPLIES: set[type[Message]] = {contract.Snapshot}
"""Messages that are only sent as the reply to an empty request on their subject."""

PARAMETERS: dict[str, Json] = {
    "job": {"description": "One job: 1 to 64 letters, digits, `_` or `-`."},
    "generation": {"description": "Counts the times that the job's audio was processed, from 1."},
    "source": {"description": "Where the job's audio comes from.", "enum": list(get_args(Source))},
    "index": {"description": "Counts the utterances of a generation, from 0."},
    "stream": {"description": "JetStream stream of the dead message."},
    "seq": {"description": "Sequence of the dead message in that stream."},
    "worker": {"description": "Durable consumer that tries the message again."},
    "kind": {"description": "A name that no other kind has; further tokens may follow."},
}

HEADER: list[Json] = [
    {"offset": 0, "type": "u8", "name": "version", "description": "1"},
    {
        "offset": 1,
        "type": "u8",
        "name": "flags",
        "description": "bit 0: last, no audio comes after; bit 1: cut, a request to end the open segment",
    },
    {"offset": 2, "type": "u16", "name": "generation", "description": "1 for live audio"},
    {"offset": 4, "type": "u32", "name": "samples", "description": "samples in this frame"},
    {"offset": 8, "type": "u64", "name": "start", "description": "index of the first sample"},
]
"""The header of an audio frame; all numbers are little-endian."""

_ABOUT = (
    "Live speech in, a transcript and a summary out, with everything in between on subjects that anyone may read. "
    "Each parameter of a subject is one token; `*` in its place subscribes to all. Times on the bus are sample indexes "
    "at 16 kHz. Messages other than audio are msgpack maps with named fields, described as JSON Schema; a string of "
    "format `binary` has the msgpack type `bin`. Readers ignore fields and kinds of events that they do not know."
)

_ABOUT_SOCKET = (
    "The capture socket, also at `/ws/{job}` and `/ws/v1/stream/{job}`. Close codes: 1000 done, 1008 protocol error, "
    "1009 frame too large, 1013 try again later, 4004 no such job, 4008 idle, 4009 job already closed, 4010 taken over "
    "by a newer connection."
)

_FRAME = {
    "summary": "A stretch of audio as it arrived: the header in `x-header`, then mono s16le samples at 16 kHz.",
    "contentType": _BYTES,
    "payload": {"type": "string", "format": "binary", "minLength": 16},
    "x-header": HEADER,
}

_STORED_FRAME = _FRAME | {
    "summary": "An audio frame right after it was stored. A subscriber that misses one sees it in the headers.",
    "headers": {
        "type": "object",
        "properties": {
            "Nats-Sequence": {"type": "string", "description": "Sequence of the frame in stream AUDIO."},
            "Nats-Last-Sequence": {"type": "string", "description": "Sequence of the job's frame before it; 0: none."},
        },
        "required": ["Nats-Sequence", "Nats-Last-Sequence"],
    },
}

_EXTRA = {
    "summary": "An event of a kind that is not described here: processors may add their own.",
    "payload": {"type": "object", "properties": {"job": {"type": "string"}}, "required": ["job"]},
}

_NOTHING = {"contentType": _BYTES, "payload": {"type": "string", "maxLength": 0}}

_AUDIO = {
    "summary": "A binary message: any whole number of samples up to one second, in the job's `encoding` and "
    "`sample_rate`, or one packet of opus. The norm is 960 bytes, 30 ms of mono s16le at 16 kHz.",
    "contentType": _BYTES,
    "payload": {"type": "string", "format": "binary"},
}

_FIRST_SAMPLE = {
    "type": "integer",
    "minimum": 0,
    "description": "On a reconnect the first sample that the client still has, at its own rate.",
}


@dataclass(frozen=True)
class _Subject:
    """A subject of the bus and what is published there; `reply`: only in reply to an empty request."""

    name: str
    address: str
    stream: str | None
    writer: str
    message: Json
    reply: bool = False
    in_payload: bool = False
    """Whether the tokens of the subject are also fields of the message."""

    @property
    def key(self) -> str:
        return self.name[0].lower() + self.name[1:]

    def channels(self) -> Json:
        kept = f"Stored in stream {self.stream}." if self.stream else "Core NATS: no stream stores it."
        channel: Json = {
            "address": self.address,
            "description": f"{kept} Written by {self.writer}.",
            "servers": [_ref("servers", "bus")],
            "parameters": {name: self._parameter(name) for name in re.findall(r"{(\w+)}", self.address)},
            "messages": {self.name: self.message},
        }
        if not self.reply:
            return {self.key: channel}
        inbox = {"address": None, "description": "The reply subject of the request.", "servers": channel["servers"]}
        request = {"summary": "An empty request.", **_NOTHING}
        return {
            self.key: channel | {"description": f"Answered by {self.writer}.", "messages": {"Request": request}},
            f"{self.key}Reply": inbox | {"messages": {self.name: self.message}},
        }

    def _parameter(self, name: str) -> Json:
        return PARAMETERS[name] | ({"location": f"$message.payload#/{name}"} if self.in_payload else {})

    def operations(self) -> Json:
        if not self.reply:
            return {
                f"publish{self.name}": _operation("send", self.key, [self.name]),
                f"subscribe{self.name}": _operation("receive", self.key, [self.name]),
            }
        inbox = f"{self.key}Reply"
        answer = {"channel": _ref("channels", inbox), "messages": [_ref("channels", inbox, "messages", self.name)]}
        return {
            f"request{self.name}": _operation("send", self.key, ["Request"]) | {"reply": answer},
            f"reply{self.name}": _operation("receive", self.key, ["Request"]) | {"reply": answer},
        }


def _subjects() -> list[_Subject]:
    return [
        _Subject("AudioFrame", audio_subject("{job}"), "AUDIO", "edge; requests to cut also by vad", _FRAME),
        _Subject("StoredFrame", feed_subject("{job}"), None, "stream AUDIO (republish)", _STORED_FRAME),
        *(
            _Subject(
                *(cls.__name__, cls.SUBJECT, cls.STREAM, WRITERS[cls], _described(cls)),
                reply=cls in REPLIES,
                in_payload=cls not in REPLIES,
            )
            for cls in ALL
        ),
        _Subject(
            "Holder", "live.{job}.holder", None, "the edge that has a connection of the job", _NOTHING, reply=True
        ),
        _Subject("Extra", "events.{job}.{kind}", "EVENTS", "the processor that adds the kind", _EXTRA),
    ]


def _described(cls: type[BaseModel]) -> Json:
    return {
        "summary": (inspect.getdoc(cls) or "").replace("\n", " "),
        "payload": _ref("components", "schemas", cls.__name__),
    }


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}


def _operation(action: str, channel: str, names: Iterable[str]) -> Json:
    messages = [_ref("channels", channel, "messages", name) for name in names]
    return {"action": action, "channel": _ref("channels", channel), "messages": messages}


def _capture_channel() -> Json:
    classes = (*socket.FROM_SERVER, *socket.FROM_CLIENT)
    messages = {cls.__name__: _described(cls) | {"contentType": _JSON} for cls in classes}
    return {
        "address": "/api/v1/stream/{job}",
        "description": _ABOUT_SOCKET,
        "servers": [_ref("servers", "edge")],
        "parameters": {"job": PARAMETERS["job"]},
        "messages": {"Audio": _AUDIO, **messages},
        "bindings": {"ws": {"query": {"type": "object", "properties": {"sample": _FIRST_SAMPLE}}}},
    }


def _capture_operations() -> Json:
    from_client = ["Audio", *(cls.__name__ for cls in socket.FROM_CLIENT)]
    from_server = [cls.__name__ for cls in socket.FROM_SERVER]
    return {
        "clientSends": _operation("send", "capture", from_client),
        "serverReceives": _operation("receive", "capture", from_client),
        "serverSends": _operation("send", "capture", from_server),
        "clientReceives": _operation("receive", "capture", from_server),
    }


def _schemas() -> Json:
    """The JSON Schema of every model, by class name."""
    models = [(cls, "serialization") for cls in (*ALL, *socket.FROM_SERVER, *socket.FROM_CLIENT)]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: Json = _draft_07(found["$defs"])
    return schemas


def _draft_07(schema: Any) -> Any:
    """Move what stands beside a `$ref` out of it: draft 7, which AsyncAPI uses, would ignore it."""
    if isinstance(schema, list):
        return [_draft_07(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _draft_07(value) for name, value in schema.items()}
    if "$ref" in schema and len(schema) > 1:
        return {"allOf": [{"$ref": schema.pop("$ref")}], **schema}
    return schema


def specification() -> Json:
    """The document as dicts and lists."""
    subjects = _subjects()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Stenobus", "version": f"{VERSION}.0.0", "description": _ABOUT},
        "servers": {
            "bus": _server("nats", "NATS with JetStream", "127.0.0.1:4222"),
            "edge": _server("ws", "The edge", "127.0.0.1:8000"),
        },
        "defaultContentType": _MSGPACK,
        "channels": {name: channel for subject in subjects for name, channel in subject.channels().items()}
        | {"capture": _capture_channel()},
        "operations": {name: each for subject in subjects for name, each in subject.operations().items()}
        | _capture_operations(),
        "components": {"schemas": _schemas()},
    }


def _server(protocol: str, title: str, default: str) -> Json:
    host = {"default": default, "description": "Host name and port."}
    return {"host": "{host}", "protocol": protocol, "title": title, "variables": {"host": host}}


def document(root: str = "") -> str:
    """The specification as JSON text, indented so that changes show well in a diff.

    root: the path prefix of the edge, `""` for none.
    """
    described = specification()
    if root:
        described["servers"]["edge"]["pathname"] = root
    return json.dumps(described, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - its output is the document
