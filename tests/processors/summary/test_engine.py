import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from compose.ports import free_port
from processors.summary import core
from processors.summary.engine import Busy, CutOff, Engine, EngineError, ModelMissing, Unreachable, check_host
from tests.ollama_server import OllamaServer, fails, says, streams, waits_for
from tests.support import wait_until

MESSAGES = core.prompt("We meet on Friday.\nMina writes the report.", "en", None)
PIECE = json.dumps({"model": "gemma3", "message": {"role": "assistant", "content": '{"ti'}, "done": False}).encode()


def engine_at(host: str, model: str = "gemma3") -> Engine:
    return Engine(host, model, context=8_192, answer=1_024, connect_timeout=2.0)


@pytest.fixture
async def engine(ollama: OllamaServer) -> AsyncIterator[Engine]:
    made = engine_at(ollama.url)
    yield made
    await made.close()


async def test_asks_as_ollama_wants_to_be_asked(engine: Engine, ollama: OllamaServer) -> None:
    answer = core.parse(await engine.ask(MESSAGES, core.schema()))
    assert answer.summary == "Mina writes the report."
    (request,) = ollama.requests
    assert (request["model"], request["stream"], request["messages"]) == ("gemma3", True, MESSAGES)
    assert request["format"] == core.schema()
    assert request["options"] == {"num_ctx": 8_192, "num_predict": 1_024, "temperature": 0.0}


async def test_pieces_are_put_together(engine: Engine, ollama: OllamaServer) -> None:
    words = "한 문장이 여러 조각으로 나뉘어 옵니다. " * 20
    ollama.plan.append(says(words))
    assert await engine.ask(MESSAGES, core.schema()) == words


async def test_host_without_scheme(ollama: OllamaServer) -> None:
    engine = engine_at(ollama.url.removeprefix("http://"))
    assert await engine.ask(MESSAGES, core.schema())
    await engine.close()


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://no-such-host.invalid"])
async def test_nothing_answers(host: str) -> None:
    host = host.format(port=free_port())
    engine = engine_at(host)
    with pytest.raises(Unreachable, match=rf"^Ollama at {host} cannot be reached$"):
        await engine.ask(MESSAGES, core.schema())
    await engine.close()


async def test_the_model_is_missing(ollama: OllamaServer) -> None:
    engine = engine_at(ollama.url, "llama9:70b")
    with pytest.raises(ModelMissing) as caught:
        await engine.ask(MESSAGES, core.schema())
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
async def test_another_time_it_may_work(behaviour: object, reason: str, engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(behaviour)  # type: ignore[arg-type]
    with pytest.raises(Busy, match=rf"^Ollama at {ollama.url} {reason}"):
        await engine.ask(MESSAGES, core.schema())
    assert await engine.ask(MESSAGES, core.schema())


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails(400, '"gemma3" does not support chat'), r"refused: \"gemma3\" does not support chat \(status 400\)"),
        (fails(404, "page not found"), r"refused: page not found \(status 404\)"),
        (streams(b"<!DOCTYPE html>"), "sent something else"),
        (streams(b"[1, 2]"), "sent something else"),
        (streams(b'{"hello": "world"}'), "sent something else"),
    ],
)
async def test_another_time_it_will_not_work(
    behaviour: object, reason: str, engine: Engine, ollama: OllamaServer
) -> None:
    ollama.plan.append(behaviour)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match=reason) as caught:
        await engine.ask(MESSAGES, core.schema())
    assert type(caught.value) is EngineError


async def test_an_answer_without_end_is_not_an_answer(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(says('{"title": "and so on and', done_reason="length"))
    with pytest.raises(CutOff, match="model gemma3 did not come to an end"):
        await engine.ask(MESSAGES, core.schema())


async def test_giving_up_ends_the_request(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(waits_for(asyncio.Event()))
    asking = asyncio.create_task(engine.ask(MESSAGES, core.schema()))
    await wait_until(lambda: ollama.in_hand == 1, description="the request is in hand")
    asking.cancel()
    await wait_until(lambda: ollama.in_hand == 0, description="the server has noticed")
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "127.0.0.1:11434", "http://gpu-box:11434", "https://ollama.example.org", "[::1]"]
)
def test_hosts_as_ollama_takes_them(host: str) -> None:
    assert check_host(host) == host


@pytest.mark.parametrize("host", ["ftp://box", "box:port", "http://box:99999", "http://me:secret@box"])
def test_bad_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_host(host)


async def test_the_default_is_ollamas() -> None:
    engine = engine_at("")
    assert engine.name == "Ollama at http://127.0.0.1:11434"
    await engine.close()
