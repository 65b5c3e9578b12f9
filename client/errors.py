"""Bad news from the server as one sentence and an exit code. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

CLOSE_CODES = {
    1001: "the server is going away",
    1006: "the connection broke",
    1008: "protocol error",
    1009: "frame too large",
    1011: "internal error of the server",
    1012: "the server is restarting",
    1013: "the server cannot take it now",
    1014: "a gateway has lost the server",
    4001: "not authorised",
    4004: "no such job",
    4008: "idle for too long",
    4009: "the job is already closed",
    4010: "taken over by a newer connection",
}
"""What a WebSocket close code of the capture socket means."""

PASSING_CODES = {1001, 1005, 1006, 1011, 1012, 1013, 1014}
"""Close codes after which a new connection may go on with the job; 1005: none was given."""

CLOSED_CODES = {4008, 4009}
TAKEN_OVER_CODE = 4010
"""Close codes of a job that takes no more sound, but goes on to its end."""

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


class ClientError(Exception):
    """Told to a person in one sentence; ends the command with `exit_code`."""

    exit_code = 1


class ServerError(ClientError):
    """The server refused or failed. `retry_after`: seconds after which it asks to be tried again."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        hint = f"; try again in {retry_after:g} s" if retry_after is not None else ""
        super().__init__(sentence + hint)
        self.retry_after = retry_after


class RefusedError(ServerError):
    """The server answered an HTTP request with `status`, and asking again will not help."""

    def __init__(self, sentence: str, retry_after: float | None = None, *, status: int, detail: str) -> None:
        super().__init__(sentence, retry_after)
        self.status = status
        self.detail = detail
        """What the server says about it."""


class UnavailableError(ServerError):
    """The server cannot now, or broke; trying again may help."""


class JobClosedError(ServerError):
    """The job takes no more sound; its record tells what becomes of it."""


class TakenOverError(ServerError):
    """A newer connection has the job."""


class UnreachableError(ClientError):
    """No server answers at that address, or none does for too long."""

    exit_code = 3


def refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ServerError:
    """Read an HTTP answer that is not a success: problem+json (RFC 9457) if it is one, else the bare status."""
    problem = _json_object(body)
    title = problem.get("title") or _phrase(status)
    sentence = f"the server answered {status}: {title}"
    if detail := problem.get("detail"):
        sentence += f": {detail}"
    retry_after = _seconds(problem.get("retry_after", headers.get("retry-after")))
    if status in _PASSING_STATUS:
        return UnavailableError(sentence, retry_after)
    return RefusedError(sentence, retry_after, status=status, detail=str(detail or title))


def ending(code: int | None, reason: str | None, error: Mapping[str, Any] | None) -> ServerError:
    """Say why a capture ended early: the server's last `error` message if there was one, and the close code."""
    code = code or 1006
    kind = _KINDS.get(code, ServerError)
    meaning = CLOSE_CODES.get(code)
    closed = f"closed with {code}" + (f", {meaning}" if meaning else "")
    if error is not None:
        what = error.get("message") or error.get("code") or "no reason given"
        return kind(f"the server ended the capture: {what} ({closed})", _seconds(error.get("retry_after")))
    because = f": {reason}" if reason else ""
    return kind(f"the capture ended before its summary{because} ({closed})")


_KINDS: dict[int, type[ServerError]] = {
    **dict.fromkeys(PASSING_CODES, UnavailableError),
    **dict.fromkeys(CLOSED_CODES, JobClosedError),
    TAKEN_OVER_CODE: TakenOverError,
}


def broken(kind: str, error: ValidationError) -> ServerError:
    """Say what is wrong with something of the server that is not what the contract promises."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return ServerError(f"the server gave a {kind} that breaks the contract: {where}: {first['msg']}")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"


def _seconds(value: object) -> float | None:
    # A Retry-After header may also be a date; that is not worth a parser here.
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None
