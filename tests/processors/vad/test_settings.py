from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bus import StartError
from bus.run import load
from contract import JobOptions, VadOptions
from processors.vad.endpointing import Hangover
from processors.vad.settings import Settings

ADAPTIVE = Settings(endpointing="adaptive")


def hangover(least_ms: int, usual_ms: int, most_ms: int) -> Hangover:
    return Hangover(16 * least_ms, 16 * usual_ms, 16 * most_ms)


def bounds(asked: VadOptions, settings: Settings = ADAPTIVE) -> Hangover | None:
    return settings.plan(JobOptions(vad=asked)).hangover


def test_pauses_are_judged_by_their_length_alone_unless_asked_otherwise() -> None:
    plan = Settings().plan(JobOptions())
    assert (plan.hangover, plan.parameters.hangover_ms, plan.partials) == (None, 600, True)
    assert Settings().plan(JobOptions(vad=VadOptions(endpointing="adaptive"))).hangover == hangover(300, 600, 900)
    assert ADAPTIVE.plan(JobOptions(vad=VadOptions(endpointing="fixed"))).hangover is None


def test_the_segmenter_itself_waits_for_as_long_as_a_pause_may_be() -> None:
    assert ADAPTIVE.plan(JobOptions()).parameters.hangover_ms == 900
    asked = VadOptions(max_hangover_ms=1_500, onset_ms=60, padding_ms=0, max_ms=6_000, aggressiveness=0)
    plan = ADAPTIVE.plan(JobOptions(vad=asked))
    assert plan.parameters.hangover_ms == 1_500
    assert (plan.parameters.onset_ms, plan.parameters.padding_ms, plan.parameters.max_ms) == (60, 0, 6_000)
    assert plan.aggressiveness == 0


@pytest.mark.parametrize(
    "options", [JobOptions(partials=False), JobOptions(source="upload"), JobOptions(source="replay")]
)
def test_a_job_without_interim_results_has_nothing_to_judge_pauses_by(options: JobOptions) -> None:
    plan = ADAPTIVE.plan(options)
    assert (plan.partials, plan.hangover, plan.parameters.hangover_ms) == (False, None, 600)


def test_what_a_job_asks_for_prevails() -> None:
    assert bounds(VadOptions(hangover_ms=200)) == hangover(200, 200, 900)
    assert bounds(VadOptions(hangover_ms=2_000)) == hangover(300, 2_000, 2_000)
    assert bounds(VadOptions(min_hangover_ms=700)) == hangover(700, 700, 900)
    assert bounds(VadOptions(min_hangover_ms=1_000)) == hangover(1_000, 1_000, 1_000)
    assert bounds(VadOptions(max_hangover_ms=400)) == hangover(300, 400, 400)
    assert bounds(VadOptions(), Settings(endpointing="adaptive", hangover_ms=1_000)) == hangover(300, 1_000, 1_000)


milliseconds = st.integers(150, 3_000)


@given(st.tuples(*[milliseconds] * 3).map(sorted), st.tuples(*[st.booleans()] * 3), milliseconds)
def test_whatever_a_job_asks_for_fits_together(asked: list[int], given: tuple[bool, ...], usual: int) -> None:
    least, own, most = (ms if told else None for ms, told in zip(asked, given, strict=True))
    options = VadOptions(min_hangover_ms=least, hangover_ms=own, max_hangover_ms=most)
    found = bounds(options, Settings(endpointing="adaptive", hangover_ms=usual))
    assert found is not None
    assert found.least <= found.usual <= found.most
    for wanted, got in ((least, found.least), (own, found.usual), (most, found.most)):
        assert wanted is None or got == 16 * wanted


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"min_hangover_ms": 700, "hangover_ms": 600},
            "min_hangover_ms is 700: at most hangover_ms is accepted, which is 600",
        ),
        (
            {"hangover_ms": 600, "max_hangover_ms": 500},
            "hangover_ms is 600: at most max_hangover_ms is accepted, which is 500",
        ),
        ({"min_hangover_ms": 700, "max_hangover_ms": 500}, "min_hangover_ms is 700: at most max_hangover_ms is"),
    ],
)
def test_options_that_contradict_each_other_are_refused(asked: dict[str, int], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        VadOptions(**asked)


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        (
            {"VAD_MIN_HANGOVER_MS": "700"},
            "VAD_MIN_HANGOVER_MS='700': .*at most VAD_HANGOVER_MS is accepted, which is 600",
        ),
        ({"VAD_HANGOVER_MS": "1000", "VAD_MAX_HANGOVER_MS": "950"}, "VAD_MAX_HANGOVER_MS='950': .*which is 1000"),
        ({"VAD_ENDPOINTING": "sometimes"}, "VAD_ENDPOINTING='sometimes': .*'fixed' or 'adaptive'"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], says: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=says):
        load(Settings)


@pytest.mark.parametrize("hangover_ms", ["150", "2000"])
def test_a_hangover_alone_is_no_contradiction(monkeypatch: pytest.MonkeyPatch, hangover_ms: str) -> None:
    monkeypatch.setenv("VAD_HANGOVER_MS", hangover_ms)
    assert load(Settings).hangover_ms == int(hangover_ms)


def test_a_replay_is_cut_by_the_longest_pause_and_by_the_cuts_that_are_there() -> None:
    live, again = (ADAPTIVE.plan(JobOptions(), replay=replay) for replay in (False, True))
    assert again == replace(live, partials=False, hangover=None)
    assert again.parameters.hangover_ms == 900
    upload = JobOptions(source="upload")
    assert ADAPTIVE.plan(upload, replay=True) == ADAPTIVE.plan(upload)
