import hashlib
from random import Random

import pytest

from tools.whisper_micro.grammar import accepts, sentence, spoken, written


@pytest.mark.parametrize("language", ["en", "ko"])
def test_what_it_generates_it_accepts_and_can_read_back(language: str) -> None:
    random = Random(1)  # noqa: S311
    for _ in range(500):
        said = sentence(language, random)
        assert accepts(said, language), said
        assert spoken(written(said, language)) == said


@pytest.mark.parametrize(
    ("language", "digest"),
    [
        ("en", "0e6d4beb29bb77caf8c8980421345e257190b199375f45bde436c63d066f6e32"),
        ("ko", "fb9934580a8c422b47307d319e1c86b8a08e3b2c4046e88b64798cf726c35027"),
    ],
)
def test_it_still_is_the_language_that_the_model_was_trained_on(language: str, digest: str) -> None:
    random = Random(1)  # noqa: S311
    text = "\n".join(sentence(language, random) for _ in range(2_000))
    assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize(
    "said", ["", "the budget is", "the budget is purple", "my number is one two", "we need twenty ten more days", "네"]
)
def test_other_sentences_are_not_in_it(said: str) -> None:
    assert not accepts(said, "en")


@pytest.mark.parametrize(
    ("language", "said", "text"),
    [
        ("en", "i agree with anna", "I agree with Anna."),
        (
            "en",
            "the next meeting is on monday at two in the evening",
            "The next meeting is on Monday at two in the evening.",
        ),
        ("en", "who will send the invoice", "Who will send the invoice?"),
        ("en", "any questions", "Any questions?"),
        ("ko", "질문 있습니까", "질문 있습니까?"),
        ("ko", "네 알겠습니다", "네 알겠습니다."),
    ],
)
def test_written_form(language: str, said: str, text: str) -> None:
    assert written(said, language) == text
