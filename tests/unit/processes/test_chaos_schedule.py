"""Schedule of a campaign: the same for the same seed, every strike before any comes twice, and nothing that a simulator refuses."""

from __future__ import annotations

import itertools
import json

import pytest

from hft.sim.faults import decode_fault
from processes.chaos.schedule import ALL, ROLES, schedule

SYMBOLS = ["BTC/USD", "ETH/USD"]
VENUES = ["binance", "coinbase", "kraken"]


@pytest.mark.parametrize("venue", VENUES)
def test_the_same_seed_gives_the_same_schedule_and_another_gives_another(venue: str) -> None:
    first = schedule(venue, SYMBOLS, 7, 600, 5)
    assert first == schedule(venue, SYMBOLS, 7, 600, 5) != schedule(venue, SYMBOLS, 8, 600, 5)
    assert len(first) == 120


@pytest.mark.parametrize("venue", VENUES)
def test_strikes_come_in_order_about_as_far_apart_as_was_asked(venue: str) -> None:
    times = [planned.at_s for planned in schedule(venue, SYMBOLS, 1, 600, 5)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(3.5 <= gap <= 6.5 for gap in gaps) and times[0] >= 0 and times[-1] < 600


@pytest.mark.parametrize("venue", VENUES)
def test_every_strike_comes_once_before_any_comes_twice(venue: str) -> None:
    names = [planned.strike.name for planned in schedule(venue, SYMBOLS, 3, 600, 5)]
    kinds = len(set(names))
    assert 35 <= kinds <= 60 and len(set(names[:kinds])) == kinds


@pytest.mark.parametrize("venue", VENUES)
def test_every_fault_is_one_that_the_simulator_knows(venue: str) -> None:
    kinds = set()
    for planned in schedule(venue, SYMBOLS, 4, 600, 5):
        for fault in (*planned.strike.faults, *planned.strike.undo):
            decode_fault(json.dumps(fault).encode())
            kinds.add(fault["kind"])
    common = {"drop", "duplicate", "delay", "reorder", "corrupt", "drop_depth", "crossed", "silence", "slow", "half_open", "disconnect"}
    common |= {"server_shutdown", "lose_ack", "order_error", "refuse_order", "rest_error", "clock_skew"}
    own = {"binance": {"stale_snapshot"}, "kraken": {"wrong_checksum"}, "coinbase": set[str]()}
    assert kinds == common | own[venue]


def test_a_skewed_clock_is_put_right_again() -> None:
    skews = [planned.strike for planned in schedule("binance", SYMBOLS, 5, 600, 5) if planned.strike.name.startswith("clock")]
    assert skews and all(strike.undo == ({"kind": "clock_skew", "skew_ms": 0},) and strike.lasts_ms for strike in skews)


def test_strikes_on_processes_are_mostly_kills_of_each_alike_and_strike_no_venue() -> None:
    strikes = [planned.strike for planned in schedule("kraken", SYMBOLS, 6, 180, 1, "process")]
    killed = [strike.kills for strike in strikes if strike.kills]
    assert {name: killed.count(name) for name in (*ROLES, ALL)} == dict.fromkeys(ROLES, 30) | {ALL: 10}
    frozen = [strike for strike in strikes if strike.freezes]
    assert len(frozen) == 20 and len([strike for strike in frozen if strike.lasts_ms]) == 10 and len(strikes) == 180
    assert not any(strike.faults or (strike.kills and strike.freezes) for strike in strikes)


def test_strikes_on_the_host_are_each_kind_once_before_any_comes_twice_and_clocks_come_back() -> None:
    strikes = [planned.strike for planned in schedule("binance", SYMBOLS, 8, 100, 5, "host")]
    first, again = strikes[:10], strikes[10:]
    assert {strike.befalls for strike in first} == {"ring", "disk", "journals", "segments", ""} == {strike.befalls for strike in again}
    assert {strike.freezes for strike in first if strike.befalls == "ring"} >= {"execution", "strategy"}
    clocks = [strike for strike in first if not strike.befalls]
    assert sorted(strike.faults[0]["skew_ms"] for strike in clocks) == [-3_600_000, -500, 500, 3_600_000]
    assert all(strike.lasts_ms and strike.undo == ({"kind": "clock_skew", "skew_ms": 0},) for strike in clocks)
