"""A browser window that fails its test for any error in the page."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, expect

TRANSCRIBED_WITHIN = 200_000
"""Milliseconds for text or a summary of the real system, within the 240 s of its tests."""


@asynccontextmanager
async def window(
    chromium: Browser,
    url: str,
    *,
    path: str = "/",
    before: Callable[[Page], Awaitable[None]] | None = None,
    allowed: bool = True,
    **options: Any,
) -> AsyncIterator[Page]:
    """A page of the server at `url`, with storage of its own. allowed: to use the microphone without a prompt.

    Fails for uncaught errors, for violations of the content policy, and for requests to other servers.
    """
    context = await chromium.new_context(**options)
    context.set_default_timeout(60_000)
    if allowed:
        await context.grant_permissions(["microphone"])
    page = await context.new_page()
    if before is not None:
        await before(page)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    page.on("console", lambda message: troubles.append(message.text) if "Content Security" in message.text else None)
    page.on("request", lambda request: None if _own(request.url, url) else troubles.append(f"request: {request.url}"))
    page.on("dialog", lambda dialog: dialog.accept())
    try:
        await page.goto(url + path)
        yield page
    finally:
        await context.close()
    assert not troubles


def _own(requested: str, server: str) -> bool:
    return urlsplit(requested).scheme in ("blob", "data") or urlsplit(requested).netloc == urlsplit(server).netloc


async def start(page: Page, title: str | None = None) -> None:
    """Start a recording."""
    if title:
        await page.get_by_label("Title").fill(title)
    await page.get_by_role("button", name="Start recording").click()
    await expect(page.locator(".phase")).to_have_text("Recording")


async def finished(page: Page) -> str:
    """Wait for the summary, and give the job's id.

    The wait is as long as the test may take: how quickly speech is transcribed depends on the machine and its load.
    """
    await expect(page.locator(".phase")).to_have_text("Finished", timeout=TRANSCRIBED_WITHIN)
    href = await page.get_by_role("link", name="Open the recording").get_attribute("href")
    assert href is not None
    return href.rpartition("/")[2]


async def finish(page: Page) -> str:
    """Press the button, and give the job's id when the summary is there."""
    await page.get_by_role("button", name="Finish").click()
    return await finished(page)


def digits(text: str) -> re.Pattern[str]:
    """A pattern of a whole text, in which N stands for a number."""
    return re.compile("^" + re.escape(text).replace("N", r"\d+") + "$")
