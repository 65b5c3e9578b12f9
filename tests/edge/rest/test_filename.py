from __future__ import annotations

from datetime import UTC, datetime
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import JobOptions
from edge.rest.filename import disposition, file_name
from store.job import Job


def titled(title: str | None) -> Job:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Job(job="j1", state="created", created_at=at, updated_at=at, options=JobOptions(title=title))


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Standup", "Standup.srt"),
        ("주간 회의", "주간 회의.srt"),
        ("a/b\\c: d?", "a b c d.srt"),
        ("../../etc/passwd", "etc passwd.srt"),
        ("line\nbreak\x00", "line break.srt"),
        ("...", "j1.srt"),
        ("", "j1.srt"),
        (None, "j1.srt"),
        ("x" * 200, f"{'x' * 100}.srt"),
    ],
)
def test_a_file_is_named_after_the_title(title: str | None, name: str) -> None:
    assert file_name(titled(title), "srt") == name


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Standup.srt", "attachment; filename=\"Standup.srt\"; filename*=UTF-8''Standup.srt"),
        ("Café 1.txt", "attachment; filename=\"Cafe 1.txt\"; filename*=UTF-8''Caf%C3%A9%201.txt"),
        (
            "회의.txt",
            "attachment; filename=\"download.txt\"; filename*=UTF-8''%ED%9A%8C%EC%9D%98.txt",
        ),
    ],
)
def test_the_header_has_the_name_twice(name: str, header: str) -> None:
    assert disposition("attachment", name) == header


@given(st.text(max_size=200))
def test_any_title_makes_a_header_that_can_be_read(title: str) -> None:
    name = file_name(titled(title), "md")
    header = disposition("inline", name)
    assert header.isascii()
    assert header.isprintable()
    assert unquote(header.partition("filename*=UTF-8''")[2]) == name
    message = Message()
    message["Content-Disposition"] = header.partition("; filename*")[0]
    plain = message.get_filename()
    assert plain
    assert not set('/\\"\r\n') & set(plain)
    assert plain.endswith(".md")
