from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from compose.ports import free_port
from contract import JobOptions, Summary, Transcript
from processors.summary import core
from processors.summary.writer import (
    Busy,
    CutOff,
    Engine,
    EngineError,
    ModelMissing,
    Settings,
    Unreachable,
    Writer,
    check_host,
    open_writer,
)
from tests.ollama_server import Behaviour, OllamaServer, fails, says, serving, streams, waits_for
from tests.support import wait_until

KOREAN = ["내일까지 보고서를 씁시다.", "보고서는 민아 씨가 씁니다.", "네."]
ENGLISH = ["We have to write the report by tomorrow.", "Mina writes the report.", "Okay."]


def transcripts(texts: list[str], language: str | None = None) -> list[Transcript]:
    return [
        Transcript(job="m1", index=index, start=index * 100, end=index * 100 + 90, text=text, language=language)
        for index, text in enumerate(texts)
    ]


def writing(ollama: OllamaServer, **settings: Any) -> Any:
    return open_writer(Settings(ollama_host=ollama.url, **settings))


@pytest.fixture
async def writer(ollama: OllamaServer) -> AsyncIterator[Writer]:
    async with writing(ollama) as opened:
        yield opened


async def write(writer: Writer, texts: list[str] = ENGLISH, language: str = "en", **options: Any) -> Summary:
    return await writer.write("m1", JobOptions(**options), transcripts(texts, language))


@pytest.mark.parametrize(("texts", "code", "name"), [(KOREAN, "ko", "Korean"), (ENGLISH, "en", "English")])
async def test_the_model_is_asked_in_the_language_of_the_meeting(
    texts: list[str], code: str, name: str, writer: Writer, ollama: OllamaServer
) -> None:
    summary = await write(writer, texts, code, title="Weekly")
    assert (summary.engine, summary.model, summary.language, summary.reason) == ("ollama", "gemma3", code, None)
    assert summary.summary == max(["The meeting is called: Weekly", *texts], key=len)
    assert len(summary.action_items) == 1
    (request,) = ollama.requests
    system, user = (message["content"] for message in request["messages"])
    assert f"Write every text in {name}." in system
    assert "\n".join(texts) in user
    assert request["options"]["num_ctx"] == 16_384


async def test_the_model_is_not_asked_if_no_summary_is_wanted(writer: Writer, ollama: OllamaServer) -> None:
    summary = await write(writer, summary=False)
    assert (summary.engine, summary.reason) == ("none", "summary was not asked for")
    assert ollama.requests == []


async def test_the_model_is_not_asked_if_nothing_was_said(writer: Writer, ollama: OllamaServer) -> None:
    assert (await write(writer, [])).engine == "none"
    assert (await write(writer, ["", " "])).summary == "Nothing was said that could be transcribed."
    assert ollama.requests == []


async def test_without_ollama_the_summary_is_extractive(ollama: OllamaServer) -> None:
    ollama.url = f"http://127.0.0.1:{free_port()}"
    async with writing(ollama, connect_deadline=0.6) as writer:
        summary = await write(writer, KOREAN, "ko")
    assert (summary.engine, summary.model, summary.language) == ("extractive", None, "ko")
    assert summary.reason == f"Ollama at {ollama.url} cannot be reached"
    assert summary.summary == " ".join(KOREAN)


async def test_ollama_may_still_be_starting() -> None:
    port = free_port()
    async with open_writer(Settings(ollama_host=f"127.0.0.1:{port}", connect_deadline=20)) as writer:
        summary = asyncio.create_task(write(writer))
        async with serving(OllamaServer(), port):
            assert (await summary).engine == "ollama"


async def test_a_missing_model_is_not_waited_for(ollama: OllamaServer) -> None:
    async with writing(ollama, model="llama9") as writer:
        summary = await write(writer)
    assert summary.engine == "extractive"
    assert summary.reason == "model llama9 is not installed in Ollama: run `ollama pull llama9`"
    assert len(ollama.requests) == 1


