from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.insights.keywords import (
    LONGEST_KEYWORD,
    MOST_KEYWORDS,
    Keyword,
    count_words,
    from_metadata,
    parse,
    unique,
)


@pytest.mark.parametrize(
    ("keyword", "text", "count"),
    [
        ("budget", "The Budget, the BUDGET; budgets and a low-budget film.", 3),
        ("budget", "budgetary", 0),
        ("release date", "The release\n date is a release  date.", 2),
        ("C++", "c++, C++11 and C", 1),
        (".NET", "We use .net here, asp.net there.", 1),
        ("straße", "STRASSE, Straße", 2),
        ("cafe\u0301", "Café", 1),  # composed or not
        ("AI", "AI를 쓰고 ai, 在AI里, MAIN", 3),
        ("예산", "예산은 예산안에서, 총예산", 2),  # particles follow without a space, nothing comes before
        ("주간 회의", "주간  회의를 합니다.", 1),
        ("预算", "今年的预算和预算案。", 2),
        ("予算", "来年の予算について", 1),
        ("a.b", "axb a.b", 1),
    ],
)
def test_a_keyword_is_found_as_a_word(keyword: str, text: str, count: int) -> None:
    assert Keyword.of(keyword).count(text) == count


@given(st.text(min_size=1).filter(lambda text: text.strip() != ""), st.text())
def test_a_keyword_is_found_where_it_stands_alone(keyword: str, around: str) -> None:
    found = unique([keyword])
    assert len(found) == 1
    assert Keyword.of(found[0]).count(f"{around} {found[0]} {around}") >= 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("... - !", 0),
        ("Let's move the follow-up to 3.5, not 1,000.", 8),
        ("예산은 그대로입니다.", 2),
        ("今年的预算", 5),
        ("Naïve café", 2),
    ],
)
def test_words_are_counted(text: str, words: int) -> None:
    assert count_words(text) == words


def test_keywords_are_separated_by_commas() -> None:
    assert parse(" budget, release  date,,Budget , 예산") == ["budget", "release date", "예산"]
    assert parse("") == []


def test_too_many_and_too_long_keywords_are_refused() -> None:
    with pytest.raises(ValueError, match=f"{MOST_KEYWORDS + 1} keywords; at most {MOST_KEYWORDS} are accepted"):
        parse(",".join(f"k{number}" for number in range(MOST_KEYWORDS + 1)))
    with pytest.raises(ValueError, match=f"at most {LONGEST_KEYWORD} are accepted"):
        parse("x" * (LONGEST_KEYWORD + 1))


@pytest.mark.parametrize(
    ("metadata", "found"),
    [
        ({}, []),
        ({"keywords": None}, []),
        ({"keywords": ["budget", " 예산 "]}, ["budget", "예산"]),
        ({"keywords": "budget, 예산"}, ["budget", "예산"]),
        ({"keywords": []}, []),
    ],
)
def test_a_job_may_name_keywords_in_its_metadata(metadata: dict[str, object], found: list[str]) -> None:
    assert from_metadata(metadata) == found


@pytest.mark.parametrize("keywords", [7, {"a": 1}, ["budget", 7], ["a,b"]])
def test_other_metadata_is_refused(keywords: object) -> None:
    with pytest.raises(ValueError, match="is accepted"):
        from_metadata({"keywords": keywords})
