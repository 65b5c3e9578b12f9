"""A picture of the page in use, for the README: `python -m tools.screenshot`.

The whole system runs offline; a headless Chromium records a sample meeting through its microphone, and the picture is
taken while somebody speaks.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import wave
from pathlib import Path

from playwright.async_api import expect

from audio import RATE, decode
from tools.browser import browser
from tools.system import ROOT, running_system

SAMPLE = ROOT / "samples" / "standup.flac"
PICTURE = ROOT / "docs" / "images" / "recording.png"
FINALS = 6
"""Sentences that are on the page when the picture is taken."""


async def main() -> None:
    """Take the picture."""
    with tempfile.TemporaryDirectory(prefix="stenobus-screenshot-") as folder:
        microphone = Path(folder) / "microphone.wav"
        _write_wav(microphone, b"".join(decode(SAMPLE)))
        async with running_system(Path(folder) / "data") as system, browser(microphone) as chromium:
            context = await chromium.new_context(viewport={"width": 1200, "height": 700})
            await context.grant_permissions(["microphone"])
            page = await context.new_page()
            await page.goto(system.url)
            await page.get_by_label("Title").fill("Monday stand-up")
            await page.get_by_role("button", name="Start recording").click()
            await expect(page.locator(".lines li p")).to_have_count(FINALS, timeout=120_000)
            await expect(page.locator(".partial p")).to_contain_text(" ", timeout=60_000)
            PICTURE.parent.mkdir(exist_ok=True)
            await page.screenshot(path=PICTURE)
    print(PICTURE.relative_to(ROOT), file=sys.stderr)


def _write_wav(path: Path, pcm: bytes) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)


if __name__ == "__main__":
    asyncio.run(main())
