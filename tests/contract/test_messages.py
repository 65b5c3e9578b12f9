from __future__ import annotations

import msgpack
import pytest

from contract import (
    ALL,
    Closed,
    ContractError,
    JobOptions,
    Opened,
    Transcript,
    Utterance,
    Word,
    dead_letter,
)

TRANSCRIPT = Transcript(
    job="a-B_9",
    index=3,
    start=480,
    end=16_480,
    text="예산 검토",
    language="ko",
    words=[Word(word="예산", start=480, end=8_000, probability=0.5)],
    decoding={"beam_size": 5},
)


def test_a_message_is_a_msgpack_map_with_named_fields() -> None:
    fields = msgpack.unpackb(TRANSCRIPT.encode())
    assert fields["text"] == "예산 검토"
    assert fields["words"] == [{"word": "예산", "start": 480, "end": 8_000, "probability": 0.5}]
    assert Transcript.decode(TRANSCRIPT.encode()) == TRANSCRIPT


def test_sound_is_bytes_not_text() -> None:
    utterance = Utterance(job="a", index=0, start=0, end=2, pcm=b"\x00\xff\x01\x02")
    assert msgpack.unpackb(utterance.encode())["pcm"] == b"\x00\xff\x01\x02"


def test_a_subject_carries_what_addresses_the_message() -> None:
    assert TRANSCRIPT.subject == "events.a-B_9.transcript.1.3"
    assert Transcript.pattern() == "events.*.transcript.*.*"
    assert Transcript.pattern("x") == "events.x.transcript.*.*"
    assert Opened.pattern("x") == "events.x.opened"


def test_no_two_messages_share_a_subject() -> None:
    assert len({cls.SUBJECT for cls in ALL}) == len(ALL)


def test_a_reader_ignores_what_a_newer_writer_added() -> None:
    fields = msgpack.unpackb(TRANSCRIPT.encode()) | {"speaker": "anna"}
    assert Transcript.decode(msgpack.packb(fields)) == TRANSCRIPT


def test_a_reader_takes_what_an_older_writer_left_out() -> None:
    assert Opened.decode(msgpack.packb({"job": "a"})).options == JobOptions()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xc1", "not a msgpack map"),
        (b"", "not a msgpack map"),
        (msgpack.packb([1, 2]), "not a Closed"),
        (msgpack.packb({"job": "a"}), "samples: Field required"),
        (msgpack.packb({"job": "a.b", "samples": 1, "reason": "stop"}), "job: String should match pattern"),
        (msgpack.packb({"job": "a", "samples": -1, "reason": "stop"}), "samples: Input should be greater"),
        (msgpack.packb({"job": "a", "samples": 1, "reason": "tired"}), "reason: Input should be 'stop'"),
    ],
)
def test_garbage_is_refused_with_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ContractError, match="not a Closed") as caught:
        Closed.decode(data)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("subject", "job"),
    [("audio.a", "a"), ("audio.bad job!", "bad_job_"), ("audio", "_"), ("speech." + "x" * 80, "x" * 64)],
)
def test_a_dead_letter_has_a_job_whatever_the_subject_was(subject: str, job: str) -> None:
    dead = dead_letter("AUDIO", 3, subject, "why")
    assert dead.subject == f"events.{job}.dead.AUDIO.3"
    assert dead.at == subject
