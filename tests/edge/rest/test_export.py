"""Transcripts as files, and the names of these files."""

from __future__ import annotations

import html
import io
import json
import re
from datetime import UTC, datetime
from email.message import Message
from urllib.parse import unquote

import av
import pytest
from av.subtitles.subtitle import AssSubtitle
from hypothesis import given
from hypothesis import strategies as st

from contract import RATE, ActionItem, JobOptions, State, Summary, Transcript, Word
from edge.rest.export import FORMATS, clock, disposition, file_name, title_of
from edge.rest.subtitles import one_line
from store.job import Job


class Named(Transcript):
    speaker: str | None = None


def job(state: State = "completed", title: str | None = "Standup", summary: Summary | None = None) -> Job:
    at = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
    return Job(
        job="j1",
        state=state,
        created_at=at,
        updated_at=at,
        options=JobOptions(title=title, language="ko"),
        samples=75 * RATE,
        summary=summary,
    )


def said(index: int, text: str, start: float = 0, end: float = 1, speaker: str | None = None) -> Named:
    return Named(
        job="j1",
        index=index,
        start=round(start * RATE),
        end=round(end * RATE),
        text=text,
        language="en",
        speaker=speaker,
    )


def write(name: str, segments: list[Transcript], of: Job | None = None) -> str:
    return FORMATS[name].write(of or job(), segments)


SUMMARY = Summary(
    job="j1",
    title="The budget",
    summary="They spoke of money.",
    key_points=["It is short.", "It is *late*."],
    decisions=["Ask again."],
    action_items=[ActionItem(who="Ana", what="writes a letter", due="Monday"), ActionItem(what="wait")],
    engine="ollama",
    model="gemma3",
)


TALK: list[Transcript] = [
    said(0, "Hello.", 0.5, 1.5, "Ana"),
    said(1, "  ", 2, 3),
    said(2, "How are\nyou?", 3661.25, 3662.5, "Ana"),
    said(3, "Fine & <well>.", 3663, 3665, "Ben"),
]


def test_plain_text() -> None:
    assert write("txt", TALK) == "Ana: Hello.\nHow are you?\nBen: Fine & <well>.\n"
    assert write("txt", [said(1, "b"), said(0, "a")]) == "a\nb\n"
    assert write("txt", []) == ""


def test_srt() -> None:
    assert write("srt", TALK) == (
        "1\n00:00:00,500 --> 00:00:01,500\nAna: Hello.\n\n"
        "2\n01:01:01,250 --> 01:01:02,500\nHow are you?\n\n"
        "3\n01:01:03,000 --> 01:01:05,000\nBen: Fine & <\u2060well>.\n"
    )
    assert write("srt", []) == ""


def shown_by_a_player(file: str, kind: str) -> list[str]:
    """What FFmpeg, and so mpv, makes of subtitles: ASS, where `{` and a backslash are special."""
    with av.open(io.BytesIO(file.encode()), "r", format=kind) as container:
        packets = container.demux(container.streams.subtitles[0])
        lines = [line for packet in packets for line in packet.decode() if isinstance(line, AssSubtitle)]
        found = [line.ass.decode().split(",", 8)[8] for line in lines]
    return [re.sub(r"\\\{\{\}", "{", line.replace("\u2060", "")) for line in found]


@pytest.mark.parametrize(
    "text",
    [
        "<i>slanted</i>",
        "</b> <font color=red>red</font>",
        "I <3 you & x<y",
        "00:00:01,000 --> 00:00:02,000",
        "&lt;b&gt; &amp; &#60;i&#62; AT&T",
        "a\\Nb\\hc",
        "<!-- hidden -->",
        "<v Ben>mine",
    ],
)
def test_subtitles_show_what_looks_like_markup(text: str) -> None:
    shown = [text]
    assert shown_by_a_player(write("srt", [said(0, text)]), "srt") == shown
    assert shown_by_a_player(write("vtt", [said(0, text)]), "webvtt") == shown
    srt = write("srt", [said(0, text)])
    assert not re.search(r"<[\w/!]|\\[Nnh]|&#?\w+;", srt.partition("\n")[2].partition("\n")[2])
    assert srt.count("-->") == 1


def test_braces_are_no_codes_in_subtitles() -> None:
    segments: list[Transcript] = [said(0, "{\\an8}at the {top}")]
    assert shown_by_a_player(write("srt", segments), "srt") == ["\uff5b\\an8\uff5dat the \uff5btop\uff5d"]
    assert shown_by_a_player(write("vtt", segments), "webvtt") == ["{\\an8}at the {top}"]


def test_vtt() -> None:
    assert write("vtt", TALK) == (
        "WEBVTT\n\n"
        "00:00:00.500 --> 00:00:01.500\n<v Ana>Hello.\n\n"
        "01:01:01.250 --> 01:01:02.500\n<v Ana>How are you?\n\n"
        "01:01:03.000 --> 01:01:05.000\n<v Ben>Fine &amp; &lt;well&gt;.\n"
    )
    assert write("vtt", []) == "WEBVTT\n"


def test_json_has_the_words() -> None:
    words = [Word(word="Hi", start=8_000, end=12_000, probability=0.5)]
    segment = Transcript(job="j1", index=0, start=8_000, end=16_000, text="Hi", language="en", words=words)
    found = json.loads(write("json", [segment, said(1, "b", speaker="Ana")], job(summary=SUMMARY)))
    assert (found["job_id"], found["title"], found["language"], found["duration"]) == ("j1", "Standup", "en", 75.0)
    assert found["segments"][0]["words"] == [{"word": "Hi", "start": 0.5, "end": 0.75, "probability": 0.5}]
    assert "speaker" not in found["segments"][0]
    assert found["segments"][1]["speaker"] == "Ana"
    assert found["summary"]["title"] == "The budget"
    live = json.loads(write("json", [], job("streaming")))
    assert (live["state"], live["duration"], live["summary"], live["language"]) == ("streaming", None, None, "ko")


