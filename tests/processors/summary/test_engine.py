from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from compose.ports import free_port
from processors.summary import core
from processors.summary.engine import (
    Busy,
    CutOff,
    Engine,
    EngineError,
    ModelMissing,
    Truncated,
    Unreachable,
    check_host,
)
from processors.summary.model import Model
from tests.ollama_server import OllamaServer, fails, says, streams, waits_for
from tests.support import wait_until

MODEL = Model(8_192)
MESSAGES = core.prompt("We meet on Friday.\nMina writes the report.", "en", None)
PIECE = json.dumps({"model": "gemma3", "message": {"role": "assistant", "content": '{"ti'}, "done": False}).encode()


def engine_at(host: str, model: str = "gemma3") -> Engine:
    return Engine(host, model, connect_timeout=2.0)


@pytest.fixture
async def engine(ollama: OllamaServer) -> AsyncIterator[Engine]:
    made = engine_at(ollama.url)
    yield made
    await made.close()


async def test_a_request_is_as_ollama_documents_it(engine: Engine, ollama: OllamaServer) -> None:
    answer = core.parse(await engine.ask(MESSAGES, core.schema(), MODEL))
    assert answer.summary == "Mina writes the report."
    (request,) = ollama.requests
    assert (request["model"], request["stream"], request["messages"]) == ("gemma3", True, MESSAGES)
    assert request["format"] == core.schema()
    assert request["options"] == {"num_ctx": 8_192, "num_predict": 2_048, "num_keep": -1, "temperature": 0.0}
    assert "think" not in request


async def test_a_streamed_answer_is_joined(engine: Engine, ollama: OllamaServer) -> None:
    words = "한 문장이 여러 조각으로 나뉘어 옵니다. " * 20
    ollama.plan.append(says(words))
    assert await engine.ask(MESSAGES, core.schema(), MODEL) == words


async def test_a_host_may_have_no_scheme(ollama: OllamaServer) -> None:
    engine = engine_at(ollama.url.removeprefix("http://"))
    assert await engine.ask(MESSAGES, core.schema(), MODEL)
    await engine.close()


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://no-such-host.invalid"])
async def test_an_engine_that_is_away_is_unreachable(host: str) -> None:
    host = host.format(port=free_port())
    engine = engine_at(host)
    with pytest.raises(Unreachable, match=rf"^Ollama at {host} cannot be reached$"):
        await engine.ask(MESSAGES, core.schema(), MODEL)
    await engine.close()


async def test_a_missing_model_says_how_to_get_it(ollama: OllamaServer) -> None:
    engine = engine_at(ollama.url, "llama9:70b")
    with pytest.raises(ModelMissing) as caught:
        await engine.ask(MESSAGES, core.schema(), MODEL)
    assert str(caught.value) == "model llama9:70b is not installed in Ollama: run `ollama pull llama9:70b`"
    await engine.close()


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails(503, "server busy, please try again.  maximum pending requests exceeded"), "failed: server busy"),
        (fails(500), "failed: llama runner process has terminated"),
        (fails(429, "slow down"), "failed: slow down"),
        (streams(PIECE, b'{"error":"an error was encountered while running the model"}'), "failed: an error was"),
        (streams(PIECE, dies=True), "broke off: "),
        (streams(PIECE), "broke off: the answer has no end"),
        (streams(), "broke off: the answer has no end"),
    ],
)
async def test_some_failures_are_worth_another_attempt(
    behaviour: object, reason: str, engine: Engine, ollama: OllamaServer
) -> None:
    ollama.plan.append(behaviour)  # type: ignore[arg-type]
    with pytest.raises(Busy, match=rf"^Ollama at {ollama.url} {reason}"):
        await engine.ask(MESSAGES, core.schema(), MODEL)
    assert await engine.ask(MESSAGES, core.schema(), MODEL)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails(400, '"gemma3" does not support chat'), r"refused: \"gemma3\" does not support chat \(status 400\)"),
        (fails(404, "page not found"), r"refused: page not found \(status 404\)"),
        (streams(b"<!DOCTYPE html>"), "does not answer as Ollama does"),
        (streams(b"[1, 2]"), "does not answer as Ollama does"),
        (streams(b'{"hello": "world"}'), "does not answer as Ollama does"),
    ],
)
async def test_other_failures_are_final(behaviour: object, reason: str, engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(behaviour)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=reason) as caught:
        await engine.ask(MESSAGES, core.schema(), MODEL)
    assert type(caught.value) is EngineError


async def test_an_answer_that_was_cut_off_is_refused(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(says('{"title": "and so on and', done_reason="length"))
    with pytest.raises(CutOff, match="model gemma3 did not come to an end"):
        await engine.ask(MESSAGES, core.schema(), MODEL)


async def test_a_cancelled_request_is_closed(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(waits_for(asyncio.Event()))
    asking = asyncio.create_task(engine.ask(MESSAGES, core.schema(), MODEL))
    await wait_until(lambda: ollama.active == 1, description="the request is active")
    asking.cancel()
    await wait_until(lambda: ollama.active == 0, description="the server has noticed")
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "127.0.0.1:11434", "http://gpu-box:11434", "https://ollama.example.org", "[::1]"]
)
def test_hosts_that_ollama_accepts(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["ftp://box", "box:port", "http://box:99999", "http://me:secret@box", "http://[::1"])
def test_bad_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_host(host)


