from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from audio import write_flac
from bench.contenders.inprocess import main
from bench.speech import Sentence, load_sentences
from compose.ports import free_port
from contract import RATE, WIDTH
from tests.support import wait_until
from tools.system import MODEL, ROOT

pytestmark = pytest.mark.slow

SILENCE = bytes(RATE * WIDTH)


@pytest.fixture(scope="module")
def sentence() -> Sentence:
    return next(one for one in load_sentences(ROOT / "samples") if one.text == "We need two more testers.")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own, whose log has to stay empty."""
    port, log = free_port(), tmp_path_factory.mktemp("inprocess") / "log"
    command = [sys.executable, "-W", "error", "-m", "bench.contenders.inprocess"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--model", str(MODEL)], cwd=ROOT, stdout=out, stderr=out
        )
    url = f"http://127.0.0.1:{port}"
    try:
        asyncio.run(wait_until(lambda: _ready(url), description="it is ready"))
        yield url
    finally:
        process.terminate()
        process.wait()
    assert log.read_text() == ""


async def _ready(url: str) -> bool:
    async with httpx.AsyncClient(trust_env=False) as http:
        try:
            return (await http.get(f"{url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False


async def opened(url: str, **options: Any) -> ClientConnection:
    """A connection that has been welcomed."""
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{url}/api/v1/stream/create", json=options)
    assert answer.status_code == 201
    socket = await connect(answer.json()["ws_url"], compression=None, proxy=None)
    welcome = json.loads(await socket.recv())
    assert welcome == {"type": "connection_success", "job_id": answer.json()["job_id"], "next_sample": 0}
    return socket


async def told(socket: ClientConnection) -> list[dict[str, Any]]:
    """All there is to come."""
    return [json.loads(message) async for message in socket]


async def test_our_own_client_is_told_each_sentence(url: str, sentence: Sentence, tmp_path: Path) -> None:
    talk = tmp_path / "talk.flac"
    write_flac(talk, sentence.pcm + SILENCE + sentence.pcm)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "client", "stream", str(talk), "--server", url, "--fast", "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    messages = [json.loads(line) for line in output.splitlines()]
    finals = {each["index"]: each for each in messages if each["type"] == "transcript_segment"}
    assert process.returncode == 0
    assert [finals[index]["text"] for index in range(2)] == [sentence.text] * 2
    assert [each["transcript"] for each in messages if each["type"] == "final_summary"] == [
        f"{sentence.text} {sentence.text}"
    ]


async def test_a_segment_is_told_while_more_is_heard_and_the_rest_behind_the_stop(url: str, sentence: Sentence) -> None:
    async with await opened(url, language="en", summary=False, title="ignored") as socket:
        await socket.send(sentence.pcm + SILENCE)
        while (first := json.loads(await socket.recv()))["type"] == "ack":
            assert first["samples"] == len(sentence.pcm + SILENCE) // WIDTH
        assert (first["type"], first["index"], first["text"]) == ("transcript_segment", 0, sentence.text)
        assert 0 <= first["start"] < first["end"] <= len(sentence.pcm + SILENCE) / WIDTH / RATE
        await socket.send(sentence.pcm)
        await socket.send('{"command":"stop"}')
        *rest, last = await told(socket)
    assert [each["text"] for each in rest if each["type"] == "transcript_segment"] == [sentence.text]
    assert [each["samples"] for each in rest if each["type"] == "ack"] == [len(2 * sentence.pcm + SILENCE) // WIDTH]
    assert last["type"] == "final_summary"
    assert last["summary"] is None
    assert last["transcript"] == f"{sentence.text} {sentence.text}"
    assert socket.close_code == 1000


async def test_a_meeting_without_speech_has_an_empty_transcript(url: str) -> None:
    async with await opened(url) as socket:
        await socket.send('{"command":"stop"}')
        (last,) = await told(socket)
    assert (last["type"], last["transcript"]) == ("final_summary", "")


async def test_a_connection_without_a_job_is_refused(url: str) -> None:
    async with connect(f"{url.replace('http', 'ws')}/api/v1/stream/none", compression=None, proxy=None) as socket:
        error = json.loads(await socket.recv())
        await socket.wait_closed()
    assert (error["code"], error["message"], socket.close_code) == ("no_such_job", "no job 'none'", 4004)


async def test_half_a_sample_ends_the_connection(url: str) -> None:
    async with await opened(url) as socket:
        await socket.send(bytes(961))
        error = json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed, match="1008"):
            await socket.recv()
    assert error["message"] == "961 bytes are not whole samples of 2 bytes"


@pytest.mark.parametrize("text", ["stop", "[]", '{"command":"dance"}', '{"command":["stop"]}'])
async def test_an_unknown_command_is_named_and_the_connection_goes_on(url: str, text: str) -> None:
    async with await opened(url) as socket:
        await socket.send('{"command":"keepalive"}')
        await socket.send(text)
        error = json.loads(await socket.recv())
        await socket.send('{"command":"stop"}')
        (last,) = await told(socket)
    assert error["message"] == f'{text!r}: accepted are {{"command":"stop"}}, {{"command":"keepalive"}}'
    assert last["type"] == "final_summary"


async def test_a_language_that_is_not_known_is_refused(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(f"{url}/api/v1/stream/create", json={"language": "xx"})
    assert answer.status_code == 422
    assert "unknown language 'xx'; accepted are null (detect) and af, am, " in answer.text


def test_a_model_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "/none"]) == 1
    assert "inprocess: STT_MODEL='/none': there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "65536", "http"])
def test_a_port_that_is_none_is_named(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--port", port])
    assert f"{port!r} is not a number from 1 to 65535" in capsys.readouterr().err
