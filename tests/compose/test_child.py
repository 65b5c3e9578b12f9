from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compose import child
from compose.child import GUARD, Child
from tests.support import wait_until


async def python(code: str, log: Path, **options: object) -> Child:
    return await Child.spawn([sys.executable, "-u", "-c", code], log, **options)  # type: ignore[arg-type]


async def test_output_goes_to_the_log_and_the_status_comes_back(tmp_path: Path) -> None:
    log = tmp_path / "a b.log"
    started = await python("import sys; print('one\\n'); print('two', file=sys.stderr); sys.exit(7)", log)
    assert await started.wait() == 7
    assert log.read_text() == "one\n\ntwo\n"
    assert started.tail() == "one\ntwo"
    assert started.tail(1) == "two"
    log.unlink()
    assert started.tail() == ""


async def test_the_tail_is_of_this_run_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("from an earlier run\n")
    started = await python("", log)
    await started.wait()
    assert started.tail() == ""


async def test_a_long_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "LOG_BYTES", 10)
    log = tmp_path / "part.log"
    log.write_text("more than ten bytes\n")
    await (await python("print('new')", log)).wait()
    assert log.read_text() == "new\n"
    assert (tmp_path / "part.log.1").read_text() == "more than ten bytes\n"


async def test_stop_lets_it_end_in_order(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit('bye')); print('up'); signal.pause()"
    started = await python(code, log)
    await wait_until(lambda: started.tail() == "up", description="the child is up")
    await started.stop(grace=20)
    assert started.returncode == 1
    assert started.tail(1) == "bye"


async def test_stop_kills_what_does_not_end(tmp_path: Path) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up')\nwhile True: signal.pause()"
    started = await python(code, tmp_path / "log")
    await wait_until(lambda: started.tail() == "up", description="the child is up")
    await started.stop(grace=0.05)
    assert started.returncode == -signal.SIGKILL


async def test_stop_and_kill_of_one_that_has_ended_do_nothing(tmp_path: Path) -> None:
    started = await python("", tmp_path / "log")
    assert await started.wait() == 0
    await started.stop(grace=1)
    await started.kill()
    assert started.returncode == 0


async def test_a_descriptor_can_be_handed_down(tmp_path: Path) -> None:
    inner, outer = os.pipe()
    with os.fdopen(inner) as reader, os.fdopen(outer, "w") as writer:
        code = f"import os; os.write({writer.fileno()}, b'hello')"
        await (await python(code, tmp_path / "log", keep_open=[writer.fileno()])).wait()
        writer.close()
        assert reader.read() == "hello"


async def test_it_leads_its_own_session(tmp_path: Path) -> None:
    """So that Ctrl-C at the terminal does not reach it past us."""
    started = await python("import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))", tmp_path / "log")
    await started.wait()
    assert started.tail() == "True"


def guarded(parent: int, *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(GUARD), str(parent), *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_becomes_the_program() -> None:
    done = guarded(os.getpid(), sys.executable, "-c", "import sys; print(sys.argv[1:]); sys.exit(3)", "a b", "")
    assert (done.returncode, done.stdout) == (3, "['a b', '']\n")


@pytest.mark.parametrize("parent", [1, 2**22 + 1], ids=["init", "nobody"])
def test_it_does_not_start_for_a_parent_that_is_gone(parent: int) -> None:
    done = guarded(parent, sys.executable, "-c", "print('started')")
    assert (done.returncode, done.stdout) == (1, "")
