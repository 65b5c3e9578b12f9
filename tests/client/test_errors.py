from __future__ import annotations

import json

import pytest

from client.errors import (
    JobClosedError,
    RefusedError,
    ServerError,
    TakenOverError,
    UnavailableError,
    UnreachableError,
    ending,
    refusal,
)


def test_a_problem_shows_title_detail_and_when_to_try_again() -> None:
    body = json.dumps({"title": "Full", "detail": "the audio stream is at its limit", "retry_after": 5}).encode()
    error = refusal(503, body, {})
    assert str(error) == "the server answered 503: Full: the audio stream is at its limit; try again in 5 s"
    assert (error.retry_after, error.exit_code) == (5.0, 1)


@pytest.mark.parametrize(
    ("status", "body", "headers", "expected"),
    [
        (502, b"<html>", {}, "the server answered 502: Bad Gateway"),
        (429, b"[]", {"retry-after": "2.5"}, "the server answered 429: Too Many Requests; try again in 2.5 s"),
        (503, b"{}", {"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, "the server answered 503: Service Unavailable"),
        (599, b"", {}, "the server answered 599: unknown status"),
    ],
)
def test_other_answers(status: int, body: bytes, headers: dict[str, str], expected: str) -> None:
    assert str(refusal(status, body, headers)) == expected


@pytest.mark.parametrize(
    ("code", "reason", "message", "expected"),
    [
        (
            1008,
            "",
            {"code": "odd_length", "message": "961 bytes are not whole samples"},
            "the server ended the capture: 961 bytes are not whole samples (closed with 1008, protocol error)",
        ),
        (
            1013,
            "",
            {"code": "full", "retry_after": 3},
            "the server ended the capture: full (closed with 1013, the server is not ready); try again in 3 s",
        ),
        (4004, "", None, "the capture ended before its summary (closed with 4004, no such job)"),
        (None, None, None, "the capture ended before its summary (closed with 1006, the connection broke)"),
        (4999, "because", None, "the capture ended before its summary: because (closed with 4999)"),
    ],
)
def test_why_a_capture_ended(
    code: int | None, reason: str | None, message: dict[str, object] | None, expected: str
) -> None:
    assert str(ending(code, reason, message)) == expected


@pytest.mark.parametrize("code", [None, 1001, 1005, 1006, 1011, 1012, 1013, 1014])
def test_ends_that_pass(code: int | None) -> None:
    assert type(ending(code, "", None)) is UnavailableError


@pytest.mark.parametrize("code", [4008, 4009])
def test_ends_after_which_the_job_goes_on_alone(code: int) -> None:
    assert type(ending(code, "", None)) is JobClosedError


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 4001, 4004, 4999])
def test_ends_that_stay(code: int) -> None:
    assert type(ending(code, "", {"code": "gap"})) is ServerError


def test_another_connection_has_the_job() -> None:
    assert type(ending(4010, "", None)) is TakenOverError


def test_which_refusals_pass() -> None:
    kinds = {status: type(refusal(status, b"", {})) for status in (400, 403, 404, 413, 422, 429, 500, 502, 503, 504)}
    assert [status for status, kind in kinds.items() if kind is UnavailableError] == [429, 500, 502, 503, 504]
    assert set(kinds.values()) == {RefusedError, UnavailableError}


def test_a_refusal_has_its_status_and_detail() -> None:
    body = b'{"title": "Conflict", "detail": "job j is live"}'
    error = refusal(409, body, {})
    assert isinstance(error, RefusedError)
    assert (error.status, error.detail, error.exit_code) == (409, "job j is live", 1)
    bare = refusal(410, b"", {})
    assert isinstance(bare, RefusedError)
    assert (bare.status, bare.detail) == (410, "Gone")


def test_exit_codes_tell_a_refusal_from_silence() -> None:
    assert (ServerError("x").exit_code, UnreachableError("x").exit_code) == (1, 3)
