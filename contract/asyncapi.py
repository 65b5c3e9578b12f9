"""The whole contract as AsyncAPI 3.0, made from the models: `python -m contract.asyncapi > docs/asyncapi.json`.

Source: https://www.asyncapi.com/docs/reference/specification/v3.0.0. A channel is a subject of the bus, or the capture
socket of the edge. For each there is an operation of who writes there (`send`) and one of who reads (`receive`).
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
    contract.Closed: "edge, or vad where the client is gone",
    contract.Segmented: "vad",
    contract.Transcript: "stt",
    contract.Summary: "summary",
    contract.Completed: "summary",
    contract.Replay: "edge, or anyone",
    contract.Replayed: "vad",
    contract.Dead: "whoever met the message",
    contract.Redrive: "edge, or anyone",
    contract.Redriven: "the worker that did it",
    contract.Utterance: "vad",
    contract.Progress: "vad",
    contract.Speaking: "vad",
    contract.Snapshot: "vad",
    contract.Partial: "stt",
    contract.Attached: "edge",
}
"""Who publishes each message."""

ASKED_FOR: set[type[Message]] = {contract.Snapshot}
"""Messages that come only as the answer to an empty request on their subject."""

PARAMETERS: dict[str, Json] = {
    "job": {"description": "One job: 1 to 64 letters, digits, `_` or `-`."},
    "generation": {"description": "Counts the times that the job's audio was processed, from 1 on."},
    "source": {"description": "Where the job's sound comes from.", "enum": list(get_args(Source))},
    "index": {"description": "Which utterance of the job, from 0 on."},
    "stream": {"description": "JetStream stream of the message in question."},
    "seq": {"description": "Sequence of the message in question in that stream."},
    "worker": {"description": "Durable consumer that takes the message again."},
    "kind": {"description": "A name that no other kind has; further tokens may follow it."},
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
"""Of an audio frame; all numbers are little-endian."""

_ABOUT = (
    "Live speech in, a transcript and a summary out, and all that happens in between on subjects that anyone may read. "
    "Each parameter of a subject is one token: subscribe with `*` in its place for all. Times on the bus are sample "
    "indexes at 16 kHz. What is not sound is a msgpack map with named fields, described as JSON Schema; a string of "
    "format `binary` is `bin` there. A reader passes over fields and kinds of events that it does not know."
)

_ABOUT_SOCKET = (
    "The capture socket, also at `/ws/{job}` and `/ws/v1/stream/{job}`. Close codes: 1000 done, 1008 protocol error, "
    "1009 frame too large, 1013 try again later, 4004 no such job, 4008 idle, 4009 job already closed, 4010 taken over "
    "by a newer connection."
)

_FRAME = {
    "summary": "A stretch of sound as it arrived: the header in `x-header`, then mono s16le samples at 16 kHz.",
    "contentType": _BYTES,
    "payload": {"type": "string", "format": "binary", "minLength": 16},
    "x-header": HEADER,
}

_STORED_FRAME = _FRAME | {
    "summary": "An audio frame just after it was stored; some may be missed, which the headers show.",
    "headers": {
        "type": "object",
        "properties": {
            "Nats-Sequence": {"type": "string", "description": "Where stream AUDIO has it."},
            "Nats-Last-Sequence": {"type": "string", "description": "Where the job's message before it is; 0: none."},
        },
        "required": ["Nats-Sequence", "Nats-Last-Sequence"],
    },
}

_EXTRA = {
    "summary": "An event of a kind that is not described here: a processor may add its own.",
    "payload": {"type": "object", "properties": {"job": {"type": "string"}}, "required": ["job"]},
}

_NOTHING = {"contentType": _BYTES, "payload": {"type": "string", "maxLength": 0}}

_AUDIO = {
    "summary": "A binary message. Any whole number of samples up to one second, as the job's `encoding` and "
    "`sample_rate` say; of opus one packet. 960 bytes, 30 ms of mono s16le at 16 kHz, are the norm.",
    "contentType": _BYTES,
    "payload": {"type": "string", "format": "binary"},
}

_FIRST_SAMPLE = {
    "type": "integer",
    "minimum": 0,
    "description": "On a reconnect the first sample that the client still has, at its own rate.",
}


@dataclass(frozen=True)
class _Flow:
    """What is published on one subject; `asked`: only as the answer to an empty request there."""

    name: str
    address: str
    stream: str | None
    writer: str
    message: Json
    asked: bool = False
    in_payload: bool = False
    """Whether the tokens of the subject are fields of the message too."""

    @property
    def key(self) -> str:
        return self.name[0].lower() + self.name[1:]

    def channels(self) -> Json:
        kept = f"Kept in stream {self.stream}." if self.stream else "Core NATS: no stream keeps it."
        channel: Json = {
            "address": self.address,
            "description": f"{kept} Written by {self.writer}.",
            "servers": [_ref("servers", "bus")],
            "parameters": {name: self._parameter(name) for name in re.findall(r"{(\w+)}", self.address)},
            "messages": {self.name: self.message},
        }
        if not self.asked:
            return {self.key: channel}
        inbox = {"address": None, "description": "The inbox that the request names.", "servers": channel["servers"]}
        request = {"summary": "A request without content.", **_NOTHING}
        return {
            self.key: channel | {"description": f"Answered by {self.writer}.", "messages": {"Request": request}},
            f"{self.key}Reply": inbox | {"messages": {self.name: self.message}},
        }

    def _parameter(self, name: str) -> Json:
        return PARAMETERS[name] | ({"location": f"$message.payload#/{name}"} if self.in_payload else {})

    def operations(self) -> Json:
        if not self.asked:
            return {
                f"write{self.name}": _operation("send", self.key, [self.name]),
                f"read{self.name}": _operation("receive", self.key, [self.name]),
            }
        inbox = f"{self.key}Reply"
        reply = {"channel": _ref("channels", inbox), "messages": [_ref("channels", inbox, "messages", self.name)]}
        return {
            f"ask{self.name}": _operation("send", self.key, ["Request"]) | {"reply": reply},
            f"answer{self.name}": _operation("receive", self.key, ["Request"]) | {"reply": reply},
        }


def _flows() -> list[_Flow]:
    return [
        _Flow("AudioFrame", audio_subject("{job}"), "AUDIO", "edge; what asks for a cut also by vad", _FRAME),
        _Flow("StoredFrame", feed_subject("{job}"), None, "stream AUDIO, which republishes", _STORED_FRAME),
        *(
            _Flow(
                *(cls.__name__, cls.SUBJECT, cls.STREAM, WRITERS[cls], _described(cls)),
                asked=cls in ASKED_FOR,
                in_payload=cls not in ASKED_FOR,
            )
            for cls in ALL
        ),
        _Flow("Holder", "live.{job}.holder", None, "the edge that has a connection of the job", _NOTHING, asked=True),
        _Flow("Extra", "events.{job}.{kind}", "EVENTS", "the processor that adds the kind", _EXTRA),
    ]


def _described(cls: type[BaseModel]) -> Json:
    return {
        "summary": (inspect.getdoc(cls) or "").replace("\n", " "),
        "payload": _ref("components", "schemas", cls.__name__),
    }


def _ref(*path: str) -> Json:
    return {"$ref": "#/" + "/".join(path)}


def _operation(action: str, channel: str, names: Iterable[str]) -> Json:
    told = [_ref("channels", channel, "messages", name) for name in names]
    return {"action": action, "channel": _ref("channels", channel), "messages": told}


def _capture() -> Json:
    classes = (*socket.FROM_SERVER, *socket.FROM_CLIENT)
    told = {cls.__name__: _described(cls) | {"contentType": _JSON} for cls in classes}
    return {
        "address": "/api/v1/stream/{job}",
        "description": _ABOUT_SOCKET,
        "servers": [_ref("servers", "edge")],
        "parameters": {"job": PARAMETERS["job"]},
        "messages": {"Audio": _AUDIO, **told},
        "bindings": {"ws": {"query": {"type": "object", "properties": {"sample": _FIRST_SAMPLE}}}},
    }


def _capturing() -> Json:
    said = ["Audio", *(cls.__name__ for cls in socket.FROM_CLIENT)]
    told = [cls.__name__ for cls in socket.FROM_SERVER]
    return {
        "capture": _operation("send", "capture", said) | {"summary": "What a client sends."},
        "takeCapture": _operation("receive", "capture", said) | {"summary": "The same, as the edge sees it."},
        "tellClient": _operation("send", "capture", told) | {"summary": "What the edge tells a client."},
        "hearEdge": _operation("receive", "capture", told) | {"summary": "The same, as the client sees it."},
    }


def _schemas() -> Json:
    """JSON Schema of every model, each class once, by its name."""
    models = [(cls, "serialization") for cls in (*ALL, *socket.FROM_SERVER, *socket.FROM_CLIENT)]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    schemas: Json = _draft_07(found["$defs"])
    return schemas


def _draft_07(schema: Any) -> Any:
    """Give a `$ref` no neighbours, which the JSON Schema of AsyncAPI would not see."""
    if isinstance(schema, list):
        return [_draft_07(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: _draft_07(value) for name, value in schema.items()}
    if "$ref" in schema and len(schema) > 1:
        return {"allOf": [{"$ref": schema.pop("$ref")}], **schema}
    return schema


def specification() -> Json:
    """The document, as dicts and lists."""
    flows = _flows()
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Stenobus", "version": f"{VERSION}.0.0", "description": _ABOUT},
        "servers": {
            "bus": _server("nats", "NATS with JetStream", "127.0.0.1:4222"),
            "edge": _server("ws", "The edge", "127.0.0.1:8000"),
        },
        "defaultContentType": _MSGPACK,
        "channels": {name: channel for flow in flows for name, channel in flow.channels().items()}
        | {"capture": _capture()},
        "operations": {name: each for flow in flows for name, each in flow.operations().items()} | _capturing(),
        "components": {"schemas": _schemas()},
    }


def _server(protocol: str, title: str, default: str) -> Json:
    host = {"default": default, "description": "Host name and port."}
    return {"host": "{host}", "protocol": protocol, "title": title, "variables": {"host": host}}


def document() -> str:
    """The specification as JSON text, in a form that makes for readable differences."""
    return json.dumps(specification(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - its output is the document
