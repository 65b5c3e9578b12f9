from __future__ import annotations

from pathlib import Path

import pytest
import typer

from client.commands.export import Format, file_name, format_of
from edge.rest.export import FORMATS, disposition


def test_formats_are_those_of_the_server() -> None:
    assert set(Format) == set(FORMATS)


def test_a_name_says_which_format() -> None:
    assert format_of(None) is Format.TXT
    assert format_of(Path("notes")) is Format.TXT
    assert format_of(Path("a.b/talk.SRT")) is Format.SRT
    with pytest.raises(typer.BadParameter, match="say which with --format"):
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
