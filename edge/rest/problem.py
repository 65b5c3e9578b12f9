"""Errors of the REST interface: problem details, RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from contract.view import ProblemView
from store.jobs import StoreError

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that the client sees: a status, one sentence, further members of the body, and headers."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.retry_after = retry_after
        self.headers = dict(headers or {})
        self.members = members

    def response(self) -> JSONResponse:
        """As application/problem+json. `retry_after` is both a member and a header."""
        view = ProblemView(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=str(self),
            retry_after=self.retry_after,
            **self.members,
        )
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        return JSONResponse(view.model_dump(mode="json"), self.status, headers, media_type=MEDIA_TYPE)

    async def refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket handshake that no handler has seen."""
        if scope["type"] == "websocket":
            await WebSocket(scope, receive, send).send_denial_response(self.response())
        else:
            await self.response()(scope, receive, send)


async def on_problem(_request: Request, exc: Exception) -> Response:
    """Answer a Problem that a handler raised."""
    assert isinstance(exc, Problem)  # noqa: S101 - it is registered for that class
    return exc.response()


async def on_store_error(request: Request, exc: Exception) -> Response:
    """Answer 503 while the store is away."""
    return Problem(503, str(exc), retry_after=request.app.state.services.settings.retry_after).response()


async def on_http_exception(_request: Request, exc: Exception) -> Response:
    """Answer what routing itself refuses: unknown paths and methods."""
    assert isinstance(exc, HTTPException)  # noqa: S101 - it is registered for that class
    return Problem(exc.status_code, exc.detail, headers=exc.headers).response()


HANDLERS = {Problem: on_problem, StoreError: on_store_error, HTTPException: on_http_exception}
