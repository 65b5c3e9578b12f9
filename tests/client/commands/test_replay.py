"""`stenobus replay` and `diff` against a real edge; the processors are played."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import typer

from bus import Bus
from client.commands.replay import speed_of, vad_of
from client.session.polling import as_before
from compose.servers import Server
from contract import RATE, JobOptions, Opened, Replay, Replayed
from tests.client.inprocess import invoke
from tests.client.test_main import start
from tests.edge.conftest import Edge
from tests.edge.meeting import close, hold, pcm, said, send
from tests.support import wait_until


@pytest.fixture
async def finished(edge: Edge, bus: Bus, redis_url: str) -> str:
    """A finished job: Hello there. Goodbye."""
    job = await edge.create()
    await hold(bus, redis_url, job)
    return job


async def process(bus: Bus, asked: Replay, *texts: str) -> None:
    for index, text in enumerate(texts):
        made = said(asked.job, index, text)
        await bus.create(made.model_copy(update={"generation": asked.generation, "model": asked.options.model or "m"}))
    counted = Replayed(job=asked.job, generation=asked.generation, segments=len(texts), samples=RATE * len(texts))
    await bus.create(counted)


@asynccontextmanager
async def processors(bus: Bus, *texts: str) -> AsyncIterator[list[Replay]]:
    """Who makes these texts of every replay; gives what was asked for."""
    asked: list[Replay] = []

    async def work() -> None:
        async for raw in bus.read("EVENTS", Replay.pattern()):
            asked.append(Replay.read(raw.subject, raw.data))
            await process(bus, asked[-1], *texts)

    working = asyncio.create_task(work())
    try:
        yield asked
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


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


async def test_segments_come_while_it_runs(bus: Bus, edge: Edge, finished: str) -> None:
    running = asyncio.create_task(invoke("replay", finished))
    await wait_until(lambda: bus.last_raw(f"events.{finished}.replay.2"), description="it is asked for")
    for index in (1, 0):
        made = said(finished, index, f"Number {index}.").model_copy(update={"generation": 2})
        await bus.create(made)
        await asyncio.sleep(0.6)  # longer than one look
    await bus.create(Replayed(job=finished, generation=2, segments=2, samples=2 * RATE))
    _, out, _ = await running
    assert out.splitlines()[:2] == ["00:00  Number 0.", "00:01  Number 1."]


async def test_nobody_has_to_wait(bus: Bus, edge: Edge, finished: str) -> None:
    code, out, _ = await invoke("replay", finished, "--no-wait")
    assert (code, out) == (0, f"generation 2 of job {finished}: stenobus diff {finished} --generations 1,2\n")


async def test_what_the_server_refuses_is_told(bus: Bus, edge: Edge, finished: str) -> None:
    code, _, err = await invoke("replay", finished, "--vad", "silence=3")
    assert code == 1
    assert "vad.silence: unknown field; accepted are aggressiveness" in err
    code, _, err = await invoke("replay", "nobody")
    assert (code, "no job 'nobody'" in err) == (1, True)


WRONG = [
    ([], "name a job, or give --since"),
    (["j", "--since", "10m"], "name a job, or give --since"),
    (["j", "--speed", "0"], "'0' is no speed; accepted: max, or a number above 0"),
    (["j", "--speed", "nan"], "'nan' is no speed"),
    (["j", "--vad", "hangover_ms"], "'hangover_ms' is not NAME=VALUE"),
    (["--since", "soon"], "'soon' is no time"),
    (["--since", "1h", "--as", "job"], "--as job is for one job"),
    (["j", "--as", "job", "--speed", "2"], "a new job is sent with --speed 1 or max"),
    (["j", "--as", "job", "--no-wait"], "there is nothing to leave"),
    (["j", "--colour", "red"], "No such option"),
]


@pytest.mark.parametrize(("args", "says"), WRONG)
async def test_wrong_usage(args: list[str], says: str) -> None:
    code, _, err = await invoke("replay", *args)
    assert code == 2
    assert says in " ".join(err.replace("│", " ").split())


def test_values() -> None:
    assert [speed_of(text) for text in ("max", "1", "0.5")] == [None, 1.0, 0.5]
    assert vad_of(["endpointing=fixed", "max_ms=9000"]) == {"endpointing": "fixed", "max_ms": 9000}
    with pytest.raises(typer.BadParameter):
        vad_of(["=3"])


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


async def test_nobody_is_waited_for_after_the_server_is_gone(
    bus: Bus, edge: Edge, finished: str, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.session.polling.GIVE_UP_AFTER", 0.5)
    monkeypatch.setattr("client.session.polling.follow.__kwdefaults__", {"give_up_after": 0.5})
    running = asyncio.create_task(invoke("replay", finished))
    await wait_until(lambda: bus.last_raw(f"events.{finished}.replay.2"), description="it is asked for")
    await redis_server.kill()
    code, _, err = await running
    assert code == 1
    assert f"it goes on: generation 2 of job {finished}" in err


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
        title="Standup", language="ko", summary=False, prompt="names", source="replay", vad={"hangover_ms": 400}
    )
    process.kill()
    await process.wait()


def test_options_of_a_stored_job_for_a_new_one() -> None:
    record = {"options": JobOptions(webhook_url="http://x/", vad={"max_ms": 9_000, "onset_ms": 60}).model_dump()}
    body = as_before(record, {"language": "en", "vad": {"onset_ms": 90}}).body()
    assert (body["language"], body["source"], body["vad"]["max_ms"], body["vad"]["onset_ms"]) == (
        "en",
        "replay",
        9_000,
        90,
    )
    assert "webhook_url" not in body
    assert JobOptions(**body)


async def test_two_generations_are_compared(bus: Bus, edge: Edge, finished: str) -> None:
    code, _, err = await invoke("diff", finished)
    assert (code, err) == (
        1,
        f"stenobus: job {finished} has one generation; another is made with: stenobus replay {finished}\n",
    )
    async with processors(bus, "Hello here.", "Goodbye now.") as asked:
        await invoke("replay", finished, "--model", "large-v3")
    code, out, err = await invoke("diff", finished)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "00:00  there. → here.",
        "00:01  + now.",
        "generation 1 to 2 (large-v3): word error rate 66.7 %, 1 replaced, 1 inserted, 0 deleted of 3 words",
    ]
    code, out, _ = await invoke("diff", finished, "--generations", "2,1", "--json")
    found = json.loads(out)
    assert (code, found["generations"], found["models"]) == (0, [2, 1], ["large-v3", None])
    assert (found["words"], found["wer"], found["deleted"]) == ([4, 3], 0.5, 1)
    assert found["changes"][1] == {"kind": "deleted", "start": 1.5, "end": 2.0, "before": "now.", "after": ""}
    assert len(asked) == 1
    assert (await invoke("diff", finished, "--generations", "1,1"))[1].endswith("0 deleted of 3 words\n")


@pytest.mark.parametrize("wrong", ["1", "1,2,3", "a,b", "0,1", "-1,2"])
async def test_what_are_no_generations(wrong: str) -> None:
    code, _, err = await invoke("diff", "j", "--generations", wrong)
    assert code == 2
    assert "is not two generations, as 1,2" in " ".join(err.replace("│", " ").split())


async def test_a_generation_that_there_is_not(edge: Edge, finished: str) -> None:
    code, _, err = await invoke("diff", finished, "--generations", "1,5")
    assert (code, f"job {finished!r} has no generation 5" in err) == (1, True)
