"""The REST interface as OpenAPI 3.1, made from a table of endpoints and the models of their bodies. Pure.

Source: https://spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response

from contract import JOB_ID, VERSION
from contract.view import ProblemView
from edge.rest import problem
from edge.rest.export import FORMATS
from edge.rest.request import Query

Json = dict[str, Any]
Handler = Callable[[Request], Awaitable[Response]]
Answer = type[BaseModel] | Mapping[str, type[BaseModel] | None] | None
"""A JSON model, other media types with or without a model, or no body."""

_REF = "#/components/schemas/{model}"

_PATH_PARAMETERS: dict[str, Json] = {
    "job_id": {"schema": {"type": "string", "pattern": JOB_ID}, "description": "The id of a job."},
    "format": {"schema": {"type": "string", "enum": [*FORMATS]}, "description": "The extension of the file."},
    "stream": {"schema": {"type": "string"}, "description": "Stream of the dead message."},
    "seq": {"schema": {"type": "integer", "minimum": 0}, "description": "Sequence of the dead message in that stream."},
}

_ERRORS = {
    400: "The body is not JSON, or a header cannot be read.",
    404: "There is no such job, generation, format or dead letter.",
    409: "Not possible at present: the job is live, or the message cannot be tried again.",
    410: "The job was erased, or its audio or events are no longer stored.",
    413: "The body is too large.",
    416: "The byte range begins after the end.",
    422: "A parameter or a field is not accepted; `detail` names it and what is accepted.",
    503: "The bus or the store is away; `Retry-After` says when to try again.",
}

_ABOUT = (
    "Jobs of a Stenobus server. Durations and positions in the audio are seconds; points in time are UTC in ISO 8601. "
    "Audio is sent through the capture socket, which `/asyncapi.json` describes. Readers ignore members that they do "
    "not know: a newer server may add some."
)


@dataclass(frozen=True)
class Endpoint:
    """One method of one path: what handles it, what it takes and what it answers."""

    method: str
    path: str
    handler: Handler
    group: str
    summary: str
    answers: Mapping[int, Answer]
    errors: tuple[int, ...] = ()
    query: type[Query] | None = None
    body: type[BaseModel] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Request headers, with what each does."""
    events: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    """Of a stream of server-sent events: the model of the data of each kind."""

    @property
    def template(self) -> str:
        """The path without the types of its parameters."""
        return re.sub(r"{(\w+):\w+}", r"{\1}", self.path)

    @property
    def description(self) -> str:
        """What the docstring of the handler says, after the name of the route."""
        text = inspect.getdoc(self.handler) or ""
        text = re.sub(r"^`[A-Z]+ [^`]*`: ", "", text)
        return text[:1].upper() + text[1:]


def document(endpoints: Iterable[Endpoint], root: str = "") -> str:
    """The specification as JSON text."""
    return json.dumps(specification(endpoints, root), ensure_ascii=False, indent=1) + "\n"


def specification(endpoints: Iterable[Endpoint], root: str = "") -> Json:
    """The specification as dicts and lists. root: the path prefix of the server, `""` for none."""
    table = tuple(endpoints)
    names, schemas = _schemas(table)
    paths: dict[str, Json] = {}
    for endpoint in table:
        paths.setdefault(endpoint.template, {})[endpoint.method.lower()] = _operation(endpoint, names)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Stenobus", "version": f"{VERSION}.0.0", "description": _ABOUT},
        **({"servers": [{"url": root}]} if root else {}),
        "tags": [{"name": group} for group in dict.fromkeys(endpoint.group for endpoint in table)],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _schemas(table: tuple[Endpoint, ...]) -> tuple[dict[type[BaseModel], Json], Json]:
    """A reference to each model of the table, and the JSON Schemas by name."""
    models: dict[type[BaseModel], str] = {ProblemView: "serialization"}
    for endpoint in table:
        if endpoint.body is not None:
            models[endpoint.body] = "validation"
        models |= dict.fromkeys(_models(endpoint), "serialization")
    found, schema = models_json_schema(list(models.items()), ref_template=_REF)  # type: ignore[arg-type]
    references = {model: reference for (model, _), reference in found.items()}
    return references, schema["$defs"]  # type: ignore[return-value]


def _models(endpoint: Endpoint) -> Iterable[type[BaseModel]]:
    """The models of what an endpoint answers."""
    yield from endpoint.events.values()
    for answer in endpoint.answers.values():
        found = answer.values() if isinstance(answer, Mapping) else [answer]
        yield from (model for model in found if model is not None)


def _operation(endpoint: Endpoint, names: Mapping[type[BaseModel], Json]) -> Json:
    operation: Json = {
        "operationId": getattr(endpoint.handler, "__name__", endpoint.summary),
        "tags": [endpoint.group],
        "summary": endpoint.summary,
        "description": endpoint.description,
    }
    if parameters := [*_path_parameters(endpoint), *_query_parameters(endpoint.query), *_headers(endpoint.headers)]:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": names[endpoint.body]}}}
    if endpoint.events:
        operation["x-events"] = {kind: names[model] for kind, model in endpoint.events.items()}
    answers = {str(status): _response(status, answer, names) for status, answer in endpoint.answers.items()}
    errors = {str(status): _error(status, names) for status in sorted(endpoint.errors)}
    return operation | {"responses": answers | errors}


def _path_parameters(endpoint: Endpoint) -> list[Json]:
    names = re.findall(r"{(\w+)}", endpoint.template)
    return [{"name": name, "in": "path", "required": True, **_PATH_PARAMETERS[name]} for name in names]


def _query_parameters(query: type[Query] | None) -> list[Json]:
    if query is None:
        return []
    parameters = []
    for name, schema in query.model_json_schema()["properties"].items():
        parameter = {"name": name, "in": "query", "required": False, "schema": _without_null(schema)}
        if description := schema.pop("description", None):
            parameter["description"] = description
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _without_null(schema: Json) -> Json:
    """A query string has no null: a parameter is left out instead."""
    schema.pop("title", None)
    options = [option for option in schema.pop("anyOf", []) if option.get("type") != "null"]
    if options and schema.get("default", ...) is None:
        del schema["default"]
    for option in options:
        schema |= option
    return schema


def _headers(headers: Mapping[str, str]) -> list[Json]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}
        for name, description in headers.items()
    ]


def _response(status: int, answer: Answer, names: Mapping[type[BaseModel], Json]) -> Json:
    if answer is None:
        return {"description": "No content."}
    if isinstance(answer, type):
        text = (inspect.getdoc(answer) or "").partition("\n")[0]
        return {"description": text, "content": {"application/json": {"schema": names[answer]}}}
    description = "A part of the file." if status == 206 else "The document."
    content = {
        media_type.partition(";")[0]: {"schema": names[model]} if model else {} for media_type, model in answer.items()
    }
    return {"description": description, "content": content}


def _error(status: int, names: Mapping[type[BaseModel], Json]) -> Json:
    response: Json = {
        "description": _ERRORS[status],
        "content": {problem.MEDIA_TYPE: {"schema": names[ProblemView]}},
    }
    if status == 503:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return response
