"""Hostile inputs over HTTP and WebSocket, to one edge: each gets its documented answer, and the edge lives on."""

from __future__ import annotations

import logging
import struct
from typing import Any, NamedTuple

import httpx
import pytest
from websockets.frames import Opcode

from bus import Bus
from edge.rest.jobs import MAX_METADATA, SAMPLE_RATES
from tests.edge.capturing import FRAME, closed
from tests.edge.conftest import Edge, client
from tests.edge.meeting import hold
from tests.edge.raw import frame, raw
from tests.support import wait_until

DIGITS = "9" * 5_000
DEEP = "[" * 30_000
NESTED = "[" * 900 + "]" * 900
CREATE = "/api/v1/stream/create"


class Http(NamedTuple):
    """A request, and the status and a part of the detail of its answer. `{job}` in a path is a finished job."""

    status: int
    says: str
    path: str
    body: bytes | None = None
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()


def create(status: int, says: str, body: str | bytes) -> Http:
    return Http(status, says, CREATE, body if isinstance(body, bytes) else body.encode(), "POST")


def option(says: str, name: str, *values: str) -> list[Http]:
    return [create(422, says or name, f'{{"{name}": {value}}}') for value in values]


def replay(status: int, says: str, body: str) -> Http:
    return Http(status, says, "/api/v1/jobs/{job}/replay", body.encode(), "POST")


