"""The whole system on this machine, offline, for one minute: streams a sample meeting and shows its transcript.

`python -m tools.demo` exits with status 0 on success; on a failure with 1 and the last lines of all logs.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path
from time import monotonic

from tools.system import MODEL, ROOT, SystemFailed, running_system, stop, tails

SAMPLE = ROOT / "samples" / "standup.flac"


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


async def demo() -> None:
    """Start everything, stream the sample, stop everything; raises DemoError."""
    for path in (MODEL, SAMPLE):
        if not path.exists():
            raise DemoError(f"{path.relative_to(ROOT)} is missing")
    with tempfile.TemporaryDirectory(prefix="stenobus-demo-") as folder:
        _say("starting bus, store, edge, segmenter, speech model and summary; nothing is downloaded")
        began = monotonic()
        try:
            async with running_system(Path(folder), root=ROOT, STT_MODEL=str(MODEL)) as system:
                _say(f"ready at {system.url} after {monotonic() - began:.1f} s")
                if status := await _stream(system.url):
                    raise DemoError(f"the client ended with status {status}\n{tails(system.data)}")
        except SystemFailed as exc:
            raise DemoError(str(exc)) from exc
    _say("stopped; nothing is left behind")


async def _stream(url: str) -> int:
    _say(f"streaming {SAMPLE.relative_to(ROOT)} in real time, as a microphone would\n")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "stream", str(SAMPLE), "--server", url),
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "*"},  # the server is on this machine, so that no proxy must be used
    )
    try:
        status = await process.wait()
    except asyncio.CancelledError:
        await stop(process)
        raise
    print(flush=True)
    return status


async def _run_until_signal() -> None:
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - for the type checker
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await demo()


def _say(text: str) -> None:
    print(f"demo: {text}", flush=True)


def main() -> int:
    """Run the demo; returns the exit status."""
    try:
        asyncio.run(_run_until_signal())
    except DemoError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
