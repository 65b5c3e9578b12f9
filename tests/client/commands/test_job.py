"""`stenobus job` against a scripted server."""

from __future__ import annotations

import json

from client.commands.job import show_job
from tests.client.inprocess import invoke
from tests.client.server import ScriptedServer, record, segment
from tests.client.test_view import console, output


async def test_a_job_and_its_record(server: ScriptedServer) -> None:
    server.jobs["j1"] = record("completed", [segment(0, "안녕하세요.")], 5.96) | {"mood": "good"}
    code, out, err = await invoke("job", "j1", "--server", server.url)
    assert (code, err) == (0, "")
    assert out.startswith("completed, 6.0 s of audio\n00:00  안녕하세요.\n\nStand-up\n")
    code, out, err = await invoke("job", "j1", "--json", "--server", server.url)
    assert (code, json.loads(out), out.count("\n")) == (0, server.jobs["j1"], 1)


async def test_which_track_and_channel_a_job_has(server: ScriptedServer) -> None:
    server.jobs["j1"] = record("completed", [], 5.96)
    audio = {"track": 2, "tracks": 3, "channel": "left", "channels": 2}
    server.jobs["j1"]["options"]["metadata"] = {"audio": audio}
    _, out, _ = await invoke("job", "j1", "--server", server.url)
    assert out.splitlines()[0] == "completed, 6.0 s of audio, track 2 of 3, channel left of 2"


async def test_an_unknown_job_is_exit_code_1(server: ScriptedServer) -> None:
    expected = (1, "", "stenobus: the server answered 404: Not Found: no job j2\n")
    assert await invoke("job", "j2", "--server", server.url) == expected


async def test_a_broken_record_is_exit_code_1(server: ScriptedServer) -> None:
    server.jobs["j1"] = record("completed", []) | {"segments": 3}
    why = "the server sent a job that breaks the contract: segments: Input should be a valid list"
    assert await invoke("job", "j1", "--server", server.url) == (1, "", f"stenobus: {why}\n")


async def test_a_job_of_a_newer_server(server: ScriptedServer) -> None:
    newer = record("transcribing", [segment(0, "Good morning.")], 2.0) | {"state": "diarizing"}
    newer["options"] |= {"encoding": "flac", "speakers": 2}
    newer["source"] = "phone"
    server.jobs["j1"] = newer
    code, out, _ = await invoke("job", "j1", "--server", server.url)
    assert (code, out) == (0, "diarizing, 2.0 s of audio\n00:00  Good morning.\n")


def test_segments_are_shown_in_order() -> None:
    pipe = console(80, terminal=False)
    segments = [segment(3, "", error="out of memory"), segment(2, ""), segment(1, "two"), segment(0, "one")]
    show_job(record("completed", segments, 5.96) | {"summary": None}, pipe)
    assert output(pipe) == (
        "completed, 6.0 s of audio\n00:00  one\n00:02  two\n00:06  [not transcribed: out of memory]\n"
    )
