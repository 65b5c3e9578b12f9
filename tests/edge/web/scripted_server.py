"""A server whose answers a test chooses, for what a real one rarely does."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Route, WebSocketRoute

from tests.support import wait_until

JOB = "a1b2"

MARKUP = '<img src=x onerror="throw 1">'
"""A text that must never become part of the page."""

Answer = tuple[int, dict[str, Any]]


class Server:
    """Answers REST by `answers`, one list for each method and path, whose last answer stays; collects the sockets."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {
            "GET /api/v1/jobs": [(200, {"jobs": [], "next_cursor": None, "searched": 0})],
            "POST /api/v1/stream/create": [(201, {"job_id": JOB, "ws_url": f"ws://elsewhere:1/api/v1/stream/{JOB}"})],
        }
        self.requests: list[tuple[str, Any]] = []
        self.sockets: list[Socket] = []
        self.silent = False

    async def attach(self, page: Page) -> None:
        await page.route("**/api/v1/**", self._answer)
        await page.route_web_socket("**/api/v1/stream/*", self._connected)

    async def socket(self, number: int) -> Socket:
        """The page's connection 1, 2, ..."""
        await wait_until(lambda: len(self.sockets) >= number, description=f"connection {number}")
        return self.sockets[number - 1]

    async def _answer(self, route: Route) -> None:
        request = route.request
        request_line = f"{request.method} {urlsplit(request.url).path}"
        self.requests.append((request_line, request.post_data_json if request.post_data else None))
        answers = self.answers.get(request_line, [(404, {"detail": f"no answer for {request_line}"})])
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        await route.fulfill(status=status, json=body)

    def _connected(self, route: WebSocketRoute) -> None:
        self.sockets.append(Socket(route))
        if not self.silent:
            self.sockets[-1].welcome(self.sockets[-1].sample)


class Socket:
    """One connection of the page."""

    def __init__(self, route: WebSocketRoute) -> None:
        self._route = route
        self.sample = int(parse_qs(urlsplit(route.url).query)["sample"][0])
        self.url = route.url
        self.pcm = bytearray()
        self.commands: list[str] = []
        self.closed: asyncio.Future[tuple[int | None, str | None]] = asyncio.get_running_loop().create_future()
        route.on_message(self._take)
        route.on_close(self._gone)

    def welcome(self, sample: int) -> None:
        self.say("connection_success", job_id=JOB, next_sample=sample)

    def say(self, kind: str, **more: Any) -> None:
        self._route.send(json.dumps({"type": kind, **more}))

    def final(self, index: int, text: str, **more: Any) -> None:
        more = {"start": 2.0 * index, "end": 2.0 * index + 1.5, "language": "en", "confidence": 0.9, "words": []} | more
        self.say("transcript_segment", index=index, text=text, **more)

    async def close(self, code: int, reason: str = "") -> None:
        await self._route.close(code=code, reason=reason)

    async def received(self, samples: int = 4_800) -> None:
        """Wait for this much sound."""
        await wait_until(lambda: len(self.pcm) >= 2 * samples, description=f"{samples} samples")

    def _gone(self, code: int | None, reason: str | None) -> None:
        if not self.closed.done():
            self.closed.set_result((code, reason))

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self.commands.append(json.loads(data)["command"])
        else:
            self.pcm += data


def record(**more: Any) -> dict[str, Any]:
    """A finished job."""
    words = [{"word": word, "start": 0.1 * n, "end": 0.1 * n + 0.1, "probability": 1} for n, word in enumerate("ab")]
    return {
        "job_id": JOB,
        "state": "completed",
        "title": MARKUP,
        "source": "live",
        "created_at": "2026-01-02T03:04:05+00:00",
        "options": {"language": None},
        "duration": 3.0,
        "segments": [
            {"index": 0, "start": 0, "end": 1.5, "text": "a b", "language": "en", "words": words, "speaker": 1}
        ],
        "summary": None,
    } | more
