"""What nobody foresaw: one log entry with its traceback, and an answer that is a problem."""

from __future__ import annotations

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

from edge.rest.faults import REPEAT_AFTER, AnsweredFaults, FaultLog


async def fail(_request: Request) -> Response:
    raise ZeroDivisionError


def failing(faults: FaultLog) -> httpx.AsyncClient:
    app = Starlette(routes=[Route("/fails", fail)], middleware=[Middleware(AnsweredFaults, faults)])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://edge")


async def test_an_unforeseen_failure_is_a_problem_and_is_logged_once_in_a_while() -> None:
    now = 0.0
    with capture_logs() as logs:
        async with failing(FaultLog(lambda: now)) as http:
            for _ in range(50):
                response = await http.get("/fails")
                assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
                assert "the server failed" in response.json()["detail"]
                assert "ZeroDivision" not in response.text
            now = REPEAT_AFTER
            await http.get("/fails")
    assert [(entry["path"], entry.get("left_out")) for entry in logs] == [("/fails", None), ("/fails", 49)]
    assert isinstance(logs[0]["exc_info"], ZeroDivisionError)


async def test_an_answer_that_has_begun_gets_no_second_one() -> None:
    sent: list[Message] = []

    async def fail_late(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def send(message: Message) -> None:
        sent.append(message)

    with capture_logs() as logs:
        await AnsweredFaults(fail_late, FaultLog())({"type": "http", "method": "GET", "path": "/late"}, receive, send)
    assert [(message["type"], message["status"]) for message in sent] == [("http.response.start", 200)]
    assert [entry["path"] for entry in logs] == ["/late"]


async def receive() -> Message:
    return {"type": "http.disconnect"}
