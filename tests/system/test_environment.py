"""The whole system where the environment is wrong in ways that do not matter to what runs on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.client.process import run_in
from tools.system import ROOT, running_system

FAULTS = {
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "junk://",
    "NO_PROXY": "[::1]",
    "SSL_CERT_FILE": "/proc/none",
    "SSLKEYLOGFILE": "/proc/none/log",
    "REQUESTS_CA_BUNDLE": "/proc/none",
    "HOME": "/proc/none",
    "LC_ALL": "C",
    "PYTHONIOENCODING": "ascii",
    "COLUMNS": "0",
    "TERM": "junk",
    "TZ": "Junk/Zone",
    "TMPDIR": "/proc/none",
}


@pytest.mark.slow
async def test_a_recording_becomes_its_summary(tmp_path: Path) -> None:
    async with running_system(tmp_path, root=ROOT, OLLAMA_HOST="127.0.0.1:9", **FAULTS) as system:
        command = ("stream", str(ROOT / "samples" / "quiet.flac"), "--fast", "--json", "--server", system.url)
        code, out, err = await run_in(FAULTS, *command)
        assert (code, err) == (0, "")
        summary = json.loads(out.splitlines()[-1])
        assert (summary["type"], summary["summary"]["engine"]) == ("final_summary", "extractive")
        code, out, err = await run_in(FAULTS, "export", summary["job_id"], "--server", system.url)
        assert (code, err) == (0, "")
        assert "Please update the schedule." in out
        code, out, err = await run_in({**FAULTS, "NATS_URL": system.bus_url}, "tail", summary["job_id"], "--no-follow")
        assert (code, err) == (0, "")
        assert out.splitlines()[-1].split("\t")[3] == "completed"
    logs = {path.name: path.read_text() for path in (tmp_path / "logs").glob("*.log")}
    assert not [name for name, log in logs.items() if "Traceback" in log]
