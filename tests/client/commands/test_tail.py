"""`stenobus tail` against a real bus."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime

import pytest

from bus import Bus
from client.commands.tail import as_json_object, coloured, described, tabbed
from compose.servers import Server
from contract import (
    KINDS,
    RATE,
    Attached,
    Closed,
    Completed,
    Dead,
    JobOptions,
    Message,
    Opened,
    Partial,
    Progress,
    Redrive,
    Redriven,
    Replay,
    Replayed,
    Segmented,
    Speaking,
    Summary,
    Transcript,
    kind_of,
)
from stenobus import ACCEPTED, Event, Other
from tests.client.inprocess import invoke
from tests.client.process import start
from tests.client.test_view import console, output
from tests.support import wait_until

AT = datetime(2025, 3, 4, 12, 30, 1, 234_567, tzinfo=UTC)
SAID = Transcript(job="0123456789", index=1, start=16_000, end=32_000, text="Good\tmorning.")


TEXTS: list[tuple[Message, str]] = [
    (Opened(job="j", options=JobOptions(title="Stand-up", language="ko", source="upload")), "Stand-up, ko, upload"),
    (Opened(job="j"), "live"),
    (Closed(job="j", samples=3 * RATE // 2, reason="stop"), "1.5 s, stop"),
    (Segmented(job="j", segments=1, samples=RATE), "1 segment, 1.0 s"),
    (Transcript(job="j", index=3, start=61 * RATE, end=62 * RATE, text="Good\nmorning."), "#3 01:01 Good morning."),
    (Transcript(job="j", index=0, start=0, end=1, text="", error="no memory"), "#0 00:00 [not transcribed: no memory]"),
    (Transcript(job="j", index=0, start=0, end=1, text=""), "#0 00:00"),
    (Summary(job="j", title="Stand-up", summary="It went well.", engine="none"), "Stand-up: It went well."),
    (Summary(job="j", title="", summary="It went well.", engine="none"), "It went well."),
    (Completed(job="j", segments=2, samples=RATE), "2 segments, 1.0 s"),
    (Transcript(job="j", generation=2, index=3, start=0, end=1, text="Hi."), "generation 2 #3 00:00 Hi."),
    (Replay(job="j", generation=2), "generation 2, as fast as possible"),
    (
        Replay(job="j", generation=3, speed=1.5, options=JobOptions(language="ko")),
        "generation 3, at 1.5 times the speed, ko",
    ),
    (Replayed(job="j", generation=2, segments=3, samples=RATE), "generation 2, 3 segments, 1.0 s"),
    (Dead(job="j", stream="SPEECH", seq=7, at="speech.j", reason="\x1b[31mgarbage"), "SPEECH 7: [31mgarbage"),
    (Redrive(job="j", worker="stt", stream="SPEECH", seq=7), "SPEECH 7 by stt"),
    (Redriven(job="j", worker="stt", stream="SPEECH", seq=7), "SPEECH 7 by stt"),
    (Progress(job="j", heard=RATE, floor=0, segments=0), "1.0 s segmented, 0 segments"),
    (Speaking(job="j", index=2, start=RATE, end=3 * RATE), "#2 00:01 2.0 s"),
    (Partial(job="j", index=2, start=RATE, end=3 * RATE, text="다음 회의"), "#2 00:01 다음 회의"),
    (Attached(job="j", claim=5), "claim 5"),
]


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
async def test_it_follows_new_events_also_after_the_bus_was_away(bus: Bus, nats_server: Server) -> None:
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
        (["--since", "yesterday"], "'yesterday' is not a time; accepted: how long ago, as 90s"),
        (["--since", "1m", "--after", "3"], "give after or since, not both"),
        (["a.b"], "'a.b' is not the id of a job"),
        (["--bus", "http://here:4222"], "'http://here:4222' is not an address like nats://HOST:PORT"),
        (["--kinds", "partial", "--no-follow"], "can only be followed"),
    ],
)
async def test_wrong_usage_is_exit_code_2(arguments: list[str], says: str) -> None:
    code, out, err = await invoke("tail", *arguments)
    assert (code, out) == (2, "")
    assert says in err


async def test_no_bus_is_exit_code_3(closed_port: int) -> None:
    url = f"nats://127.0.0.1:{closed_port}"
    why = f"cannot reach NATS at {url}: connection refused; name another bus with --bus or NATS_URL"
    assert await invoke("tail", "--bus", url) == (3, "", f"stenobus: {why}\n")


def test_a_line_for_a_pipe() -> None:
    live = Event("partial", Partial(job="j", index=0, start=0, end=1, text="x"), None, AT)
    assert tabbed(live) == "2025-03-04T12:30:01.234+00:00\t-\tj\tpartial\t#0 00:00 x"


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


@pytest.mark.parametrize(("message", "text"), TEXTS)
def test_an_event_in_one_line(message: Message, text: str) -> None:
    assert described(message) == text


def test_every_kind_that_can_be_followed_is_described() -> None:
    assert {kind_of(type(message)) for message, _ in TEXTS} == set(KINDS) == set(ACCEPTED) - {"events", "live"}


def test_a_kind_that_is_not_known_shows_its_fields() -> None:
    other = Other.decode(b"\x82\xa3job\xa1j\xa4talk\xa3\xea\xb0\x80").model_copy(update={"rest": "insights"})
    assert described(other) == '{"talk": "가"}'
    assert as_json_object(Event("insights", other, 3, AT))["message"] == {"job": "j", "talk": "가"}


def test_every_message_can_be_json() -> None:
    message = TEXTS[4][0]
    assert as_json_object(Event("transcript", message, 3, AT)) == {
        "time": "2025-03-04T12:30:01.234+00:00",
        "seq": 3,
        "kind": "transcript",
        "job": "j",
        "message": message.model_dump(),
    }
    for each, _ in TEXTS:
        json.dumps(as_json_object(Event("x", each, None, AT)))
