"""Does the kill bench see an order that leaves after the word, and does none leave?"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from processes.bench import kill
from processes.bench.kill_trigger import Lateness, Trigger
from processes.bench.kill_wire import Orders, Wire, last_arrivals
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


def masked(text: bytes, key: bytes) -> bytes:
    """One frame as a client writes it."""
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + length + key + bytes(byte ^ key[k & 3] for k, byte in enumerate(text))


def test_new_orders_are_found_in_bytes_that_come_in_any_pieces() -> None:
    rng = random.Random(SEED)
    methods = [rng.choice(["order.place", "order.cancel", "time"]) for _ in range(200)]
    texts = [
        b'{"id":"0000010000%06d","method":"%s","params":{%s}}' % (k, m.encode(), b"p" * rng.randint(0, 200)) for k, m in enumerate(methods)
    ]
    stream = b"GET /ws-api/v3 HTTP/1.1\r\nHost: x\r\n\r\n" + b"".join(masked(text, rng.randbytes(4)) for text in texts)
    orders, found = Orders(), 0
    while stream:
        size = rng.randint(1, 400)
        found, stream = found + orders.take(stream[:size]), stream[size:]
    assert found == methods.count("order.place") > 0, f"seed {SEED}"


def test_the_last_arrival_of_a_trigger_is_before_its_word_was_cleared() -> None:
    trigger = Trigger(3, SEED)
    trigger.set_ns[:], trigger.cleared_ns[:] = (100, 200, 300), (150, 250, 350)
    assert last_arrivals(trigger, np.array([90, 130, 160, 190, 260, 310, 349, 360])).tolist() == [30, 0, 49]
    assert last_arrivals(trigger, np.array([], np.int64)).tolist() == [0, 0, 0]


def test_the_document_says_how_late_and_how_often_none_left() -> None:
    asked = {"rounds": 1, "triggers": 4, "end_to_end_triggers": 2, "seed": 1}
    wire = Wire(np.array([10_000, 1_500_000]), np.array([True, False]), 2_000_000, 1, 90)
    bare = Wire(np.array([0, 20_000]), np.array([True, True]), 1_200_000, 3, 80)
    found = kill.document([0, 0, 50_000, 1_200_000], [True, True, True, False], 100, wire, bare, asked)
    json.dumps(found)
    results = found["results"]
    assert (results["none_after"], results["over_the_bar"], results["max_us"], results["measured"]) == (2, 1, 1200.0, 4)
    assert (results["undisturbed"], results["undisturbed_over_the_bar"]) == (3, 0)
    assert found["ratio"] == {"max_vs_bar": 1.2, "undisturbed_max_vs_bar": 0.05, "end_to_end_max_vs_bar": 1.5}
    at_socket, floor = results["end_to_end"], found["floor"]["bare_writer_end_to_end"]
    assert (at_socket["over_the_bar"], at_socket["undisturbed_over_the_bar"], at_socket["turns_over_the_bar"]) == (1, 0, 1)
    assert (floor["max_us"], floor["none_after"], floor["gaps_over_the_bar"], floor["longest_gap_us"]) == (20.0, 1, 3, 1200.0)
    for late, acked, there in (([0] * 3, 100, wire), ([0] * 4, 3, wire), ([0] * 4, 100, wire._replace(late_ns=wire.late_ns[:1]))):
        with pytest.raises(BenchError, match="too busy"):
            kill.document(late, [True] * len(late), acked, there, bare, asked)


def test_with_one_core_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "two_cores", lambda: None)
    assert kill.run()["oversubscribed"] is True
