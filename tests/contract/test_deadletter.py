from __future__ import annotations

import pytest

from contract import dead_letter


@pytest.mark.parametrize(
    ("subject", "job"),
    [("audio.a", "a"), ("audio.bad job!", "bad_job_"), ("audio", "_"), ("speech." + "x" * 80, "x" * 64)],
)
def test_a_dead_letter_has_a_valid_job(subject: str, job: str) -> None:
    dead = dead_letter("AUDIO", 3, subject, "why")
    assert dead.subject == f"events.{job}.dead.AUDIO.3"
    assert dead.at == subject