REFUSED_HOSTS = [
    "localhost",
    "a.localhost.",
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "168.63.129.16",
    "192.0.0.192",
    "user@168.63.129.16",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a83f:8110]",
    "[2002:7f00:1::]",
    "example.org:22",
    "example.org:6379",
]
NOT_JSON = [
    *(create(400, "the body is not JSON", body) for body in ("{", "nul", '{"title": }', "{'title': 1}", "\x00", "[1,")),
    *(create(400, "the body is not JSON", body) for body in (b"\xff\xfe", b'{"title": "\xed\xa0\x80"}', b"\xc0\x80")),
    *(create(400, "the body is not JSON", f'{{"metadata": {{"x": {x}}}}}') for x in ("NaN", "Infinity", "-Infinity")),
    *(create(400, "the body is not JSON", f'{{"sample_rate": {x}}}') for x in ("NaN", "1e999", "-1e999", DIGITS)),
    *(create(400, "the body is not JSON", f'{{"title": "{x}"}}') for x in (r"\ud800", r"\udc00x", r"a\ud83d")),
    create(400, "the body is not JSON", r'{"metadata": {"\ud800": 1}}'),
    create(400, "the body is not JSON", r'{"\ud800": 1}'),
    create(400, "the body is not JSON", DEEP),
    create(400, "the body is not JSON", '{"a":' * 10_000),
    create(400, "the body is not JSON", f'{{"metadata": {{"x": {DIGITS}}}}}'),
    create(413, "the body is larger than 65536 bytes", "[" * 100_000),
]
WRONG_TYPES = [
    *(create(422, "body: Input should be", body) for body in ("[]", "1", '"text"', "true", "null", "1e305", NESTED)),
    *option("", "title", "3", "[]", "{}", "true", NESTED, f'"{"x" * 201}"', "1" * 4_000),
    *option("", "language", "3", "[]", '"EN"', '"xx"', f'"{"x" * 5_000}"', '"en\\u0000"', NESTED),
    *option("", "allowed_languages", '"en"', "[]", "[3]", '["xx"]', "{}", "[" + '"en",' * 100 + '"en"]'),
    *option("", "prompt", "3", f'"{"x" * 2_001}"'),
    *option("", "hotwords", "[3]", f'"{"x" * 1_001}"'),
    *option("", "model", '""', "0", f'"{"x" * 201}"'),
    *option("", "task", '"sing"', "null", NESTED),
    *option("", "encoding", '"mp3"', "null", "[]"),
    *option("", "source", '"radio"', "1"),
    *option(
        "webhook_url: ", "webhook_url", *(f'"http://{host}/"' for host in (*REFUSED_HOSTS, "a b", "x:99999", "[::1"))
    ),
    *option(
        "webhook_url: ", "webhook_url", *(f'"{x}"' for x in ("ftp://x/", "http://", "x", "javascript:1", "http:x"))
    ),
    *option("", "partials", '"perhaps"', "2", "[]"),
    *option("", "summary", '"perhaps"', "null"),
    *option(
        "", "vad", "3", "[]", '{"silence": 1}', '{"max_ms": 1e305}', '{"onset_ms": "x"}', '{"hangover_ms": 2999.5}'
    ),
    *option("metadata: Input should be a valid dictionary", "metadata", "[]", "3", '"x"', "null"),
    *option("metadata: cannot be stored", "metadata", '{"x": 18446744073709551616}', f'{{"x": {"9" * 4_000}}}'),
    *option("metadata: cannot be stored", "metadata", f'{{"x": {NESTED}}}'),
    *option("bytes of JSON: at most 8192", "metadata", f'{{"x": "{"x" * MAX_METADATA}"}}', f'{{"x": "{"é" * 4_095}"}}'),
    *option("unknown field; accepted are", "x" * 5_000, "1"),
    *option("", "sample_rate", "0", "-1", "48001", "1e305", "null", "16000.5", "9" * 4_000),
    *option(f"accepted are {', '.join(map(str, SAMPLE_RATES))}", "sample_rate", "47999", "8001", "16001", "44099"),
]
ADDRESSES = [
    *(Http(404, "no job", f"/api/v1/jobs/{job}") for job in ("*", "%00", "%ED%A0%80", "x" * 9_000, "a%0d%0ab", ">")),
    *(Http(404, "no job", f"/api/v1/jobs/{job}", None, "DELETE") for job in ("*", "%3E", "x" * 9_000, "a.b")),
    *(Http(422, "generation", f"/api/v1/jobs/{{job}}?generation={x}") for x in ("0", "-1", "x", "1e9", "9" * 100)),
    *(Http(422, "generation", f"/api/v1/jobs/{{job}}?generation={x}") for x in (DIGITS, "%00", "1%ED%A0%80", "NaN")),
    Http(422, "unknown parameter", "/api/v1/jobs/{job}?x=" + "y" * 9_000),
    Http(404, "no transcript format", "/api/v1/jobs/{job}/transcript." + "x" * 5_000),
    Http(422, "generation", "/api/v1/jobs/{job}/transcript.txt?generation=" + DIGITS),
    *(
        Http(422, "start", f"/api/v1/jobs/{{job}}/audio.wav?start={x}")
        for x in ("1e305", "1e300", "NaN", "inf", DIGITS)
    ),
    *(Http(422, "start", f"/api/v1/jobs/{{job}}/audio.wav?start={x}") for x in ("-1", "-1e305", "x", "9e7")),
    *(Http(422, "end", f"/api/v1/jobs/{{job}}/audio.wav?end={x}") for x in ("1e305", "0", "-inf", "1e999", DIGITS)),
    *(Http(422, "start", f"/api/v1/jobs/{{job}}/peaks?start={x}") for x in ("1e305", "NaN", "1e999")),
    *(Http(422, "points", f"/api/v1/jobs/{{job}}/peaks?points={x}") for x in ("0", "10001", "1e305", DIGITS)),
    Http(
        416, "the range begins after the end", "/api/v1/jobs/{job}/audio.wav", headers=(("Range", f"bytes={10**17}-"),)
    ),
    *(Http(422, "limit", f"/api/v1/jobs?limit={x}") for x in ("0", "201", "1e305", DIGITS, "x")),
    *(
        Http(422, "cursor", f"/api/v1/jobs?cursor={x}")
        for x in ("x", "%00", "w" * 399, "AAAA", "%F0%9F%98%80", "y" * 500)
    ),
    *(Http(422, "status", f"/api/v1/jobs?status={x}") for x in ("deleted", "x", "%00", "x," * 2_000)),
    Http(422, "q=", "/api/v1/jobs?q=" + "x" * 201),
    *(Http(422, "job", f"/api/v1/dead?job={x}") for x in ("*", "%3E", "a.b", "x" * 65)),
    *(Http(422, "limit", f"/api/v1/dead?limit={x}") for x in ("0", "10001", DIGITS)),
    *(
        Http(404, "", f"/api/v1/dead/j/EVENTS/{x}/retry", None, "POST")
        for x in ("1", "x", "-1", "1e9", DIGITS, "9" * 18)
    ),
    *(Http(404, "", f"/api/v1/dead/{x}/retry", None, "POST") for x in ("*/EVENTS/1", "j/*/1", "j/%3E/1", "%00/x/1")),
    *(
        Http(400, "Last-Event-ID", "/api/v1/jobs/{job}/events", headers=(("Last-Event-ID", x),))
        for x in ("x", "-1", "1e3", DIGITS, "9" * 19)
    ),
    Http(405, "", CREATE),
    Http(405, "", "/api/v1/jobs", None, "DELETE"),
    Http(404, "", "/api/v1/jobs/{job}/nothing"),
]
REPLAYS = [
    *(replay(422, "speed", f'{{"speed": {x}}}') for x in ("0", "-1", "1e-300", "0.09", "100.1", "1e305", '"x"', "[]")),
    *(replay(400, "not JSON", f'{{"speed": {x}}}') for x in ("NaN", "Infinity", "1e999", DIGITS)),
    *(replay(422, name, f'{{"{name}": {NESTED}}}') for name in ("model", "language", "prompt", "hotwords", "vad")),
    replay(422, "body", NESTED),
    replay(400, "not JSON", DEEP),
    replay(422, "unknown field", '{"sped": 1}'),
    Http(404, "no job", "/api/v1/jobs/%2A/replay", b"{}", "POST"),
]
HTTP = [*NOT_JSON, *WRONG_TYPES, *ADDRESSES, *REPLAYS]


