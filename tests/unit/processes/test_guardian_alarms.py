"""Alarms: each reason to kill by itself, on both sides of its bound; what mends itself and what leaves in order is none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hft import control
from hft.config import Guardian
from hft.control import ProcessWord, process_word
from processes.guardian_alarms import Alarm, Alarms, View

MS = 1_000_000
BOUNDS = Guardian(heartbeat_max_ms=5000, stream_lost_max_ms=30_000)
HEARTBEAT_NS, STREAM_NS = 5000 * MS, 30_000 * MS


class Engine:
    """An engine that shows what it is told to, and the alarms that watch it."""

    def __init__(self, at_venue: tuple[str, ...] = ("binance",)) -> None:
        self.alarms = Alarms(BOUNDS, list(at_venue))
        self.now_ns = 10**15
        self.alive = True
        self.file: dict[str, Any] = {
            "pid": 1,
            "started": 7,
            "state": "RUNNING",
            "failure": None,
            "orders_left": 0,
            "venues": ["binance", "kraken"],
            "processes": [
                {"name": "market", "stages": ["feed.binance", "portfolio"]},
                {"name": "trade", "stages": ["risk", "execution.binance"]},
            ],
        }
        self.words: Any = np.zeros(control.WORDS, np.int64)
        self.words[control.READY] = 1
        self.words[control.venue_ready(0)] = 1
        self.beat()

    def beat(self) -> None:
        self.words[control.SUPERVISOR_BEAT] = self.now_ns
        for row in range(2):
            self.words[process_word(row, ProcessWord.BEAT)] = self.now_ns

    def look(self, after_ns: int = 0) -> list[Alarm]:
        self.now_ns += after_ns
        return self.alarms.look(View(self.file, self.alive, self.words, self.now_ns))


@pytest.fixture
def engine() -> Engine:
    made = Engine()
    assert made.look() == []
    return made


def silence(engine: Engine, who: str, age_ns: int) -> list[Alarm]:
    """What is said when one of them last beat so long ago."""
    engine.now_ns += age_ns
    engine.beat()
    word = control.SUPERVISOR_BEAT if who == "supervisor" else process_word(int(who), ProcessWord.BEAT)
    engine.words[word] -= age_ns
    return engine.look()


@pytest.mark.parametrize(("who", "named"), [("supervisor", "the supervisor"), ("1", "process trade (risk, execution.binance)")])
def test_a_heartbeat_older_than_its_bound_kills_the_firm(engine: Engine, who: str, named: str) -> None:
    assert silence(engine, who, HEARTBEAT_NS) == []
    (alarm,) = silence(engine, who, HEARTBEAT_NS + MS)
    assert alarm.scope == "firm" and alarm.reason.startswith(f"{named} has not beaten for 5001 ms")


def test_a_feed_that_hangs_is_the_supervisors_to_mend(engine: Engine) -> None:
    assert silence(engine, "0", 10 * HEARTBEAT_NS) == []


def test_nothing_is_judged_before_the_engine_has_traded_nor_while_it_leaves_in_order() -> None:
    starting = Engine()
    starting.words[control.READY] = 0
    assert starting.look(100 * HEARTBEAT_NS) == []
    leaving = Engine()
    leaving.look()
    leaving.words[control.STOP] = 1
    assert leaving.look(100 * HEARTBEAT_NS) == []


def test_a_restart_that_takes_too_long_kills_although_nothing_may_trade_meanwhile(engine: Engine) -> None:
    engine.words[control.READY], engine.words[control.HALT] = 0, 1
    assert silence(engine, "1", HEARTBEAT_NS + MS) != []


def test_an_engine_that_ended_without_stopping_kills_once_nobody_has_taken_over(engine: Engine) -> None:
    engine.alive = False
    assert engine.look() == [] and engine.look(HEARTBEAT_NS) == []
    (alarm,) = engine.look(MS)
    assert alarm.scope == "firm" and "has ended without stopping" in alarm.reason
    engine.file, engine.words = {**engine.file, "pid": 2}, np.zeros(control.WORDS, np.int64)
    engine.alive = True
    assert engine.look() == [], "another one has"


def test_an_engine_that_cannot_be_seen_at_all_kills() -> None:
    engine = Engine()
    engine.words = None
    assert engine.look() == [] and engine.look(HEARTBEAT_NS) == []
    assert "cannot be read" in engine.look(MS)[0].reason


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ({"failure": "trade and others ended 5 times: crash loop"}, "the engine failed: trade and others"),
        ({"orders_left": 2}, "stopped with 2 orders that still work"),
        ({}, ""),
    ],
)
def test_an_engine_that_stopped_kills_only_if_it_failed_or_left_orders(engine: Engine, says: dict[str, Any], reason: str) -> None:
    engine.file |= {"state": "STOPPED", **says}
    engine.alive, engine.words = False, None
    found = engine.look(100 * HEARTBEAT_NS)
    assert [reason in alarm.reason for alarm in found] == ([True] if reason else [])


def test_the_end_of_an_engine_that_was_answered_is_no_reason_once_armed_again(engine: Engine) -> None:
    engine.file |= {"state": "STOPPED", "failure": "crash loop"}
    engine.alive = False
    assert engine.look() and not engine.alarms.has_ended(View(None, False, None, 0))
    engine.alarms.settle()
    assert engine.look(100 * HEARTBEAT_NS) == []
    assert engine.alarms.has_ended(View(engine.file, False, None, 0))


def test_a_venue_that_was_ready_and_is_not_for_too_long_is_killed_and_no_other(engine: Engine) -> None:
    engine.words[control.venue_ready(0)] = 0

    def after(age_ns: int) -> list[Alarm]:
        engine.now_ns += age_ns
        engine.beat()
        return engine.look()

    assert after(STREAM_NS) == []
    (alarm,) = after(MS)
    assert alarm.scope == "venue.binance" and "private stream" in alarm.reason
    engine.words[control.venue_ready(0)] = 1
    assert after(0) == []


def test_a_venue_on_paper_or_never_ready_is_not_judged_by_its_stream() -> None:
    for engine in (Engine(at_venue=()), Engine(at_venue=("kraken",))):
        engine.look()
        engine.words[control.venue_ready(0)] = 0
        engine.now_ns += 2 * STREAM_NS
        engine.beat()
        assert engine.look() == []


def test_no_engine_is_no_reason() -> None:
    assert Alarms(BOUNDS, []).look(View(None, False, None, 1)) == []


def test_an_engine_that_says_it_stopped_has_ended_although_its_process_still_leaves(engine: Engine) -> None:
    engine.file |= {"state": "STOPPED"}
    assert engine.look(100 * HEARTBEAT_NS) == []
    assert engine.alarms.has_ended(View(engine.file, True, None, 0))
