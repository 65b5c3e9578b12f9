from __future__ import annotations

from chaos.evidence import Ack, Piece, assemble, witnesses
from contract.audio import AudioFrame

SOUND = bytes(range(20))  # ten samples


def frame(start: int, end: int) -> AudioFrame:
    return AudioFrame(start, SOUND[2 * start : 2 * end])


def test_only_the_sample_that_is_expected_next_is_taken() -> None:
    early, repeat, overlapping = frame(6, 8), frame(0, 2), frame(2, 6)
    stored = [frame(0, 4), early, repeat, overlapping, frame(6, 8), AudioFrame(8, b""), frame(8, 10)]
    pcm, pieces = assemble(enumerate(stored, 11))
    assert pcm == SOUND
    assert pieces == [Piece(0, 4, 11), Piece(4, 6, 14), Piece(6, 8, 15), Piece(8, 10, 17)]


def test_nothing_behind_a_gap_is_taken() -> None:
    pcm, pieces = assemble([(1, frame(0, 4)), (2, frame(5, 10))])
    assert pcm == SOUND[:8]
    assert pieces == [Piece(0, 4, 1)]


def test_the_witness_of_an_ack_is_the_message_with_its_last_sample() -> None:
    pieces = [Piece(0, 4, 1), Piece(4, 8, 2)]
    acks = [Ack(1.0, 4), Ack(2.0, 5), Ack(3.0, 8), Ack(0.5, 0), Ack(4.0, 9)]
    assert witnesses(acks, pieces) == {acks[0]: pieces[0], acks[1]: pieces[1], acks[2]: pieces[1]}