class Socket(NamedTuple):
    """What a client sends, the code of the error, and the close code; None: the capture goes on."""

    code: str
    close: int | None
    sends: str | bytes
    options: dict[str, Any] = {}  # noqa: RUF012 - it is never changed
    query: str = ""


SOCKETS = [
    *(Socket("not_json", None, text) for text in ("", "{", "NaNs", DIGITS, DEEP, '{"command":' * 50_000, "\x00", "'")),
    *(Socket("unknown_command", None, text) for text in ("[]", "null", "1e305", '"stop"', "{}", "9" * 4_000, "NaN")),
    *(
        Socket("unknown_command", None, f'{{"command": {x}}}')
        for x in (
            "null",
            "1",
            "[]",
            '"STOP"',
            r'"\ud800"',
            "NaN",
            "-Infinity",
            NESTED,
            f'"{"x" * 50_000}"',
            "9" * 4_000,
        )
    ),
    *(Socket("odd_length", 1008, bytes(size)) for size in (1, 3, 959)),
    Socket("frame_too_large", 1009, bytes(32_002)),
    Socket("frame_too_large", 1009, bytes(1_000_000)),
    Socket("odd_length", 1008, bytes(6), {"encoding": "pcm_f32le"}),
    *(
        Socket("not_audio", 1008, struct.pack("<f", x), {"encoding": "pcm_f32le"})
        for x in (float("nan"), float("inf"), -float("inf"))
    ),
    *(Socket("not_audio", 1008, data, {"encoding": "opus"}) for data in (b"", b"\xff" * 50, b"\x03\xff")),
    Socket("frame_too_large", 1009, b"\xff" * 9_000, {"encoding": "opus"}),
    *(
        Socket("bad_sample", 1008, "", query=f"?sample={x}")
        for x in ("-1", "x", "1e305", "NaN", DIGITS, "9" * 19, "%00", "%ED%A0%80", "")
    ),
    *(Socket("gap", 1008, "", query=f"?sample={x}") for x in ("1", "9" * 18)),
]
BROKEN_FRAMES = [
    (frame(Opcode.TEXT, b"\xff"), 1007),
    (frame(Opcode.TEXT, b"\xed\xa0\x80"), 1007),
    (frame(Opcode.TEXT, b"{}", mask=False), 1002),
    (frame(Opcode.BINARY, FRAME, rsv1=True), 1002),
    (b"\x89\xfe\0\x7e" + bytes(130), 1002),
    (frame(Opcode.CONT, b"x"), 1002),
    (frame(Opcode.BINARY, FRAME, fin=False) + frame(Opcode.TEXT, b"{}"), 1002),
    (b"\x83\x80\0\0\0\0", 1002),
    (b"\x82\xff" + b"\xff" * 12, 1009),
    (b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4), 1009),
    (frame(Opcode.CLOSE, b"\x03"), 1002),
    (frame(Opcode.CLOSE, struct.pack("!H", 999)), 1002),
]


