"""What clients send as JSON: read, and held against what is accepted."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request

from contract import LANGUAGES, SpeechOptions, VadOptions
from edge.rest.problem import Problem

MAX_BODY = 65_536

B = TypeVar("B", bound=BaseModel)


class Vad(VadOptions):
    """How speech is to be cut. Unlike a reader of the bus it refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")


async def read_body(cls: type[B], request: Request) -> B:
    """Read a body, nothing being `{}`; raises Problem 400, 413 or 422, which names each field and what is accepted."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise Problem(413, f"the body is larger than {MAX_BODY} bytes")
    try:
        parsed = json.loads(body) if body.strip() else {}
        json.dumps(parsed, ensure_ascii=False, allow_nan=False).encode()  # Python reads NaN, and half characters
    except (ValueError, RecursionError) as exc:
        raise Problem(400, f"the body is not JSON: {exc}") from exc
    return validated(cls, parsed, cls.model_fields)


def validated(cls: type[B], values: Any, accepted: Iterable[str]) -> B:
    """Make a model of values; raises Problem 422. accepted: fields to name where one is unknown."""
    try:
        return cls.model_validate(values)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_input=False)
        errors = [_error(error["loc"], error["msg"], accepted) for error in found]
        raise Problem(422, "; ".join(f"{e['field']}: {e['message']}" for e in errors), errors=errors) from exc


def refused(field: str, message: str) -> Problem:
    """What is wrong with one field."""
    return Problem(422, f"{field}: {message}", errors=[_error((field,), message, ())])


def check_languages(options: SpeechOptions) -> None:
    """Raise Problem 422 where a language is none that Whisper knows, or not one of those that are allowed."""
    allowed = options.allowed_languages
    known = ", ".join(sorted(LANGUAGES))
    if allowed and (unknown := [code for code in allowed if code not in LANGUAGES]):
        raise refused("allowed_languages", f"unknown language {unknown[0]!r}; accepted are {known}")
    if options.language is None:
        return
    if options.language not in LANGUAGES:
        raise refused("language", f"unknown language {options.language!r}; accepted are null (detect) and {known}")
    if allowed and options.language not in allowed:
        raise refused("language", f"{options.language!r} is not one of allowed_languages, {', '.join(allowed)}")


def _error(loc: tuple[int | str, ...], message: str, accepted: Iterable[str]) -> dict[str, str]:
    if message == "Extra inputs are not permitted":
        message = f"unknown field; accepted are {', '.join(Vad.model_fields if loc[0] == 'vad' else accepted)}"
    return {"field": ".".join(map(str, loc)) or "body", "message": message.removeprefix("Value error, ")}
