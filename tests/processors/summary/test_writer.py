from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from compose.ports import free_port
from contract import JobOptions, Summary, Transcript
from processors.summary.model import MIN_CONTEXT
from processors.summary.writer import Settings, Writer, open_writer
from tests.ollama_server import Behaviour, OllamaServer, fails, says, serving, streams, tokenize, waits_for
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
    assert ollama.requests == []


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


@pytest.mark.parametrize("bytes_a_token", [1, 3])
async def test_a_long_meeting_is_summarised_in_parts(ollama: OllamaServer, bytes_a_token: int) -> None:
    ollama.bytes_a_token = bytes_a_token
    texts = [f"{number}번 안건은 개발팀과 함께 다시 검토하기로 했습니다." for number in range(300)]
    async with writing(ollama, context=MIN_CONTEXT) as writer:
        summary = await write(writer, texts, "ko")
    assert summary.engine == "ollama"
    counted, *parts, last = ollama.prompts
    assert ollama.requests[0]["options"]["num_predict"] == 1
    assert len(counted.encode()) < 2_500
    assert [text for part in parts for text in part.splitlines() if text in texts] == texts
    assert len(parts) > 3
    assert f"This is part 1 of {len(parts)} of the transcript." in parts[0]
    assert "These are notes on the parts of the transcript, in order." in last
    for request in ollama.requests[1:]:
        asked = sum(len(tokenize(message["content"], bytes_a_token)) for message in request["messages"])
        assert asked + request["options"]["num_predict"] <= request["options"]["num_ctx"] == MIN_CONTEXT


async def test_a_short_meeting_is_not_counted(writer: Writer, ollama: OllamaServer) -> None:
    assert (await write(writer, KOREAN * 20, "ko")).engine == "ollama"
    assert len(ollama.requests) == 1


@pytest.mark.parametrize("bytes_a_token", [1, 3])
async def test_what_ollama_has_cut_off_is_asked_again_in_smaller_parts(
    ollama: OllamaServer, bytes_a_token: int
) -> None:
    """The server has room for less than the window of the model, so that every first part is cut."""
    ollama.bytes_a_token, ollama.context = bytes_a_token, 4_000
    texts = [f"{number}번 안건, the budget, 다시 검토하기로 했습니다." for number in range(600)]
    async with writing(ollama) as writer:
        summary = await write(writer, texts, "ko")
    assert (summary.engine, summary.reason) == ("ollama", None)
    read = [prompt for prompt in ollama.prompts[1:] if prompt.rstrip().endswith("</transcript>")]
    assert len(read) < len(ollama.prompts) - 1
    assert [text for prompt in read for text in prompt.splitlines() if text in texts] == texts


async def test_the_window_of_the_model_limits_the_context(ollama: OllamaServer) -> None:
    ollama.window = 2_048
    async with writing(ollama) as writer:
        summary = await write(writer, ["We write the report."] * 300)
    assert summary.engine == "ollama"
    assert {request["options"]["num_ctx"] for request in ollama.requests} == {2_048}
    assert sum(prompt.count("We write the report.") for prompt in ollama.prompts[:-1]) == 300
    ollama.window = 512
    async with writing(ollama) as writer:
        summary = await write(writer)
    assert summary.reason == "the window of model gemma3, 512 tokens, is too small"


async def test_a_model_that_can_think_is_asked_not_to(writer: Writer, ollama: OllamaServer) -> None:
    ollama.family, ollama.capabilities = "qwen3", ["completion", "thinking"]
    assert (await write(writer)).summary == max(ENGLISH, key=len)
    (request,) = ollama.requests
    assert request["think"] is False


@pytest.mark.parametrize(("family", "requests"), [("gptoss", 1), ("qwen3", 2)])
async def test_a_model_that_thinks_all_the_same_gets_room_for_it(
    family: str, requests: int, ollama: OllamaServer
) -> None:
    """Its thoughts fill the usual room for an answer; gpt-oss, which always thinks, has more from the start."""
    ollama.family, ollama.capabilities, ollama.obeys = family, ["completion", "thinking"], False
    async with writing(ollama, context=MIN_CONTEXT) as writer:
        for _ in range(2):
            summary = await write(writer)
            assert (summary.engine, summary.summary) == ("ollama", max(ENGLISH, key=len))
    assert ollama.requests[0]["think"] == ("low" if family == "gptoss" else False)
    assert len(ollama.requests) == requests + 1
    assert ollama.requests[-1]["options"]["num_predict"] == MIN_CONTEXT // 2


async def test_a_model_that_does_not_shorten_is_given_up(ollama: OllamaServer) -> None:
    wordy = says('{"title": "t", "summary": "%s"}' % ("blah " * 900))
    ollama.plan.extend([wordy] * 50)
    async with writing(ollama, context=MIN_CONTEXT) as writer:
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