FAULTS = [
    {"NO_PROXY": "[::1]", "ALL_PROXY": "socks5://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"},
    {"SSL_CERT_FILE": "/proc/none", "SSLKEYLOGFILE": "/proc/none/log"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_ollama_on_this_machine_needs_neither_proxy_nor_certificates(
    ollama: OllamaServer, monkeypatch: pytest.MonkeyPatch, fault: dict[str, str]
) -> None:
    for name, value in fault.items():
        monkeypatch.setenv(name, value)
    engine = engine_at(ollama.url)
    assert await engine.ask(MESSAGES, core.schema(), MODEL)
    await engine.close()


@pytest.mark.parametrize("fault", [*FAULTS, {"OLLAMA_HOST": "http://[::1"}], ids=str)
def test_the_package_loads_whatever_the_environment_says(fault: dict[str, str]) -> None:
    code = "import os, processors.summary.engine; print(*sorted(os.environ))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | fault, capture_output=True, text=True, check=False
    )
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert set(fault) <= set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("SSL_CERT_FILE", "/proc/none", r"TLS cannot be set up \(SSL_CERT_FILE.*\): No such file or directory"),
        ("ALL_PROXY", "ftp://p", r"ALL_PROXY is 'ftp://p', which is no proxy"),
    ],
)
def test_a_host_elsewhere_needs_what_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=says):
        check_host("https://ollama.example.org")


async def test_the_default_host_is_that_of_ollama() -> None:
    engine = engine_at("")
    assert engine.name == "Ollama at http://127.0.0.1:11434"
    await engine.close()


@pytest.mark.parametrize("bytes_a_token", [1, 3])
async def test_a_prompt_that_was_cut_is_refused(bytes_a_token: int, engine: Engine, ollama: OllamaServer) -> None:
    ollama.bytes_a_token = bytes_a_token
    ollama.plan.extend([says('{"title": "t", "summary": "Of the part that was left."}')] * 2)
    fits = core.prompt("말" * (1_000 * bytes_a_token), "ko", None)
    assert await engine.ask(fits, core.schema(), MODEL)
    with pytest.raises(Truncated, match=r"read only 81\d\d tokens of a longer prompt with model gemma3"):
        await engine.ask(core.prompt("말" * (3_000 * bytes_a_token), "ko", None), core.schema(), MODEL)


async def test_a_window_smaller_than_it_should_be_is_noticed(engine: Engine, ollama: OllamaServer) -> None:
    ollama.context = 1_000
    with pytest.raises(Truncated, match="read only 999 tokens"):
        await engine.ask(core.prompt("We meet on Friday. " * 1_000, "en", None), core.schema(), MODEL)


async def test_servers_that_refuse_a_long_prompt_are_understood(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(fails(400, "the prompt is longer than the context length currently available to the model"))
    with pytest.raises(Truncated, match="refused a prompt that is longer than the context of model gemma3"):
        await engine.ask(MESSAGES, core.schema(), MODEL)


async def test_tokens_are_counted_by_the_model(engine: Engine, ollama: OllamaServer) -> None:
    ollama.bytes_a_token = 1
    counted = await engine.count("보고서" * 100, MODEL)
    assert counted is not None
    assert 900 < counted < 920
    (request,) = ollama.requests
    assert (request["options"]["num_ctx"], request["options"]["num_predict"]) == (8_192, 1)


async def test_thoughts_are_no_part_of_an_answer(engine: Engine, ollama: OllamaServer) -> None:
    ollama.capabilities.append("thinking")
    text = await engine.ask(MESSAGES, core.schema(), Model(8_192))
    assert core.parse(text).summary == "Mina writes the report."


async def test_a_model_is_described(engine: Engine, ollama: OllamaServer) -> None:
    ollama.window = 8_192
    assert await engine.describe(16_384) == Model(8_192)
    ollama.models.clear()
    with pytest.raises(ModelMissing, match="run `ollama pull gemma3`"):
        await engine.describe(16_384)


async def test_a_server_that_does_not_describe_models_is_used_as_the_settings_say(
    engine: Engine, ollama: OllamaServer
) -> None:
    ollama.describes = False
    assert await engine.describe(16_384) == Model(16_384)


async def test_requests_that_are_not_streamed_are_explained_too() -> None:
    engine = engine_at(f"127.0.0.1:{free_port()}")
    with pytest.raises(Unreachable):
        await engine.describe(16_384)
    with pytest.raises(Unreachable):
        await engine.count("text", MODEL)
    await engine.close()
