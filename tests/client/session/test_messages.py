from __future__ import annotations

from typing import Any

import pytest

from client.errors import ServerError
from client.session.messages import retell
from tests.client.server import record, segment


def test_a_live_job_has_only_finals() -> None:
    assert retell(record("transcribing", [segment(0, "one"), segment(2, "three")])) == [
        segment(0, "one"),
        segment(2, "three"),
    ]


def test_a_completed_job_ends_as_on_a_socket() -> None:
    job = record("completed", [segment(0, "one")], seconds=1.25)
    assert retell(job) == [
        segment(0, "one"),
        {"type": "ack", "samples": 20_000},
        {"type": "final_summary", "job_id": "j1", "summary": job["summary"], "transcript": "one"},
    ]


@pytest.mark.parametrize("state", ["failed", "deleted"])
def test_a_job_that_will_never_be_completed(state: str) -> None:
    with pytest.raises(ServerError, match=f"job j1 is {state}"):
        retell(record(state, []))


@pytest.mark.parametrize(
    ("broken", "what"), [({"segments": None}, "segments: "), ({"state": 7}, "state: "), ({"summary": "x"}, "summary: ")]
)
def test_a_record_that_breaks_the_contract(broken: dict[str, Any], what: str) -> None:
    with pytest.raises(ServerError, match=f"gave a job that breaks the contract: {what}"):
        retell(record("completed", []) | broken)
