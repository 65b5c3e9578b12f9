"""What nobody foresaw: the client gets a problem, and the log one traceback, however often it happens."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge.rest.problem import Problem

log = structlog.get_logger()

REPEAT_AFTER = 60.0
"""Seconds after which the same fault is logged again."""

_EXCERPT = 200


class FaultLog:
    """Logs each fault, known by the line that raised it, once in `REPEAT_AFTER` seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[tuple[str, str, int], tuple[float, int]] = {}
        """When a fault was logged, and how often it was left out since."""

    def report(self, event: str, exc: Exception, **context: object) -> None:
        """Log a fault with its traceback, unless it was logged a short while ago."""
        place = _place(exc)
        at, left_out = self._logged.get(place, (None, 0))
        now = self._clock()
        if at is not None and now - at < REPEAT_AFTER:
            self._logged[place] = (at, left_out + 1)
            return
        self._logged[place] = (now, 0)
        if left_out:
            context["left_out"] = left_out
        log.error(event, exc_info=exc, **context)


def _place(exc: Exception) -> tuple[str, str, int]:
    step = exc.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = ("", 0) if step is None else (step.tb_frame.f_code.co_filename, step.tb_lineno)
    return (type(exc).__name__, *where)


class AnsweredFaults:
    """Answers a request whose handler fails with problem 500, and ends one that was answered in part."""

    def __init__(self, app: ASGIApp, faults: FaultLog) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; WebSockets are passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as exc:  # noqa: BLE001 - whatever it is
            self._faults.report("request failed", exc, method=scope["method"], path=scope["path"][:_EXCERPT])
            if not begun:  # otherwise the server closes the connection, as the answer is not complete
                answer = Problem(500, "the server failed; it is in its log, and the request may be repeated")
                await answer.response()(scope, receive, send)
