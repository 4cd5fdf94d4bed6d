"""Does the kill bench see an order that leaves after the word, and does none leave?"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

from hft import control
from processes.bench import kill
from processes.bench.kill import Lateness, Trigger
from processes.bench.orders_source import ACKED, OrderEngine
from processes.bench.report import BenchError
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue

#: A watchdog, not an expectation.
DEADLINE_S = 200.0
TRIGGERS, SEED = 8, 5


def test_no_order_leaves_in_a_turn_that_begins_after_the_word_is_set(tmp_path: Path) -> None:
    """The word is set between turns, after a random number of them; what had left by then is all that the venue gets."""
    trigger, rng = Trigger(TRIGGERS, SEED), random.Random(SEED)

    async def main() -> int:
        simulator = Simulator(make_venue("binance", Options(no_limits=True)), False)
        urls: Any = await simulator.start(0)
        try:
            with OrderEngine(tmp_path / "engine", urls, 3, trigger.words) as engine:
                engine.burst_ns = 0
                deadline = time.monotonic() + DEADLINE_S
                while not engine.ready:
                    assert time.monotonic() < deadline
                    engine.turn()
                    await asyncio.sleep(0)
                engine.begin()
                lateness = Lateness(engine, trigger)
                for k in range(TRIGGERS):
                    acked = int(engine.words[ACKED])
                    for _ in range(rng.randint(1, 30)):
                        lateness.turn()
                        await asyncio.sleep(0)
                    while engine.words[ACKED] == acked:
                        assert time.monotonic() < deadline, f"seed {SEED}, trigger {k}: orders flow between triggers: {engine.words}"
                        lateness.turn()
                        await asyncio.sleep(0)
                    trigger.number[0], trigger.set_ns[k] = k + 1, time.monotonic_ns()
                    trigger.words[control.KILL_FIRM] = 1
                    for _ in range(20):
                        lateness.turn()
                        await asyncio.sleep(0)
                    assert lateness.found_ns() == [0] * (k + 1), f"seed {SEED}"
                    trigger.words[control.KILL_FIRM] = 0
                return int(engine.words[ACKED])
        finally:
            await simulator.stop()

    assert asyncio.run(main()) >= TRIGGERS


def test_the_document_says_how_late_and_how_often_none_left() -> None:
    asked = {"rounds": 1, "triggers": 4, "seed": 1}
    found = kill.document([0, 0, 50_000, 1_200_000], [True, True, True, False], 100, asked)
    json.dumps(found)
    results = found["results"]
    assert (results["none_after"], results["over_the_bar"], results["max_us"], results["measured"]) == (2, 1, 1200.0, 4)
    assert (results["undisturbed"], results["undisturbed_over_the_bar"]) == (3, 0)
    assert found["ratio"] == {"max_vs_bar": 1.2, "undisturbed_max_vs_bar": 0.05}
    for late, acked in (([0] * 3, 100), ([0] * 4, 3)):
        with pytest.raises(BenchError, match="too busy"):
            kill.document(late, [True] * len(late), acked, asked)


def test_with_one_core_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "two_cores", lambda: None)
    assert kill.run()["oversubscribed"] is True