async def answer(http: httpx.AsyncClient, case: Http, job: str) -> str | None:
    """What is wrong with the answer to a request; None: it is as documented."""
    path = case.path.replace("{job}", job)
    response = await http.request(case.method, path, content=case.body, headers=dict(case.headers))
    detail = response.json().get("detail", "") if response.headers["content-type"].endswith("json") else ""
    found = (response.status_code, response.headers["content-type"])
    if found != (case.status, "application/problem+json") or case.says not in detail or len(detail) > 1_000:
        return f"{case.method} {case.path[:80]} {(case.body or b'')[:60]!r}: {found} {detail[:200]}"
    return None


async def reaction(edge: Edge, case: Socket) -> str | None:
    """What is wrong with how a capture socket reacts; None: it is as documented."""
    job = await edge.create(**case.options)
    async with client(edge, job, query=case.query) as meeting:
        if not case.query:
            await meeting.socket.send(case.sends)
        error = await meeting.until("error")
        if case.close is None:
            await meeting.socket.send(FRAME)
            await meeting.until("ack")
            await meeting.command("stop")
            await wait_until(lambda: edge.bus.last_raw(f"events.{job}.closed"), description="the capture ends well")
            close = None
        else:
            close = await meeting.closed()
    if (error["code"], close) != (case.code, case.close) or len(error["message"]) > 400:
        return f"{case.sends[:60]!r} {case.query[:60]}: {error} {close}"
    return None


@pytest.mark.timeout(300)
async def test_no_input_hurts(edge: Edge, worker: Bus, redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    assert len(HTTP) + len(SOCKETS) + len(BROKEN_FRAMES) >= 250
    job = await edge.create()
    await hold(worker, redis_url, job)
    wrong: list[str | None] = []
    with caplog.at_level(logging.ERROR):
        async with httpx.AsyncClient(base_url=edge.url, timeout=60) as http:
            wrong += [await answer(http, case, job) for case in HTTP]
        wrong += [await reaction(edge, case) for case in SOCKETS]
        for sent, close in BROKEN_FRAMES:
            async with raw(f"{edge.sockets}/api/v1/stream/{await edge.create()}") as line:
                await line.until_message("connection_success")
                line.send(sent)
                code = await line.closed()
                wrong.append(None if code == close else f"{sent[:20]!r}: {code}")
    found = [each for each in wrong if each]
    assert not found, "\n".join(found)
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    after = await edge.create()
    async with client(edge, after) as meeting:
        await meeting.socket.send(FRAME)
        await meeting.command("stop")
        assert (await closed(worker, after)).samples == 480
    assert (await edge.get(f"/api/v1/jobs/{job}")).json()["transcript"]
