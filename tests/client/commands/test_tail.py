"""`stenobus tail` against a real bus."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime

import pytest

from bus import Bus
from client.follow import coloured, tabbed
from compose.servers import Server
from contract import Completed, JobOptions, Opened, Partial, Transcript
from stenobus import Event
from tests.client.inprocess import invoke
from tests.client.test_main import start
from tests.client.test_view import console, output
from tests.support import wait_until

AT = datetime(2025, 3, 4, 12, 30, 1, tzinfo=UTC)
SAID = Transcript(job="0123456789", index=1, start=16_000, end=32_000, text="Good\tmorning.")


@pytest.fixture
async def meeting(bus: Bus, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of three events, and one event of another."""
    monkeypatch.setenv("NATS_URL", nats_url)
    await bus.create(Opened(job="a", options=JobOptions(title="회의")))
    await bus.create(SAID.model_copy(update={"job": "a", "index": 0}))
    await bus.create(Completed(job="a", segments=1, samples=32_000))
    await bus.create(Opened(job="b"))


def fields(line: str) -> list[str]:
    return line.split("\t")[1:]


@pytest.mark.usefixtures("meeting")
async def test_the_past_in_a_pipe() -> None:
    code, out, err = await invoke("tail", "--no-follow")
    assert (code, err) == (0, "")
    assert [fields(line) for line in out.splitlines()] == [
        ["1", "a", "opened", "회의, live"],
        ["2", "a", "transcript", "#0 00:01 Good morning."],
        ["3", "a", "completed", "1 segment, 2.0 s"],
        ["4", "b", "opened", "live"],
    ]
    assert all(datetime.fromisoformat(line.split("\t")[0]).tzinfo for line in out.splitlines())


@pytest.mark.usefixtures("meeting")
async def test_one_job_and_some_kinds_as_json() -> None:
    code, out, err = await invoke(
        "tail", "a", "--no-follow", "--kinds", "opened, transcript", "--json", "--since", "1d"
    )
    assert (code, err) == (0, "")
    opened, said = (json.loads(line) for line in out.splitlines())
    assert (opened["kind"], opened["seq"], opened["job"]) == ("opened", 1, "a")
    assert said["message"]["text"] == "Good\tmorning."
    code, out, _ = await invoke("tail", "--no-follow", "--after", "3")
    assert [fields(line)[:2] for line in out.splitlines()] == [["4", "b"]]
    assert await invoke("tail", "--no-follow", "--since", "0s") == (0, "", "")


@pytest.mark.usefixtures("meeting")
async def test_it_goes_on_with_what_comes_also_after_the_bus_was_away(bus: Bus, nats_server: Server) -> None:
    process = await start("tail", "a", "--kinds", "events,partial")
    assert process.stdout is not None
    assert process.stderr is not None
    assert [fields((await process.stdout.readline()).decode())[0] for _ in range(3)] == ["1", "2", "3"]
    await bus.publish(Partial(job="b", index=2, start=0, end=1, text="not this one"))
    await bus.publish(Partial(job="a", index=2, start=0, end=1, text="good"))
    assert fields((await process.stdout.readline()).decode().rstrip()) == ["-", "a", "partial", "#2 00:00 good"]
    await nats_server.kill()
    assert (await process.stderr.readline()).startswith(b"stenobus: waiting for the bus: NATS at ")
    await nats_server.start()
    await bus.create(SAID.model_copy(update={"job": "a", "index": 2}))
    assert fields((await process.stdout.readline()).decode())[:3] == ["5", "a", "transcript"]
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-1] == "stenobus: interrupted"


async def test_without_a_job_it_begins_now(bus: Bus, nats_url: str) -> None:
    await bus.create(Opened(job="old"))
    process = await start("tail", NATS_URL=nats_url)
    assert process.stdout is not None

    async def reads() -> bool:
        return bool(await bus.connection.js.consumers_info("EVENTS"))

    await wait_until(reads, description="it reads")
    await bus.create(Opened(job="new"))
    assert fields((await process.stdout.readline()).decode())[:3] == ["2", "new", "opened"]
    process.send_signal(signal.SIGINT)
    await process.communicate()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kinds", "transcripts,opened"], "unknown: transcripts; accepted: events, live, opened, closed"),
        (["--since", "yesterday"], "'yesterday' is no time; accepted: so long ago, as 90s"),
        (["--since", "1m", "--after", "3"], "give after or since, not both"),
        (["a.b"], "'a.b' is not the id of a job"),
        (["--bus", "localhost:4222"], "'localhost:4222' is not an address like nats://HOST:PORT"),
        (["--kinds", "partial", "--no-follow"], "can only be followed"),
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str], says: str) -> None:
    code, out, err = await invoke("tail", *arguments)
    assert (code, out) == (2, "")
    assert says in err


async def test_nobody_there_is_exit_code_3(unused_tcp_port: int) -> None:
    url = f"nats://127.0.0.1:{unused_tcp_port}"
    why = f"cannot reach NATS at {url}: connection refused; another bus is named with --bus or NATS_URL"
    assert await invoke("tail", "--bus", url) == (3, "", f"stenobus: {why}\n")


def test_a_line_for_a_pipe() -> None:
    live = Event("partial", Partial(job="j", index=0, start=0, end=1, text="x"), None, AT)
    assert tabbed(live) == "2025-03-04T12:30:01.000+00:00\t-\tj\tpartial\t#0 00:00 x"


def test_a_line_for_a_terminal() -> None:
    event = Event("transcript", SAID, 7, AT)
    screen = console(120, terminal=True)
    screen.print(coloured(event, one_job=False, now=AT.astimezone()))
    screen.print(coloured(event, one_job=True))
    local = AT.astimezone()
    assert output(screen).splitlines() == [
        f"{local:%H:%M:%S} 01234567 transcript #1 00:01 Good morning.",
        f"{local:%d %b %H:%M:%S} transcript #1 00:01 Good morning.",
    ]
    assert "\x1b[" in _with_colours(event)


def _with_colours(event: Event[Transcript]) -> str:
    screen = console(120, terminal=True, colour=True)
    screen.print(coloured(event, one_job=False))
    return output(screen)