@pytest.mark.parametrize(
    "plan",
    [
        [fails(503, "server busy"), fails(500)],
        [streams(b'{"error":"out of memory"}')],
        [streams(dies=True)],
        [says("Certainly! Here you are.")],
        [says('{"title": "x", "summary": "and', done_reason="length")],
        [fails(503), says("{}"), fails(503)],
    ],
)
async def test_a_passing_failure_is_retried(plan: list[Behaviour], writer: Writer, ollama: OllamaServer) -> None:
    ollama.plan.extend(plan)
    assert (await write(writer)).engine == "ollama"
    assert len(ollama.requests) == len(plan) + 1


async def test_a_bad_answer_is_asked_for_once_more(writer: Writer, ollama: OllamaServer) -> None:
    ollama.plan.extend([says("No."), says('{"title": "no summary"}'), says("never asked")])
    summary = await write(writer)
    assert summary.engine == "extractive"
    assert summary.reason == "the answer of model gemma3 cannot be used: summary: Field required"
    assert [request["options"]["temperature"] for request in ollama.requests] == [0.0, 0.5]


async def test_a_model_that_never_ends_gives_an_extractive_summary(writer: Writer, ollama: OllamaServer) -> None:
    ollama.plan.extend([says("la la", done_reason="length")] * 2)
    assert (await write(writer)).reason == "model gemma3 did not come to an end"


async def test_a_lasting_failure_gives_an_extractive_summary(ollama: OllamaServer) -> None:
    ollama.plan.extend([fails(503, "server busy")] * 100)
    async with writing(ollama, deadline=1.0) as writer:
        summary = await write(writer)
    assert summary.engine == "extractive"
    assert summary.reason == f"Ollama at {ollama.url} failed: server busy, for 1 s"
    assert len(ollama.requests) > 1


async def test_a_model_that_is_too_slow_is_given_up(ollama: OllamaServer) -> None:
    ollama.plan.append(waits_for(asyncio.Event()))
    async with writing(ollama, deadline=0.5) as writer:
        summary = await write(writer)
        assert summary.reason == f"Ollama at {ollama.url} was not done within 0.5 s"
        await wait_until(lambda: ollama.active == 0, description="the request has been given up")
        assert (await write(writer)).engine == "ollama"


async def test_requests_at_a_time_are_limited(ollama: OllamaServer) -> None:
    gate = asyncio.Event()
    ollama.plan.extend([waits_for(gate)] * 6)
    async with writing(ollama, at_once=2) as writer:
        summaries = [asyncio.create_task(write(writer)) for _ in range(6)]
        await wait_until(lambda: ollama.active == 2, description="two requests are active")
        gate.set()
        assert {summary.engine for summary in await asyncio.gather(*summaries)} == {"ollama"}
    assert ollama.busiest == 2


async def test_a_long_meeting_is_summarised_in_parts(ollama: OllamaServer) -> None:
    texts = [f"{number}번 안건은 개발팀과 함께 다시 검토하기로 했습니다." for number in range(300)]
    async with writing(ollama, context=core.MIN_CONTEXT) as writer:
        summary = await write(writer, texts, "ko")
    assert summary.engine == "ollama"
    prompts = [request["messages"][1]["content"] for request in ollama.requests]
    assert len(prompts) > 3
    assert all(sum(text in prompt.splitlines() for prompt in prompts) == 1 for text in texts[:-1])
    assert f"This is part 1 of {len(prompts) - 1} of the transcript." in prompts[0]
    assert "These are notes on the parts of the transcript, in order." in prompts[-1]
    for request in ollama.requests:
        asked = sum(core.tokens(message["content"]) for message in request["messages"])
        assert asked + request["options"]["num_predict"] <= request["options"]["num_ctx"] == core.MIN_CONTEXT


