from __future__ import annotations

from importlib import metadata

import pytest

from client.commands.doctor.check import Verdict
from client.commands.doctor.packages import SERVER, part, python, this_python, unmet

REQUIREMENTS = [
    "msgpack>=1.1",
    'uvloop>=0.21; sys_platform != "win32"',
    'winonly>=1; sys_platform == "nowhere"',
    'numpy>=1.26; extra == "audio"',
    'stenobus[audio]; extra == "stt"',
    'faster-whisper<1.3,>=1.2; extra == "stt"',
    'rich>=14; extra == "client"',
]


@pytest.mark.parametrize(
    ("installed", "missing"),
    [
        ({"msgpack": "1.2", "uvloop": "0.22", "numpy": "2.0", "faster-whisper": "1.2.1"}, []),
        ({"msgpack": "1.2", "uvloop": "0.22", "faster-whisper": "1.2.1"}, ["numpy>=1.26"]),
        ({"msgpack": "1.2", "uvloop": "0.22", "numpy": "2"}, ["faster-whisper<1.3,>=1.2"]),
        (
            {"msgpack": "1.2", "uvloop": "0.20", "numpy": "2", "faster-whisper": "1.3.0"},
            ["uvloop>=0.21 (there is 0.20)", "faster-whisper<1.3,>=1.2 (there is 1.3.0)"],
        ),
        ({"msgpack": "2.0rc1", "uvloop": "0.22", "numpy": "2", "faster-whisper": "1.2.1"}, []),
    ],
)
def test_what_an_extra_misses(installed: dict[str, str], missing: list[str]) -> None:
    assert unmet(REQUIREMENTS, "stt", installed.get) == missing


def test_parts_are_those_of_our_distribution() -> None:
    extras = set(metadata.distribution("stenobus").metadata.get_all("Provides-Extra") or [])
    assert {*SERVER, "client", "mic"} <= extras


def test_here_everything_is_installed_that_a_server_needs() -> None:
    assert [part(extra).verdict for extra in (*SERVER, "client")] == [Verdict.OK] * (len(SERVER) + 1)
    assert this_python().verdict is Verdict.OK


def test_a_part_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.commands.doctor.packages._installed", {"msgpack": "1.2"}.get)
    check = part("summary")
    assert check.verdict is Verdict.FAIL
    assert "ollama>=" in check.found
    assert check.fix == "pip install 'stenobus[summary]'"
    assert part("mic", optional=True).verdict is Verdict.WARN
    assert part("later").found == "this program is newer than its installation"


@pytest.mark.parametrize(("version", "verdict"), [("3.10.12", "fail"), ("3.11.0", "ok"), ("3.15.0a1", "ok")])
def test_python(version: str, verdict: str) -> None:
    assert python(version, ">=3.11").verdict == verdict
