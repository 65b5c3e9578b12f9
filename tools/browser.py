"""A headless Chromium, with a sound file for a microphone."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Playwright, async_playwright
from playwright.sync_api import Playwright as SyncPlaywright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""What the program is called, by those who package it."""

QUIET = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
"""It asks nobody anything, and has a microphone that is none."""


class BrowserMissing(Exception):
    """There is no Chromium; the message says how to get one."""


@asynccontextmanager
async def browser(microphone: Path | None = None, *switches: str) -> AsyncIterator[Browser]:
    """A Chromium of its own. microphone: a WAV file that is heard once, from its beginning each time it is opened."""
    async with async_playwright() as playwright:
        sound = [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else []
        arguments = [*QUIET, *sound, *switches]
        launched = await playwright.chromium.launch(executable_path=program(playwright), args=arguments)
        try:
            yield launched
        finally:
            await launched.close()


def program(playwright: Playwright | SyncPlaywright) -> str:
    """Return the path of the browser: `CHROMIUM`, the system's, or the one that Playwright has downloaded."""
    if named := os.environ.get("CHROMIUM"):
        return named
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    downloaded = playwright.chromium.executable_path
    if Path(downloaded).exists():
        return downloaded
    raise BrowserMissing(
        "no Chromium was found: install the package `chromium` of the system (Debian: apt-get install chromium), "
        "run `.venv/bin/playwright install --with-deps chromium`, or set CHROMIUM to the path of one"
    )
