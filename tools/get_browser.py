"""See that there is a browser for the tests of the page: `python -m tools.get_browser`.

The system's package if it has one and we may install it, else the one that Playwright downloads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from playwright.sync_api import sync_playwright

from tools.browser import BrowserMissing, program


def main() -> int:
    """Do nothing if there is one; gives the exit status."""
    with sync_playwright() as playwright:
        for get in (None, _from_debian, _from_playwright):
            if get is not None:
                get()
            try:
                print(f"browser: {program(playwright)}", file=sys.stderr)
                return 0
            except BrowserMissing as exc:
                missing = exc
    print(f"get_browser: {missing}", file=sys.stderr)
    return 1


def _from_debian() -> None:
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if shutil.which("apt-get") and (not sudo or shutil.which("sudo")):
        print("installing the package chromium", file=sys.stderr)
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run([*sudo, "apt-get", *command], env=environment, stdout=sys.stderr, check=False)


def _from_playwright() -> None:
    print("downloading Chromium", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], stdout=sys.stderr, check=False)


if __name__ == "__main__":
    sys.exit(main())
