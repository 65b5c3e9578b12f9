import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract import Transcript
from processors.summary import extractive

ENGLISH = [
    "Good morning everyone. Did you see the rain last night?",
    "Let us talk about the release date of the mobile app. The release of the mobile app was planned for Monday.",
    "The tests of the mobile app are not finished, so the release date is at risk.",
    "My cat has learned to open the fridge!",
    "I propose that we move the release date of the mobile app to Friday.",
    "Yes. Okay.",
    "Then the release date of the app is Friday, and the tests are finished before.",
    "Who is going for lunch?",
]
KOREAN = [
    "안녕하세요. 어제 비가 많이 왔네요.",
    "오늘은 내년 예산안을 논의하겠습니다. 예산안은 마케팅 예산이 가장 큽니다.",
    "마케팅 예산을 줄이면 개발 예산을 늘릴 수 있습니다.",
    "우리 집 고양이가 냉장고를 엽니다!",
    "개발 예산이 부족해서 예산안에 반대합니다。그러면 마케팅 예산에서 옮깁시다。",
    "네. 네.",
    "점심 드셨어요?",
]


def heard(texts: list[str]) -> list[Transcript]:
    return [Transcript(job="m1", index=index, start=0, end=1, text=text) for index, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("texts", "language", "topic", "aside"),
    [
        (ENGLISH, "en", "release", ("cat", "rain", "lunch", "Okay")),
        (KOREAN, "ko", "예산", ("고양이", "비가", "점심", "네.")),
        (KOREAN, None, "예산", ("고양이", "비가", "점심", "네.")),
    ],
)
def test_the_topic_of_the_meeting_is_picked(
    texts: list[str], language: str, topic: str, aside: tuple[str, ...]
) -> None:
    summary = extractive.summarize("m1", heard(texts), language, None, "Ollama cannot be reached")
    assert (summary.engine, summary.language, summary.model) == ("extractive", language, None)
    assert summary.reason == "Ollama cannot be reached"
    assert topic in summary.title
    assert all(topic in sentence for sentence in extractive.sentences([summary.summary]))
    assert not any(word in summary.summary for word in aside)
    assert (summary.decisions, summary.action_items) == ([], [])


@pytest.mark.parametrize(("texts", "language"), [(ENGLISH, "en"), (KOREAN, "ko"), (KOREAN, None), (ENGLISH, "xx")])
def test_key_points_are_in_order_of_speech(texts: list[str], language: str | None) -> None:
    points = extractive.summarize("m1", heard(texts), language, None, "r").key_points
    said = list(extractive.sentences(texts))
    assert len(points) == extractive.KEY_POINTS
    assert points == [sentence for sentence in said if sentence in points]


def test_words_match_in_spite_of_particles() -> None:
    texts = ["예산안은 늦었습니다", "예산안을 봅시다", "예산안이 없습니다", "고양이가 잠을 자네요"]
    assert all("예산" in sentence for sentence in extractive.rank(texts, 2, "ko"))


def test_the_title_of_the_client_is_kept() -> None:
    assert extractive.summarize("m1", heard(ENGLISH), "en", "Weekly", "r").title == "Weekly"


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It is 3.5 percent. Really? Yes", ["It is 3.5 percent.", "Really?", "Yes"]),
        ("そうです。本当\uff1fはい\uff01", ["そうです。", "本当\uff1f", "はい\uff01"]),
        (" ", []),
    ],
)
def test_sentences_end_at_their_marks(text: str, sentences: list[str]) -> None:
    assert list(extractive.sentences([text])) == sentences


def test_a_summary_has_end_marks() -> None:
    assert extractive.summarize("m1", heard(["ship it", "네 좋아요"]), None, None, "r").summary == "ship it. 네 좋아요."


@pytest.mark.parametrize(
    ("sentence", "title"),
    [
        ("Short.", "Short"),
        ("...", "..."),
        ("word " * 40, " ".join(["word"] * 12) + "…"),
        ("가" * 100, "가" * 59 + "…"),
    ],
)
def test_titles_are_short(sentence: str, title: str) -> None:
    assert extractive.shorten(sentence) == title


def test_in_a_long_meeting_the_topic_counts_not_the_length() -> None:
    topic = [" ".join(f"topic{(number * 7 + word) % 120}" for word in range(8)) for number in range(120)]
    asides = [
        " ".join(f"aside{number % 60}{letter}" for letter in "abcdefghijklmnopqrst") + str(number)
        for number in range(120)
    ]
    mixed = [sentence for pair in zip(topic, asides, strict=True) for sentence in pair]
    assert set(extractive.rank(mixed, 5, "en")) <= set(topic)


@settings(max_examples=60)
@given(st.lists(st.text("ab가나. \n", min_size=1, max_size=12), min_size=1, max_size=12))
def test_any_text_has_a_summary(texts: list[str]) -> None:
    if any(text.strip() for text in texts):
        summary = extractive.summarize("m1", heard(texts), None, None, "r")
        assert summary.title
        assert 1 <= len(summary.key_points) <= extractive.KEY_POINTS


def test_no_data_is_downloaded(tmp_path: Path) -> None:
    """In a process without NLTK data, in which every connection fails."""
    program = (
        "import socket\n"
        "def refuse(*_): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from contract import Transcript\n"
        "from processors.summary import extractive\n"
        f"texts = {KOREAN!r}\n"
        "heard = [Transcript(job='m', index=i, start=0, end=1, text=t) for i, t in enumerate(texts)]\n"
        "assert '예산' in extractive.summarize('m', heard, 'ko', None, 'r').title\n"
    )
    clean = {"NLTK_DATA": str(tmp_path), "HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONIOENCODING": "utf-8"}
    subprocess.run([sys.executable, "-c", program], env=clean, check=True, cwd=Path.cwd())
    assert list(tmp_path.iterdir()) == []