def test_markdown_is_the_minutes() -> None:
    failed = Transcript(job="j1", index=4, start=0, end=1, text="", error="too hot")
    assert (
        write("md", [*TALK, failed], job(summary=SUMMARY))
        == """\
# Standup

*2026-11-21 09:30 UTC · 00:01:15*

## Summary

They spoke of money.

## Key points

- It is short.
- It is \\*late\\*.

## Decisions

- Ask again.

## Action items

- [ ] writes a letter (Ana, Monday)
- [ ] wait

## Transcript

`00:00:00` **Ana:** Hello.

`01:01:01` How are you?

`01:01:03` **Ben:** Fine \\& \\<well\\>.

`00:00:00` *could not be transcribed*
"""
    )


def test_markdown_of_a_live_job_says_that_it_is_not_complete() -> None:
    found = write("md", TALK, job("streaming", title=None))
    assert found.startswith("# Transcript\n\n*2026-11-21 09:30 UTC · streaming: not complete yet*\n\n## Transcript")


def test_markdown_says_who_did_not_write_the_summary() -> None:
    summary = Summary(job="j1", title="T", summary="A sentence.", engine="extractive")
    assert "no language model was available" in write("md", [], job(summary=summary))
    without = Summary(job="j1", title="", summary="", engine="none")
    assert "## Summary" not in write("md", [], job(summary=without))


@pytest.mark.parametrize("start", ["# no heading", "- no list", "1. no list", "> no quote", "+ no list", "=== no line"])
def test_markdown_shows_texts_as_they_are(start: str) -> None:
    summary = Summary(job="j1", title="", summary=start, engine="ollama")
    (line,) = [line for line in write("md", [], job(summary=summary)).splitlines() if "no " in line]
    assert re.match(r"\\|\d+\\", line)
    assert line.replace("\\", "") == start


def test_the_title_is_of_the_client_or_of_the_summary() -> None:
    assert title_of(job(summary=SUMMARY)) == "Standup"
    assert title_of(job(title=None, summary=SUMMARY)) == "The budget"
    assert title_of(job(title=None)) is None


def test_clock() -> None:
    assert clock(0) == "00:00:00"
    assert clock(100 * 3600 * RATE + 8, ".") == "100:00:00.000"
    assert clock(RATE - 1, ",") == "00:00:00,999"


SRT_BLOCK = re.compile(r"(\d+)\n(\d\d:\d\d:\d\d,\d{3}) --> (\d\d:\d\d:\d\d,\d{3})\n([^\n]+(?:\n[^\n]+)?)\n?")


def milliseconds(text: str) -> int:
    hours, minutes, rest = text.split(":")
    return (int(hours) * 3600 + int(minutes) * 60) * 1000 + int(rest.replace(",", ""))


TEXTS = st.lists(
    st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(" .,?&<>\n->")), max_size=120), max_size=5
)


@given(TEXTS)
def test_srt_read_again_has_all_words_once_in_order(texts: list[str]) -> None:
    segments: list[Transcript] = [said(at, text, at * 9, at * 9 + 8) for at, text in enumerate(texts)]
    found = write("srt", segments)
    blocks = [SRT_BLOCK.fullmatch(block) for block in found.split("\n\n")] if found else []
    shown = ""
    for number, block in enumerate(blocks, 1):
        assert block
        assert int(block[1]) == number
        assert 0 < milliseconds(block[3]) - milliseconds(block[2]) <= 7_000
        shown += block[4].replace("\n", " ")
    plain = "".join(map(one_line, texts)).translate({ord("{"): "\uff5b", ord("}"): "\uff5d", ord(" "): "", 0x2060: ""})
    assert shown.replace(" ", "").replace("\u2060", "") == plain


@given(TEXTS)
def test_vtt_read_again_has_all_words_once_in_order(texts: list[str]) -> None:
    segments: list[Transcript] = [said(at, text, at * 9, at * 9 + 8) for at, text in enumerate(texts)]
    head, *blocks = write("vtt", segments).split("\n\n")
    assert head.strip() == "WEBVTT"
    shown = [line for block in blocks for line in block.split("\n")[1:]]
    assert not any("-->" in line or "<" in line for line in shown)
    assert html.unescape("".join(shown)).replace(" ", "") == html.unescape(
        html.escape("".join(map(one_line, texts)), quote=False)
    ).replace(" ", "")


@given(TEXTS)
def test_every_format_takes_any_text(texts: list[str]) -> None:
    summary = Summary(
        job="j1",
        title="".join(texts),
        summary="".join(texts),
        key_points=texts,
        decisions=texts,
        action_items=[ActionItem(what=text, who=text, due=text) for text in texts],
        engine="ollama",
    )
    segments: list[Transcript] = [said(at, text, at, at + 1) for at, text in enumerate(texts)]
    for form in FORMATS.values():
        form.write(job(summary=summary), segments).encode()


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
        ("x" * 200, f"{'x' * 200}.srt"),
        ("회" * 101, f"{'회' * 66}.srt"),  # 3 bytes each
        ("x" * 199 + "é", f"{'x' * 199}.srt"),
        ("회의 " * 40, f"{' '.join(['회의'] * 28)} 회.srt"),
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
def test_any_title_gives_a_readable_header(title: str) -> None:
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
    assert len(name.encode()) <= 203
    assert len(plain) <= 203
