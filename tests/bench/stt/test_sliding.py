from __future__ import annotations

from bench.stt.sliding import SlidingWindow


def test_a_word_is_confirmed_once_two_decodings_in_a_row_agree_on_it_and_all_before() -> None:
    window = SlidingWindow()
    window.update([(" We", 0.4), (" had", 0.6), (" every", 1.0)])
    assert (window.text, window.start) == ("", 0.0)
    window.update([(" we", 0.4), (" had,", 0.7), (" everything", 1.2), (" before", 1.6)])
    assert (window.text, window.start) == (" we had,", 0.7)
    window.update([(" every", 1.0), (" before", 1.6)])
    assert window.start == 0.7, "the first word differs, so that the second is not confirmed either"
    window.update([])
    window.update([(" every", 1.0), (" before", 1.6)])
    assert window.text == " we had,", "what was gone in between does not count"
    window.update([(" every", 1.1), (" before", 1.7), (" us.", 2.0)])
    assert (window.text, window.start) == (" we had, every before", 1.7)
