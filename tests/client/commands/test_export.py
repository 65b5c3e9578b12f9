"""`stenobus export` against a real edge."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
import typer

from client.commands.export import Format, file_name, format_of
from edge.rest.export import FORMATS, disposition
from tests.client.inprocess import invoke


async def test_an_export_goes_to_stdout_or_into_a_file(finished: str, tmp_path: Path) -> None:
    assert await invoke("export", finished) == (0, "Hello there.\nGoodbye.\n", "")
    path = tmp_path / "subtitles.vtt"
    assert await invoke("export", finished, "-o", str(path)) == (0, "", "")
    assert path.read_text().startswith("WEBVTT\n")
    path.write_text("older and longer" * 100)
    assert await invoke("export", finished, "-o", str(path), "--format", "txt") == (0, "", "")
    assert path.read_text() == "Hello there.\nGoodbye.\n"
    code, out, _ = await invoke("export", finished, "--json")
    assert (code, json.loads(out)["job_id"]) == (0, finished)
    code, out, err = await invoke("export", finished, "-o", "/nowhere/a.txt")
    assert (code, out, err) == (1, "", "stenobus: cannot write /nowhere/a.txt: no such file or directory\n")


async def test_an_export_under_the_name_that_the_server_gives(
    finished: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert await invoke("export", finished, "-O", "--format", "md") == (0, "Greetings 회의.md\n", "")
    text = (tmp_path / "Greetings 회의.md").read_text()
    assert "회의" in text
    assert "Hello there." in text
    there = "stenobus: Greetings 회의.md exists: move it away, or name a file with -o\n"
    assert await invoke("export", finished, "-O", "--format", "md") == (1, "", there)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "minutes.pdf"], "minutes.pdf: choose one with --format: txt, srt, vtt, json, md"),
        (["-o", "a.md", "-O"], "give -o or -O, not both"),
        (["--json", "--format", "md"], "give --json or --format, not both"),
        (["--format", "doc"], "Invalid value for '--format'"),
    ],
)
async def test_an_export_that_makes_no_sense(arguments: list[str], says: str) -> None:
    code, out, err = await invoke("export", "j1", *arguments)
    assert (code, out) == (2, "")
    assert says in err


def test_formats_are_those_of_the_server() -> None:
    assert set(Format) == set(FORMATS)


def test_a_name_says_which_format() -> None:
    assert format_of(None) is Format.TXT
    assert format_of(Path("notes")) is Format.TXT
    assert format_of(Path("a.b/talk.SRT")) is Format.SRT
    with pytest.raises(typer.BadParameter, match="choose one with --format"):
        format_of(Path("talk.pdf"))


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="talk.txt"', "talk.txt"),
        ("attachment; filename=talk.txt", "talk.txt"),
        ("attachment; filename=\"_.txt\"; filename*=UTF-8''%ED%9A%8C%EC%9D%98.txt", "회의.txt"),
        ("attachment; filename*=utf-8'ko'%ED%9A%8C%EC%9D%98.txt; filename=\"_.txt\"", "회의.txt"),
        ('attachment; filename="../../etc/passwd"', "etc passwd"),
        ("attachment; filename*=UTF-8''..%2F.bashrc", "bashrc"),
        ("attachment; filename*=UTF-8''a%0Ab%1B%5B31m.txt", "a b [31m.txt"),
        ('attachment; filename=".hidden"', "hidden"),
        ("attachment; filename*=UTF-8''%ff.txt", "\ufffd.txt"),
        (f"attachment; filename*=UTF-8''{quote('회' * 101)}.srt", f"{'회' * 83}.srt"),  # 307 bytes, 253 are left
        (f"attachment; filename*=UTF-8''a.{quote('회' * 101)}", f"a.{'회' * 84}"),
        ('attachment; filename="///"', None),
        ("inline", None),
        ("", None),
    ],
)
def test_the_name_of_a_download(header: str, name: str | None) -> None:
    assert file_name({"content-disposition": header}) == name


@pytest.mark.parametrize("name", ["talk.txt", "회의 기록.md", "a;b, c's 100.srt"])
def test_names_that_the_server_gives_come_back(name: str) -> None:
    assert file_name({"content-disposition": disposition("attachment", name)}) == name


def test_without_a_name() -> None:
    assert file_name({}) is None
