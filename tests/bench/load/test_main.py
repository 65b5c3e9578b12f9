from __future__ import annotations

import pytest

from bench.load import Plan
from bench.load.__main__ import parse


def test_the_command_line_makes_a_plan() -> None:
    args = parse(
        ["http://a:1/", "--streams", "3", "--meeting", "1", "2", "--option", "partials=false", "--option", 'title="x"']
    )
    assert args.plan == Plan("http://a:1", 3, meeting=(1.0, 2.0), options={"partials": False, "title": "x"})


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--streams", "0"], "0 streams: at least 1"),
        (["--option", "title=x"], "--option title=x: NAME=JSON is accepted"),
        (["--option", "title"], "NAME=JSON is accepted"),
        (["--burst", "1", "--meeting", "1", "2"], "meeting and burst both"),
        (["--seconds", "0"], "'0' is not a number from 0.1 to 86400"),
    ],
)
def test_what_is_wrong_on_it_is_said(words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["http://a:1", *words])
    assert complaint in capsys.readouterr().err
