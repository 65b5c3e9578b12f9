"""`stenobus stream` against a scripted server."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from starlette.responses import JSONResponse

from audio import write_flac
from client.reading import Json
from tests.audio.sounds import Track, le32, movie, tone, wav
from tests.client.conftest import SECOND
from tests.client.inprocess import invoke
from tests.client.process import ROOT, run, start
from tests.client.server import FINAL, SUMMARY, ScriptedServer, meeting, record, segment
from tests.support import wait_until


async def test_stream_shows_the_transcript_in_order_and_the_summary(server: ScriptedServer, flac: str) -> None:
    code, out, err = await invoke(
        "stream", flac, "--fast", "--title", "Stand-up", environment={"STENOBUS_URL": server.url}
    )
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["00:00  Good morning.", "00:04  다음 회의는 금요일입니다."]
    assert lines[-1] == "2 segments, 1.0 s of audio, job j1"
    assert "- Anna: write the notes (due Thursday)" in lines
    assert server.created == [{"title": "Stand-up", "task": "transcribe", "summary": True, "source": "upload"}]
    assert server.sound == SECOND


async def test_a_refusal_is_one_sentence_and_exit_code_1(server: ScriptedServer, flac: str) -> None:
    problem = {"title": "Full", "detail": "no room for more audio", "retry_after": 7}
    server.refusal = JSONResponse(problem, status_code=503, media_type="application/problem+json")
    code, out, err = await invoke("stream", flac, "--server", server.url)
    assert (code, out) == (1, "")
    assert err == "stenobus: the server answered 503: Full: no room for more audio; try again in 7 s\n"


async def test_an_early_end_names_the_job(server: ScriptedServer, flac: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.say(**segment(1, "held back"))
        await server.say(type="error", code="internal", message="the bus is gone")
        await server.websocket.close(1008)

    server.script = script
    code, out, err = await invoke("stream", flac, "--server", server.url)
    assert (code, out) == (1, "00:02  held back\n")
    assert err.splitlines() == [
        f"stenobus: to see the job: stenobus job j1 --server {server.url}",
        "stenobus: the server ended the capture: the bus is gone (closed with 1008, protocol error)",
    ]


async def breaks_once(server: ScriptedServer) -> None:
    if server.connections == 1:
        await server.hello()
        await server.take(0.5)
        await server.say(**segment(0, "Good morning."))
        await server.websocket.close(1012)
        return
    await meeting(server)


async def test_a_broken_connection_is_reported_and_no_word_shown_twice(server: ScriptedServer, flac: str) -> None:
    server.script = breaks_once
    code, out, err = await invoke("stream", flac, "--fast", "--server", server.url)
    reason = "the capture ended before its summary (closed with 1012, the server is restarting)"
    assert (code, err) == (0, f"stenobus: reconnecting: {reason}\n")
    assert out.splitlines()[:2] == ["00:00  Good morning.", "00:04  다음 회의는 금요일입니다."]
    assert server.sound == SECOND


async def test_json_on_stdout_is_only_what_the_server_sent(server: ScriptedServer, flac: str) -> None:
    server.script = breaks_once
    code, out, err = await invoke("stream", flac, "--fast", "--json", "--server", server.url)
    assert code == 0
    kinds = [json.loads(line)["type"] for line in out.splitlines()]
    assert kinds[:3] == ["connection_success", "transcript_segment", "connection_success"]
    assert kinds.count("transcript_segment") == 3
    outage = json.loads(err)
    assert (outage["type"], outage["job_id"], outage["attempt"]) == ("reconnecting", "j1", 1)
    assert 0 < outage["kept"] <= 1
    assert "closed with 1012" in outage["reason"]


async def test_damage_is_reported(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "meeting.flac"
    write_flac(path, np.random.default_rng(1).bytes(320_000))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 20_000] = bytes(20_000)
    path.write_bytes(data)
    code, _, err = await invoke("stream", str(path), "--fast", "--server", server.url)
    assert code == 0
    sentence = r"incomplete: 0\.\d s are missing at 00:04, replaced by silence"
    assert re.fullmatch(rf"stenobus: {path}: {sentence}\n", err)
    assert len(server.sound) == 320_000


def two_channels(path: Path) -> str:
    path.write_bytes(wav(np.stack([tone(1, 300), tone(1, 700)], axis=1)))
    return str(path)


async def test_each_channel_is_a_job(server: ScriptedServer, tmp_path: Path) -> None:
    path = two_channels(tmp_path / "call.wav")
    code, out, err = await invoke("stream", path, "--fast", "--channel", "each", "--server", server.url)
    assert (code, err) == (0, "")
    names = ["left", "right"]
    assert [job["title"] for job in server.created] == [f"call.wav ({name})" for name in names]
    assert [job["metadata"]["audio"]["channel"] for job in server.created] == names
    assert [line for line in out.splitlines() if line.startswith("Channel ")] == [f"Channel {name}" for name in names]
    assert out.splitlines()[-1].endswith("job j1, channel right of 2")


async def test_the_wanted_track_and_channel_are_sent_and_named(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(movie("matroska", "libopus", [Track(tone(3, 300, 48_000)), Track(tone(3, 700, 48_000))]))
    code, out, err = await invoke("stream", str(path), "--fast", "--track", "2", "--server", server.url)
    assert (code, err) == (0, "")
    assert server.created[0]["metadata"] == {"audio": {"track": 2, "tracks": 2, "channel": "mix", "channels": 1}}
    assert out.splitlines()[-1].endswith("job j1, track 2 of 2")
    call = two_channels(tmp_path / "call.wav")
    await invoke("stream", call, "--fast", "--channel", "right", "--server", server.url)
    assert server.sound == tone(1, 700).tobytes()


async def test_what_is_unusual_is_told_once(server: ScriptedServer, tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    data = wav(np.stack([tone(2), -tone(2)], axis=1))
    path.write_bytes(data[:40] + le32(100) + data[44:])
    code, _, err = await invoke("stream", str(path), "--fast", "--server", server.url)
    assert code == 0
    told = [
        "the header of the file promises 0.0 s, but there are 2.0 s: all were taken",
        "its channels cancel each other out for 2.0 s from 0.0 s on: one of them was taken there instead of the mix",
    ]
    assert err.splitlines() == [f"stenobus: {path}: {sentence}" for sentence in told]
    _, _, err = await invoke("stream", str(path), "--fast", "--channel", "each", "--server", server.url)
    assert err.splitlines() == [f"stenobus: {path}: {told[0]}"]


async def test_json_prints_what_the_server_sent(server: ScriptedServer) -> None:
    """From stdin, in a locale without Korean."""
    arguments = ("-", "--raw", "--fast", "--json", "--no-summary", "--language", "ko", "--frame-ms", "100")
    code, out, err = await run("stream", *arguments, "--server", server.url, stdin=SECOND, PYTHONIOENCODING="ascii")
    assert (code, err) == (0, "")
    messages = [json.loads(line) for line in out.splitlines()]
    assert messages[0] == {"type": "connection_success", "job_id": "j1", "next_sample": 0}
    assert messages[4] == segment(2, "다음 회의는 금요일입니다.")
    assert messages[-1] == FINAL
    assert len(messages) == 7
    assert server.created == [{"language": "ko", "task": "transcribe", "summary": False}]
    assert [len(frame) for frame in server.frames] == [3_200] * 10


async def test_a_newer_server_is_tolerated(server: ScriptedServer, flac: str) -> None:
    """Unknown types, fields, states and engines are shown where they can be, and printed unchanged with --json."""
    newer: list[Json] = [
        {"type": "speaker", "name": "Anna"},
        {"type": "status", "state": "diarizing", "lag": 0.5, "speakers": 2},
        segment(0, "Good morning.") | {"speaker": "Anna"},
        FINAL | {"summary": SUMMARY | {"engine": "other", "mood": "good"}},
    ]

    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen()
        await server.ack()
        for message in newer:
            await server.say(**message)
        await server.websocket.close(1000)

    server.script = script
    code, out, err = await invoke("stream", flac, "--fast", "--json", "--server", server.url)
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()][-len(newer) :] == newer
    code, out, err = await invoke("stream", flac, "--fast", "--server", server.url)
    assert (code, err) == (0, "")
    assert out.startswith("00:00  Good morning.\n")
    assert "Engine: other, Ollama is not reachable" in out


async def test_stdin_is_decoded(server: ScriptedServer, flac: str) -> None:
    file = await asyncio.to_thread(Path(flac).read_bytes)
    code, _, err = await run("stream", "-", "--fast", "--server", server.url, stdin=file)
    assert (code, err, server.sound) == (0, "", SECOND)


@pytest.mark.parametrize("between", [" ", ",", " , "])
async def test_several_servers(server: ScriptedServer, flac: str, closed_port: int, between: str) -> None:
    servers = [f"http://127.0.0.1:{closed_port}", server.url]
    environment = {"STENOBUS_URL": between.join(servers)}
    assert (await invoke("stream", flac, "--fast", environment=environment))[0] == 0
    server.jobs["j1"] = record("completed", [])
    code, out, _ = await invoke("job", "j1", *(f"--server={url}" for url in servers))
    assert (code, out.splitlines()[0]) == (0, "completed")


async def test_giving_up_is_exit_code_3_and_names_the_job(server: ScriptedServer, flac: str) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        server.abort()

    server.script = script
    code, _, err = await invoke("stream", flac, "--server", server.url, "--give-up-after", "0")
    assert code == 3
    assert err.splitlines()[-1].startswith("stenobus: gave up on job j1 after 0 s: ")


async def test_an_unreachable_server_is_exit_code_3(flac: str, closed_port: int) -> None:
    url = f"http://127.0.0.1:{closed_port}"
    expected = (3, "", f"stenobus: cannot reach {url}: connection refused\n")
    for command in (["stream", flac], ["job", "j1"]):
        assert await invoke(*command, "--server", url) == expected


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.wav"], "stenobus: nowhere.wav: no such file\n"),
        (["nowhere.wav", "--channel", "each"], "stenobus: nowhere.wav: no such file\n"),
        (["a.wav", "--channel", "middle"], "is not a channel; accepted: left, right, mix, each, or a number from 1 on"),
        (["-", "--raw", "--channel", "left"], "--track and --channel are for files"),
        (["-", "--channel", "each"], "stdin can be read only once: name a file"),
        (["--mic", "--track", "1"], "--track and --channel are for files"),
        (["pyproject.toml"], "stenobus: pyproject.toml: no audio stream\n"),
        (["-", "--server", "localhost:8000"], "is not an address like http://HOST:PORT"),
        (["-", "--frame-ms", "5"], "Invalid value for '--frame-ms'"),
        ([], "name a FILE, - for stdin, or give --mic"),
        (["talk.wav", "--mic"], "give a FILE or --mic, not both"),
        (["--mic", "--fast"], "--fast and --raw are for files"),
        (["talk.wav", "--device", "1"], "it names a microphone: give --mic too"),
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, err = await invoke("stream", *arguments)
    assert (code, out) == (2, "")
    assert sentence in err


async def test_ctrl_c_ends_the_audio_and_waits_for_the_rest(server: ScriptedServer) -> None:
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)  # and stays open, as a microphone does
    await wait_until(lambda: server.frames, description="sound arrives")
    process.send_signal(signal.SIGINT)
    await wait_until(lambda: server.commands == ["stop"], description="the client says stop")
    out, err = await process.communicate()
    assert process.returncode == 0
    assert b"Good morning." in out
    assert err == b"stenobus: no more audio; waiting for the rest (Ctrl-C again to exit)\n"


async def test_ctrl_c_before_any_audio_exits(server: ScriptedServer) -> None:
    server.answering.clear()
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)
    await wait_until(lambda: server.created, description="the client asks for a job")
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    assert process.stderr is not None
    assert await process.stderr.read() == b"stenobus: interrupted\n"


async def test_a_second_ctrl_c_exits(server: ScriptedServer) -> None:
    async def script(server: ScriptedServer) -> None:
        await server.hello()
        await server.listen()
        await server.listen()

    server.script = script
    process = await start("stream", "-", "--raw", "--server", server.url)
    assert process.stdin is not None
    process.stdin.write(SECOND)
    await wait_until(lambda: server.frames, description="sound arrives")
    process.send_signal(signal.SIGINT)
    await wait_until(lambda: server.commands == ["stop"], description="the client says stop")
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 130
    assert err.decode().splitlines()[1:] == [
        f"stenobus: to see the job: stenobus job j1 --server {server.url}",
        "stenobus: interrupted",
    ]
    assert server.close_code == 1000
