from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from client.reading import Summary
from client.transcript import Transcript
from client.view import View, clean, clock, count, damage_line, engine_line, length, sections, status_line, taken_line
from tests.client.server import SUMMARY, segment

KOREAN = "다음 회의는 금요일 오후 세 시에 시작하고 모두가 참석해야 합니다."


def console(width: int, *, terminal: bool, colour: bool = False) -> Console:
    return Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if colour else None,
        no_color=not colour,
        legacy_windows=False,
    )


def output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "00:00"), (9.99, "00:09"), (61, "01:01"), (3599, "59:59"), (3600, "1:00:00"), (36061, "10:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_small_words() -> None:
    assert (length(None), length(3_600)) == ("-", "1:00:00")
    assert (count(1, "word"), count(2, "word")) == ("1 word", "2 words")


def test_foreign_text_cannot_control_the_terminal() -> None:
    assert clean(" a\x1b[31mb\x07c\td\r\x9b1m\ne ") == "a [31mb c d  1m\ne"


def test_status_line() -> None:
    transcript = Transcript()
    transcript.feed({"type": "ack", "samples": 19_200})
    transcript.feed({"type": "status", "state": "streaming", "lag": 0.0})
    assert status_line(transcript) == "streaming · 1.2 s saved"
    transcript.feed({"type": "status", "state": "streaming", "lag": 3.25})
    assert status_line(transcript) == "streaming · 3.2 s behind · 1.2 s saved"
    transcript.disconnected(3.21)
    assert status_line(transcript) == "reconnecting, 3.2 s of audio kept"
    transcript.feed({"type": "connection_success", "job_id": "j1", "next_sample": 0})
    transcript.feed({"type": "status", "state": "streaming", "lag": 3.25, "trouble": "the disk\x1b is full"})
    assert status_line(transcript).endswith("s saved: the disk is full")
    assert status_line(transcript).startswith("waiting, ")
    transcript.feed({"type": "status", "state": "transcribing", "lag": 0.0})
    assert status_line(transcript) == "transcribing · 1.2 s saved"


@pytest.mark.parametrize(
    ("holes", "line"),
    [
        ([(61.2, 0.72)], "incomplete: 0.7 s are missing at 01:01, replaced by silence"),
        (
            [(61.2, 0.72), (90, 2)],
            "incomplete: 2.7 s are missing in 2 places from 01:01 on, replaced by silence",
        ),
    ],
)
def test_damage(holes: list[tuple[float, float]], line: str) -> None:
    assert damage_line(holes) == line


@pytest.mark.parametrize(
    ("audio", "line"),
    [
        ({"track": 2, "tracks": 3, "channel": "mix", "channels": 1}, "track 2 of 3"),
        ({"track": 1, "tracks": 1, "channel": "left", "channels": 2}, "channel left of 2"),
        ({"track": 1, "tracks": 2, "channel": "mix", "channels": 6}, "track 1 of 2, mix of 6 channels"),
        ({"track": 1, "tracks": 1, "channel": "mix", "channels": 1}, ""),
        ({"track": "first"}, ""),
        (None, ""),
    ],
)
def test_which_track_and_channel_were_taken(audio: object, line: str) -> None:
    assert taken_line({"metadata": {"audio": audio}}) == line
    assert taken_line({"metadata": audio}) == taken_line({}) == ""


def test_who_wrote_the_summary_and_why() -> None:
    assert engine_line(Summary(title="", summary="s", engine="ollama", model="gemma3")) == "Engine: ollama, gemma3"
    assert engine_line(Summary.model_validate(SUMMARY)) == "Engine: extractive, Ollama is not reachable"


def test_sections_leave_out_what_is_empty() -> None:
    assert sections(Summary(title="", summary="s", engine="none")) == []
    assert sections(Summary.model_validate(SUMMARY)) == [
        ("Key points", ["Tests are green"]),
        ("Decisions", ["Ship on Friday"]),
        ("Action items", ["Anna: write the notes (due Thursday)", "tag"]),
    ]


def test_a_pipe_gets_plain_lines_that_are_not_wrapped() -> None:
    pipe = console(20, terminal=False)
    with View(pipe, Transcript()) as view:
        view.show({"type": "connection_success", "job_id": "j1", "next_sample": 0})
        view.show(segment(1, KOREAN + " [bold]as it is[/bold]", start=62))
        view.show(segment(0, "Good morning."))
        view.show({"type": "final_summary", "job_id": "j1", "summary": SUMMARY, "transcript": "", "total_segments": 2})
    view.end()
    assert output(pipe) == (
        f"00:00  Good morning.\n01:02  {KOREAN} [bold]as it is[/bold]\n"
        "\nStand-up\nThe release is on Friday.\n"
        "\nKey points\n- Tests are green\n"
        "\nDecisions\n- Ship on Friday\n"
        "\nAction items\n- Anna: write the notes (due Thursday)\n- tag\n"
        "\nEngine: extractive, Ollama is not reachable\n"
        "2 segments, 0.0 s of audio, job j1\n"
    )


def test_what_could_not_be_transcribed_is_seen() -> None:
    failed = segment(0, "", start=12, error="out of\nmemory\x1b[2J")
    pipe = console(80, terminal=False)
    with View(pipe, Transcript()) as view:
        view.show({"type": "connection_success", "job_id": "j1", "next_sample": 0})
        view.show(failed)
        view.show(segment(1, "Good morning."))
    view.end()
    assert output(pipe) == (
        "00:12  [not transcribed: out of memory [2J]\n00:02  Good morning.\n2 segments, 0.0 s of audio, job j1\n"
    )
    terminal = console(80, terminal=True, colour=True)
    View(terminal, Transcript()).segments(Transcript().feed(failed))
    assert "\x1b[31m[not transcribed: out of memory [2J]\x1b[0m" in output(terminal)


@pytest.mark.parametrize("width", [24, 40, 80])
def test_a_terminal_gets_lines_that_fit_with_a_hanging_indent(width: int) -> None:
    terminal = console(width, terminal=True)
    View(terminal, Transcript()).segments(Transcript().feed(segment(0, KOREAN)))
    lines = output(terminal).splitlines()
    assert lines[0].startswith("00:00 다음")
    assert all(line.startswith("      ") for line in lines[1:])
    assert all(cell_len(line) <= width for line in lines)
    assert "".join("".join(line[6:] for line in lines).split()) == "".join(KOREAN.split())


@pytest.mark.parametrize("width", [24, 60])
def test_the_panel_is_straight_around_korean(width: int) -> None:
    terminal = console(width, terminal=True)
    summary = Summary.model_validate(SUMMARY | {"title": "주간 회의", "summary": KOREAN, "key_points": [KOREAN]})
    View(terminal, Transcript()).summary(summary)
    lines = output(terminal).splitlines()
    assert "주간 회의" in lines[0]
    assert {cell_len(line) for line in lines} == {width}


def partial(text: str, start: float = 62) -> dict[str, Any]:
    return {"type": "partial", "start": start, "text": text, "stable": 0}


def test_a_terminal_shows_what_is_being_said_until_it_is_final() -> None:
    terminal = console(60, terminal=True, colour=True)
    with View(terminal, Transcript()) as view:
        view.show({"type": "speech_started", "start": 62})
        view.show(partial("good mor\x1b[2J"))
        assert "\x1b[2m01:02\x1b[0m \x1b[2mgood mor [2J\x1b[0m" in output(terminal)
        before = len(output(terminal))
        view.show(segment(0, "Good morning.", start=62))
        assert "good mor " not in output(terminal)[before:].rsplit("Good morning.", 1)[-1]


@pytest.mark.parametrize("width", [24, 60])
def test_of_a_long_partial_the_end_is_shown_in_lines_that_fit(width: int) -> None:
    terminal = console(width, terminal=True)
    words = [f"word{number}" for number in range(100)]
    with View(terminal, Transcript()) as view:
        view.show(partial(" ".join(words)))
        shown = output(terminal).splitlines()
    lines = [line for line in shown if "word" in line]
    assert len(lines) == 3
    assert "01:02 … word" in lines[0]
    assert lines[2].rstrip().endswith("word99")
    assert all(cell_len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip("\r")) <= width for line in lines)
    assert "word0 " not in output(terminal)


