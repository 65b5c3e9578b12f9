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


def test_audio_is_bytes() -> None:
    utterance = Utterance(job="a", index=0, start=0, end=2, pcm=b"\x00\xff\x01\x02")
    assert msgpack.unpackb(utterance.encode())["pcm"] == b"\x00\xff\x01\x02"


def test_a_subject_has_the_fields_that_address_the_message() -> None:
    assert TRANSCRIPT.subject == "events.a-B_9.transcript.1.3"
    assert Transcript.pattern() == "events.*.transcript.*.*"
    assert Transcript.pattern("x") == "events.x.transcript.*.*"
    assert Opened.pattern("x") == "events.x.opened"


def test_no_two_messages_share_a_subject() -> None:
    assert len({cls.SUBJECT for cls in ALL}) == len(ALL)


def test_a_field_of_a_newer_writer_is_ignored() -> None:
    fields = msgpack.unpackb(TRANSCRIPT.encode()) | {"speaker": "anna"}
    assert Transcript.decode(msgpack.packb(fields)) == TRANSCRIPT


def test_a_field_that_an_older_writer_left_out_has_its_default() -> None:
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
def test_an_unreadable_message_says_what_is_wrong(data: bytes, says: str) -> None:
    with pytest.raises(ContractError, match="not a Closed") as caught:
        Closed.decode(data)
    assert says in str(caught.value)