async def test_a_model_that_does_not_shorten_is_given_up(ollama: OllamaServer) -> None:
    wordy = says('{"title": "t", "summary": "%s"}' % ("blah " * 2_000))
    ollama.plan.extend([wordy] * 50)
    async with writing(ollama, context=core.MIN_CONTEXT) as writer:
        summary = await write(writer, ["word " * 4_000])
    assert (summary.engine, summary.reason) == ("extractive", "model gemma3 wrote no less than it read")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu-box")
    monkeypatch.setenv("SUMMARY_MODEL", "qwen3:8b")
    monkeypatch.setenv("SUMMARY_AT_ONCE", "4")
    settings = Settings()
    assert (settings.ollama_host, settings.model, settings.at_once) == ("gpu-box", "qwen3:8b", 4)
    assert (settings.deadline, settings.connect_deadline) == (120, 5)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OLLAMA_HOST", "ftp://box"),
        ("OLLAMA_HOST", "box:port"),
        ("SUMMARY_MODEL", ""),
        ("SUMMARY_DEADLINE", "0"),
        ("SUMMARY_CONTEXT", "2048"),
    ],
)
def test_bad_settings_name_their_variable(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    (error,) = caught.value.errors()
    assert name in {str(error["loc"][0]), f"SUMMARY_{error['loc'][0]}".upper()}


# One request to Ollama.

MESSAGES = core.prompt("We meet on Friday.\nMina writes the report.", "en", None)
PIECE = json.dumps({"model": "gemma3", "message": {"role": "assistant", "content": '{"ti'}, "done": False}).encode()


def engine_at(host: str, model: str = "gemma3") -> Engine:
    return Engine(host, model, context=8_192, answer=1_024, connect_timeout=2.0)


@pytest.fixture
async def engine(ollama: OllamaServer) -> AsyncIterator[Engine]:
    made = engine_at(ollama.url)
    yield made
    await made.close()


async def test_a_request_is_as_ollama_documents_it(engine: Engine, ollama: OllamaServer) -> None:
    answer = core.parse(await engine.ask(MESSAGES, core.schema()))
    assert answer.summary == "Mina writes the report."
    (request,) = ollama.requests
    assert (request["model"], request["stream"], request["messages"]) == ("gemma3", True, MESSAGES)
    assert request["format"] == core.schema()
    assert request["options"] == {"num_ctx": 8_192, "num_predict": 1_024, "temperature": 0.0}


async def test_a_streamed_answer_is_joined(engine: Engine, ollama: OllamaServer) -> None:
    words = "한 문장이 여러 조각으로 나뉘어 옵니다. " * 20
    ollama.plan.append(says(words))
    assert await engine.ask(MESSAGES, core.schema()) == words


async def test_a_host_may_have_no_scheme(ollama: OllamaServer) -> None:
    engine = engine_at(ollama.url.removeprefix("http://"))
    assert await engine.ask(MESSAGES, core.schema())
    await engine.close()


@pytest.mark.parametrize("host", ["http://127.0.0.1:{port}", "127.0.0.1:{port}", "http://no-such-host.invalid"])
async def test_an_engine_that_is_away_is_unreachable(host: str) -> None:
    host = host.format(port=free_port())
    engine = engine_at(host)
    with pytest.raises(Unreachable, match=rf"^Ollama at {host} cannot be reached$"):
        await engine.ask(MESSAGES, core.schema())
    await engine.close()


async def test_a_missing_model_says_how_to_get_it(ollama: OllamaServer) -> None:
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
async def test_some_failures_are_worth_another_attempt(
    behaviour: object, reason: str, engine: Engine, ollama: OllamaServer
) -> None:
    ollama.plan.append(behaviour)  # type: ignore[arg-type]
    with pytest.raises(Busy, match=rf"^Ollama at {ollama.url} {reason}"):
        await engine.ask(MESSAGES, core.schema())
    assert await engine.ask(MESSAGES, core.schema())


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
        await engine.ask(MESSAGES, core.schema())
    assert type(caught.value) is EngineError


async def test_an_answer_that_was_cut_off_is_refused(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(says('{"title": "and so on and', done_reason="length"))
    with pytest.raises(CutOff, match="model gemma3 did not come to an end"):
        await engine.ask(MESSAGES, core.schema())


async def test_a_cancelled_request_is_closed(engine: Engine, ollama: OllamaServer) -> None:
    ollama.plan.append(waits_for(asyncio.Event()))
    asking = asyncio.create_task(engine.ask(MESSAGES, core.schema()))
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


@pytest.mark.parametrize("host", ["ftp://box", "box:port", "http://box:99999", "http://me:secret@box"])
def test_bad_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        check_host(host)


async def test_the_default_host_is_that_of_ollama() -> None:
    engine = engine_at("")
    assert engine.name == "Ollama at http://127.0.0.1:11434"
    await engine.close()