def test_a_pipe_gets_no_partials() -> None:
    pipe = console(60, terminal=False)
    with View(pipe, Transcript()) as view:
        view.show({"type": "speech_started", "start": 62})
        view.show(partial("good mor"))
        view.show(segment(0, "Good morning.", start=62))
    assert output(pipe) == "01:02  Good morning.\n"


def test_a_held_segment_without_text_is_not_shown_as_failed() -> None:
    terminal = console(60, terminal=True)
    with View(terminal, Transcript()) as view:
        view.show(segment(1, ""))
    assert "not transcribed" not in output(terminal)


def test_the_status_line_is_gone_at_the_end_and_held_segments_are_shown() -> None:
    terminal = console(60, terminal=True)
    with View(terminal, Transcript()) as view:
        view.show(segment(1, "waits for the first"))
        assert "● connecting" in output(terminal)
        assert "00:02 waits for the first" in output(terminal)
        before = len(output(terminal))
    assert "00:02 waits for the first" in output(terminal)[before:]
    assert "●" not in output(terminal).rsplit("\x1b[2K", 1)[-1]


def test_a_terminal_shows_that_there_is_no_connection() -> None:
    terminal, pipe = console(60, terminal=True), console(60, terminal=False)
    for each in (terminal, pipe):
        with View(each, Transcript()) as view:
            view.disconnected(3.21)
    assert "● reconnecting, 3.2 s of audio kept" in output(terminal)
    assert output(pipe) == ""
