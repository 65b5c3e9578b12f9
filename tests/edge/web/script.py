"""A server that says what a test wants it to say: what a real one says only in bad times."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Route, WebSocketRoute

from tests.support import wait_until

JOB = "a1b2"

Answer = tuple[int, dict[str, Any]]


class Server:
    """Answers REST by `answers`, one list for each method and path, whose last answer stays; collects the sockets."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {
            "GET /api/v1/jobs": [(200, {"jobs": [], "next_cursor": None, "searched": 0})],
            "POST /api/v1/stream/create": [(201, {"job_id": JOB, "ws_url": f"ws://elsewhere:1/api/v1/stream/{JOB}"})],
        }
        self.asked: list[tuple[str, Any]] = []
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
        asked = f"{request.method} {urlsplit(request.url).path}"
        self.asked.append((asked, request.post_data_json if request.post_data else None))
        answers = self.answers.get(asked, [(404, {"detail": f"nothing is known of {asked}"})])
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

    async def heard(self, samples: int = 4_800) -> None:
        """Wait for so much sound."""
        await wait_until(lambda: len(self.pcm) >= 2 * samples, description=f"{samples} samples")

    def _gone(self, code: int | None, reason: str | None) -> None:
        if not self.closed.done():
            self.closed.set_result((code, reason))

    def _take(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self.commands.append(json.loads(data)["command"])
        else:
            self.pcm += data
