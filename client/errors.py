"""Failures as one sentence and an exit code. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from contract.socket import Close

CLOSE_CODES: dict[int, str] = {
    Close.GOING_AWAY: "the server is going away",
    1006: "the connection broke",
    Close.POLICY: "protocol error",
    Close.TOO_LARGE: "frame too large",
    Close.INTERNAL: "internal error of the server",
    Close.RESTART: "the server is restarting",
    Close.TRY_AGAIN: "the server is not ready",
    1014: "a gateway has lost the server",
    4001: "not authorised",
    Close.NO_SUCH_JOB: "no such job",
    Close.IDLE: "idle for too long",
    Close.JOB_CLOSED: "the job is already closed",
    Close.TAKEN_OVER: "taken over by a newer connection",
}
"""What a close code of the capture socket means: those of our servers, and of what may be in between."""

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}


class ClientError(Exception):
    """One sentence for a person; ends the command with `exit_code`."""

    exit_code = 1
    retry_after: float | None = None
    """Seconds after which the server asks to be tried again."""


def unexpected(task: str, cause: BaseException) -> ClientError:
    """The failure of a background task, which nobody foresaw."""
    error = ClientError(f"{task} failed: {cause!r}")
    error.__cause__ = cause
    return error


class ServerError(ClientError):
    """The server refused or failed."""

    def __init__(self, sentence: str, retry_after: float | None = None) -> None:
        hint = f"; try again in {retry_after:g} s" if retry_after is not None else ""
        super().__init__(sentence + hint)
        self.retry_after = retry_after


class RefusedError(ServerError):
    """The server refused an HTTP request with `status`; a repeat will not help."""

    def __init__(self, sentence: str, retry_after: float | None = None, *, status: int, detail: str) -> None:
        super().__init__(sentence, retry_after)
        self.status = status
        self.detail = detail
        """The server's reason."""


class UnavailableError(ServerError):
    """The server cannot do it now, or failed; a repeat may help."""


class JobClosedError(ServerError):
    """The job accepts no more audio; its record says what becomes of it."""


class TakenOverError(ServerError):
    """A newer connection has taken the job over."""


class UnreachableError(ClientError):
    """No server answers, or none has for too long."""

    exit_code = 3


def refusal(status: int, body: bytes, headers: Mapping[str, str]) -> ServerError:
    """Read an unsuccessful HTTP response: problem+json (RFC 9457) if it is that, else the bare status."""
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
    """Why a capture ended early: the last `error` message of the server if there was one, and the close code."""
    code = code or 1006
    kind = _KINDS.get(code, ServerError)
    meaning = CLOSE_CODES.get(code)
    closed = f"closed with {code}" + (f", {meaning}" if meaning else "")
    if error is not None:
        what = error.get("message") or error.get("code") or "no reason given"
        return kind(f"the server ended the capture: {what} ({closed})", _seconds(error.get("retry_after")))
    because = f": {reason}" if reason else ""
    return kind(f"the capture ended before its summary{because} ({closed})")


# 1005: no code was given; 1006: no close at all; 1014: from a gateway.
_PASSING_CODES = {1005, 1006, 1014, Close.GOING_AWAY, Close.INTERNAL, Close.RESTART, Close.TRY_AGAIN}

_KINDS: dict[int, type[ServerError]] = {
    **dict.fromkeys(_PASSING_CODES, UnavailableError),
    Close.IDLE: JobClosedError,
    Close.JOB_CLOSED: JobClosedError,
    Close.TAKEN_OVER: TakenOverError,
}


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
