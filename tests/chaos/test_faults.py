from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from chaos.faults import CLIENT_CARDS, PROCESS_KINDS, Fault, cards, schedule

PROCESSES = ("edge-1", "edge-2", "nats-server")


def test_the_same_seed_gives_the_same_faults_and_another_seed_gives_others() -> None:
    first = schedule(7, 100, PROCESSES, every=2)
    assert first == schedule(7, 100, PROCESSES, every=2)
    assert first != schedule(8, 100, PROCESSES, every=2)


def test_faults_come_in_order_of_time_within_the_storm_and_about_as_often_as_asked() -> None:
    faults = schedule(1, 600, PROCESSES, every=3)
    times = [fault.at for fault in faults]
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 600
    assert 180 <= len(faults) <= 220


@pytest.mark.parametrize("seed", range(5))
def test_every_fault_comes_up_before_any_comes_again(seed: int) -> None:
    deck = cards(PROCESSES, clients=True)
    assert {("kill", "edge-1"), ("stop", "nats-server"), ("abort", "client"), ("poison", "audio.{job}")} <= set(deck)
    dealt = Counter((f.kind, f.target) for f in schedule(seed, 4.0 * len(deck), PROCESSES, every=2)[: len(deck)])
    assert dealt == Counter(deck)


@pytest.mark.parametrize("seed", range(5))
def test_a_stopped_process_is_left_alone_until_it_goes_on(seed: int) -> None:
    faults = schedule(seed, 600, PROCESSES, every=1)
    stops = [fault for fault in faults if fault.kind == "stop"]
    assert {stop.target for stop in stops} == set(PROCESSES)
    for stop in stops:
        assert 5 < stop.lasts < 10
        assert [f for f in faults if f.target == stop.target and stop.at < f.at <= stop.at + stop.lasts] == []


def test_the_faults_of_one_client_do_not_follow_each_other() -> None:
    kinds = [(fault.kind, fault.target) for fault in schedule(1, 600, PROCESSES, every=2)]
    in_a_row = sum(before == after for before, after in pairwise(kinds))
    assert in_a_row < len(kinds) / 5


def test_only_what_may_be_struck_is_struck() -> None:
    faults = schedule(1, 600, ["redis-server"], every=2, clients=False)
    assert {fault.target for fault in faults if fault.kind in PROCESS_KINDS} == {"redis-server"}
    assert not {"abort", "takeover"} & {fault.kind for fault in faults}
    assert cards(PROCESSES, clients=True).count(("abort", "client")) == CLIENT_CARDS


def test_only_stops_last() -> None:
    assert all(bool(fault.lasts) == (fault.kind == "stop") for fault in schedule(2, 300, PROCESSES, every=2))
    assert Fault(1.0, "kill", "edge-1") < Fault(2.0, "kill", "edge-1")
