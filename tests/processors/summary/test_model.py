from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.summary import core
from processors.summary.model import MIN_CONTEXT, Model, sample
from tests.ollama_server import tokenize

SCRIPTS = {
    "Hangul": "내일까지 보고서를 씁시다. ",
    "Thai": "พรุ่งนี้เราจะส่งรายงานให้ลูกค้า ",
    "Chinese": "明天之前我们要写完报告。",
    "Devanagari": "कल तक रिपोर्ट लिखनी है। ",
    "Cyrillic": "Завтра мы напишем отчёт. ",
    "emoji": "👩🏽‍💻🎉👍 ",
    "digits": "7 3 9 41 2026-11-30, 18:05. ",
    "English": "We have to write the report by tomorrow. ",
    "mixed": "The report, 보고서, is due 오늘 🎉. ",
}
MODEL = Model(MIN_CONTEXT)


@pytest.mark.parametrize("bytes_a_token", [1, 3])
@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS)
def test_the_estimate_holds_for_tokenizers_that_make_a_token_of_each_byte(text: str, bytes_a_token: int) -> None:
    for part in MODEL.parts(text * 400, 1_000):
        assert len(tokenize(part, bytes_a_token)) <= MODEL.tokens(part) <= 1_000


@pytest.mark.parametrize("bytes_a_token", [1, 3])
@pytest.mark.parametrize("script", ["Hangul", "Thai", "Chinese", "Devanagari", "Cyrillic", "emoji", "mixed"])
def test_what_the_model_has_counted_makes_the_estimate_closer(script: str, bytes_a_token: int) -> None:
    text = "\n".join([SCRIPTS[script], SCRIPTS["English"]] * 200)
    lines = sample(text, 2_000)
    assert 1_900 < len(lines.encode()) <= 2_100
    measured = MODEL.measured(lines, len(tokenize(lines, bytes_a_token)))
    real = len(tokenize(text, bytes_a_token))
    assert real <= measured.tokens(text) <= min(2 * real, MODEL.tokens(text))
    assert measured.fewest([{"content": text}]) < real


def test_nothing_is_measured_where_nearly_all_is_ascii() -> None:
    assert sample("Où est le café ?\n" + SCRIPTS["English"] * 50, 2_000) == ""
    assert sample("", 100) == ""


def test_a_short_text_is_one_part() -> None:
    assert MODEL.parts("one\ntwo", 100) == ["one\ntwo"]


def test_parts_are_cut_between_lines() -> None:
    lines = [f"sentence number {number}" for number in range(20)]
    parts = MODEL.parts("\n".join(lines), 30)
    assert len(parts) > 1
    assert "\n".join(parts).splitlines() == lines


def test_a_long_line_is_cut_between_words() -> None:
    words = [f"word{number}" for number in range(200)]
    parts = MODEL.parts(" ".join(words), 50)
    assert len(parts) > 1
    assert [word for part in parts for word in part.split()] == words


@given(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("가나다 \n"), max_size=400), st.integers(6, 60)
)
def test_parts_fit_and_nothing_is_lost(text: str, limit: int) -> None:
    parts = MODEL.parts(text, limit)
    assert all(MODEL.tokens(part) <= limit for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


@pytest.mark.parametrize("thinks", [False, True])
@pytest.mark.parametrize("context", [MIN_CONTEXT, 16_384, 131_072])
def test_prompt_and_answer_fit_the_context(context: int, thinks: bool) -> None:
    model = Model(context, thinks=thinks)
    title, about = "제" * 200, "This is part 10 of 20 of the transcript."
    limit = model.room(core.prompt("", "ko", title, about))
    messages = core.prompt(model.parts("가나다라\n" * context, limit)[0], "ko", title, about)
    asked = sum(len(tokenize(message["content"], 1)) for message in messages)
    assert context * 3 // 4 < asked + model.answer <= context


@pytest.mark.parametrize(
    ("family", "window", "capabilities", "model"),
    [
        ("gemma3", 131_072, ["completion", "vision"], Model(16_384)),
        ("llama", 2_048, ["completion"], Model(2_048)),
        ("qwen3", 40_960, ["completion", "tools", "thinking"], Model(16_384, think=False)),
        ("gptoss", 131_072, ["completion", "tools", "thinking"], Model(16_384, think="low", thinks=True)),
        ("gpt-oss", 131_072, ["completion"], Model(16_384, thinks=True)),
    ],
)
def test_what_ollama_says_of_a_model(family: str, window: int, capabilities: list[str], model: Model) -> None:
    info = {"general.architecture": family, f"{family}.context_length": window, "clip.vision.context_length": 7}
    assert Model.described(info, capabilities, 16_384) == model


def test_a_model_without_description_is_as_the_settings_say() -> None:
    assert Model.described({}, [], 16_384) == Model(16_384)
