from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.capture.frames import INVALID_TEXT, PROTOCOL_ERROR, TOO_BIG, Messages, Violation, answer_to_close


def pieces(messages: Messages, parts: list[bytes], *, text: bool) -> bytes | str | None:
    """What the last of some frames, which are one message, gives; those before it give nothing."""
    *most, last = parts
    for number, part in enumerate(most):
        whole = messages.continuation(part, fin=False) if number else messages.data(part, text=text, fin=False)
        assert whole is None
        assert messages.begun
    return messages.continuation(last, fin=True) if most else messages.data(last, text=text, fin=True)


@given(st.lists(st.tuples(st.booleans(), st.lists(st.binary(max_size=5), min_size=1, max_size=5)), max_size=5))
def test_messages_are_whole_however_they_are_cut(said: list[tuple[bool, list[bytes]]]) -> None:
    messages = Messages(25)
    for text, parts in said:
        data = b"".join(parts)
        try:
            expected: bytes | str = data.decode() if text else data
        except UnicodeDecodeError:
            with pytest.raises(Violation) as broken:
                pieces(messages, parts, text=text)
            assert broken.value.code == INVALID_TEXT
            return
        found = pieces(messages, parts, text=text)
        assert (type(found), found) == (type(expected), expected)
        assert not messages.begun


def test_a_message_has_its_size_whatever_came_before_it() -> None:
    messages = Messages(4)
    for _ in range(3):
        assert pieces(messages, [b"ab", b"", b"cd"], text=False) == b"abcd"
    messages.data(b"abc", text=False, fin=False)
    with pytest.raises(Violation, match="more than 4 bytes") as broken:
        messages.continuation(b"de", fin=False)
    assert broken.value.code == TOO_BIG


def test_what_is_no_message() -> None:
    with pytest.raises(Violation) as broken:
        Messages(4).continuation(b"", fin=True)
    assert broken.value.code == PROTOCOL_ERROR
    messages = Messages(4)
    messages.data(b"", text=True, fin=False)
    with pytest.raises(Violation) as broken:
        messages.data(b"", text=True, fin=True)
    assert broken.value.code == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("code", "answer"),
    [(0, 1000), (1000, 1000), (1001, 1001), (3000, 3000), (4999, 4999)]
    + [(code, PROTOCOL_ERROR) for code in (1, 999, 1004, 1005, 1006, 1015, 5000, 65_535)],
)
def test_a_close_code_is_answered_with_itself_where_it_may_be_sent_at_all(code: int, answer: int) -> None:
    assert answer_to_close(code) == answer
