"""`stenobus replay` against a real edge; the processors are played."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest
import typer

from bus import Bus
from client.commands.replay import options_for, read_speed, read_vad
from client.session.polling import follow_generation
from compose.servers import Server
from contract import JobOptions, Opened
from tests.client.commands.processors import processors
from tests.client.inprocess import invoke
from tests.client.process import start
from tests.edge.conftest import Edge
from tests.edge.meeting import close, hold, pcm, send
from tests.support import wait_until


async def test_the_new_transcript_is_shown(bus: Bus, edge: Edge, finished: str) -> None:
    async with processors(bus, "Hello, dear.", "Goodbye.") as asked:
        code, out, err = await invoke("replay", finished, "--model", "large-v3", "--language", "en", "--speed", "2")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "00:00  Hello, dear.",
        "00:01  Goodbye.",
        f"generation 2: 2 segments, large-v3, job {finished}",
    ]
    (replay,) = asked
    assert (replay.speed, replay.options.model, replay.options.language) == (2.0, "large-v3", "en")


async def test_as_json_with_all_that_can_be_different(bus: Bus, edge: Edge, finished: str) -> None:
    given = ["--prompt", "p", "--hotwords", "h", "--allowed-language", "en", "--allowed-language", "ko"]
    async with processors(bus, "One.") as asked:
        code, out, _ = await invoke("replay", finished, "--json", *given, "--vad", "hangover_ms=400")
    assert code == 0
    messages = [json.loads(line) for line in out.splitlines()]
    assert [message["type"] for message in messages] == ["replay", "transcript_segment", "replayed"]
    assert messages[0] == {"type": "replay", "job_id": finished, "generation": 2}
    assert messages[-1] == {"type": "replayed", "job_id": finished, "generation": 2, "segments": 1, "model": "m"}
    options = asked[0].options
    assert (asked[0].speed, options.prompt, options.hotwords, options.allowed_languages, options.vad.hangover_ms) == (
        None,
        "p",
        "h",
        ["en", "ko"],
        400,
    )


async def test_without_waiting_and_refused(bus: Bus, edge: Edge, finished: str) -> None:
    code, out, _ = await invoke("replay", finished, "--no-wait")
    assert (code, out) == (0, f"generation 2 of job {finished}: stenobus diff {finished} --generations 1,2\n")
    code, _, err = await invoke("replay", finished, "--vad", "silence=3")
    assert code == 1
    assert "vad.silence: unknown field; accepted are aggressiveness" in err
    code, _, err = await invoke("replay", "nobody")
    assert (code, "no job 'nobody'" in err) == (1, True)


WRONG = [
    ([], "name a job, or give --since"),
    (["j", "--since", "10m"], "name a job, or give --since"),
    (["j", "--speed", "0"], "'0' is not a speed; accepted: max, or a number from 0.1 to 100"),
    (["j", "--speed", "nan"], "'nan' is not a speed"),
    (["j", "--vad", "hangover_ms"], "'hangover_ms' is not NAME=VALUE"),
    (["--since", "soon"], "'soon' is not a time"),
    (["--since", "1h", "--as", "job"], "--as job is for one job"),
    (["j", "--as", "job", "--speed", "2"], "a new job is sent with --speed 1 or max"),
    (["j", "--as", "job", "--no-wait"], "it cannot go on without this command"),
    (["j", "--colour", "red"], "No such option"),
]


@pytest.mark.parametrize(("args", "says"), WRONG)
async def test_wrong_usage(args: list[str], says: str) -> None:
    code, _, err = await invoke("replay", *args)
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())


def test_values() -> None:
    assert [read_speed(text) for text in ("max", "1", "0.5")] == [None, 1.0, 0.5]
    assert read_vad(["endpointing=fixed", "max_ms=9000"]) == {"endpointing": "fixed", "max_ms": 9000}
    with pytest.raises(typer.BadParameter):
        read_vad(["=3"])


async def test_all_jobs_since_a_time(bus: Bus, edge: Edge, redis_url: str, finished: str) -> None:
    second, live = await edge.create(), await edge.create()
    await hold(bus, redis_url, second)
    gone = await edge.create()
    await hold(bus, redis_url, gone)
    await bus.connection.js.purge_stream("AUDIO", subject=f"audio.{gone}")
    async with processors(bus, "Hi."):
        code, out, err = await invoke("replay", "--since", "10m")
        assert code == 1
        assert sorted(out.splitlines()) == sorted(
            f"generation 2: 1 segment, m, job {job}" for job in (finished, second)
        )
        assert f"not replayed: the audio of job {gone!r} is no longer stored" in err
        assert "2 of 3 jobs replayed" in err
        assert live not in out + err
        code, out, err = await invoke("replay", "--since", "2999-01-01", "--json")
        assert (code, out, err) == (0, "", "")
    code, out, err = await invoke("replay", "--since", "10m", "--no-wait", "--json")
    assert (code, len(out.splitlines())) == (1, 2)


async def test_a_server_that_is_gone_is_given_up(
    bus: Bus, edge: Edge, finished: str, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = partial(follow_generation, give_up_after=0.5)
    monkeypatch.setattr("client.commands.replay.follow_generation", impatient)
    running = asyncio.create_task(invoke("replay", finished))
    await wait_until(lambda: bus.last_raw(f"events.{finished}.replay.2"), description="it is asked for")
    await redis_server.kill()
    code, _, err = await running
    assert code == 1
    assert f"the server continues with generation 2 of job {finished}" in err


async def test_as_a_job_of_its_own(bus: Bus, edge: Edge) -> None:
    options = {"title": "Standup", "language": "ko", "summary": False, "sample_rate": 8_000, "encoding": "mulaw"}
    job = await edge.create(**options, vad={"hangover_ms": 400})
    await bus.create(Opened(job=job))
    await send(bus, job, 0, 40_000)
    await close(bus, job, 40_000)
    process = await start("replay", job, "--as", "job", "--prompt", "names", STENOBUS_URL=edge.url)
    opened: list[Opened] = []

    async def another() -> bool:
        found = [Opened.decode(raw.data) for raw in await bus.history("EVENTS", Opened.pattern())]
        opened[:] = [each for each in found if each.job != job]
        return bool(opened)

    await wait_until(another, description="another job")
    new = opened[0]
    await wait_until(lambda: bus.last_raw(f"events.{new.job}.closed"), description="all is sent")
    heard = await edge.get(f"/api/v1/jobs/{new.job}/audio.wav")
    assert heard.content[44:] == pcm(0, 40_000)
    assert new.options == JobOptions(
        title="Standup",
        language="ko",
        summary=False,
        prompt="names",
        source="replay",
        correct=False,
        vad={"hangover_ms": 400},
    )
    process.kill()
    await process.wait()


def test_options_of_a_stored_job_for_a_new_one() -> None:
    record = {"options": JobOptions(webhook_url="http://x/", vad={"max_ms": 9_000, "onset_ms": 60}).model_dump()}
    body = options_for(record, {"language": "en", "vad": {"onset_ms": 90}})
    assert (body["language"], body["source"], body["vad"]["max_ms"], body["vad"]["onset_ms"]) == (
        "en",
        "replay",
        9_000,
        90,
    )
    assert "webhook_url" not in body
    assert JobOptions(**body)
