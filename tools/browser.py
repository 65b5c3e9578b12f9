"""A headless Chromium with an audio file as its microphone. `python -m tools.browser` installs one if there is none.

It takes the system's package if that may be installed here, otherwise the browser that Playwright downloads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, Playwright, async_playwright
from playwright.sync_api import Playwright as SyncPlaywright
from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
"""Names of the program in different distributions."""

SWITCHES = (
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
"""No network traffic of its own, no permission prompts, and a fake microphone."""


class BrowserMissing(Exception):
    """There is no Chromium; the message says how to get one."""


@asynccontextmanager
async def browser(microphone: Path | None = None, *switches: str) -> AsyncIterator[Browser]:
    """A new Chromium. microphone: a WAV file, played once from its beginning whenever a page opens the microphone."""
    async with async_playwright() as playwright:
        sound = [f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone else []
        arguments = [*SWITCHES, *sound, *switches]
        launched = await playwright.chromium.launch(executable_path=program(playwright), args=arguments)
        try:
            yield launched
        finally:
            await launched.close()


def program(playwright: Playwright | SyncPlaywright) -> str:
    """The path of the browser: `CHROMIUM`, else the system's, else Playwright's. Raises BrowserMissing."""
    if named := os.environ.get("CHROMIUM"):
        return named
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    downloaded = playwright.chromium.executable_path
    if Path(downloaded).exists():
        return downloaded
    raise BrowserMissing(
        "no Chromium was found: install the system's package `chromium` (Debian: apt-get install chromium), "
        "run `.venv/bin/playwright install --with-deps chromium`, or set CHROMIUM to its path"
    )


def main() -> int:
    """Install a browser unless there is one; returns the exit status."""
    with sync_playwright() as playwright:
        for install in (None, _install_package, _download):
            if install is not None:
                install()
            try:
                print(f"browser: {program(playwright)}", file=sys.stderr)
                return 0
            except BrowserMissing as exc:
                missing = exc
    print(f"browser: {missing}", file=sys.stderr)
    return 1


def _install_package() -> None:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not sudo or shutil.which("sudo")):
        print("installing the package chromium", file=sys.stderr)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run([*sudo, "apt-get", *command], env=environment, stdout=sys.stderr, check=False)


def _download() -> None:
    print("downloading Chromium", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stdout=sys.stderr, check=False)


if __name__ == "__main__":
    sys.exit(main())
