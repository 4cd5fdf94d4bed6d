"""Does the orders bench count what it says, and does its reference speak to the simulator as the engine does?"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processes.bench import orders, orders_reference
from processes.bench.orders_source import ACKED, ENDED, FAILED, SENT, SPANS, OrderEngine
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue

#: A watchdog, not an expectation.
DEADLINE_S = 60.0


def test_every_order_is_acknowledged_and_ends_and_never_more_are_on_their_way(tmp_path: Path) -> None:
    async def main() -> Any:
        simulator = Simulator(make_venue("binance", Options(no_limits=True)), False)
        urls: Any = await simulator.start(0)
        try:
            with OrderEngine(tmp_path / "engine", urls, 3) as engine:
                engine.burst_ns = 0
                deadline = time.monotonic() + DEADLINE_S
                while engine.words[ENDED] < 150:
                    assert time.monotonic() < deadline, engine.words
                    if engine.ready and not engine.words[SENT]:
                        engine.begin()
                    engine.turn()
                    assert engine.words[SENT] - engine.words[ENDED] <= 3
                    await asyncio.sleep(0)
                return engine.words.copy(), engine.spans_ns.copy()
        finally:
            await simulator.stop()

    words, spans_ns = asyncio.run(main())
    assert words[FAILED] == 0 and words[ENDED] <= words[ACKED] <= words[SENT]
    assert (spans_ns[: words[ACKED]] > 0).all() and not spans_ns[words[ACKED] :].any()


def test_the_venue_alone_takes_every_order_and_names_what_its_time_goes_to() -> None:
    assert orders_reference.rate_of_venue(20) > 0
    profile = orders_reference.profile_venue(20)
    assert any(name.startswith("api.py:") for name in profile) and 0 < sum(profile.values()) <= 1


def test_replies_are_counted_wherever_the_bytes_are_cut() -> None:
    stream = b'{"id":"1","status":200,"result":{}}{"event":{"X":"NEW"}}{"id":"2","status":200,"result":{}}' * 5
    for size in (1, 2, 7, 13, 14, 64, len(stream)):
        client = orders_reference.BareClient.__new__(orders_reference.BareClient)
        client._tail = b""
        pieces = iter([stream[at : at + size] for at in range(0, len(stream), size)])
        client._receive = lambda pieces=pieces: next(pieces)  # type: ignore[method-assign]
        assert sum(client.replies() for _ in range(-(-len(stream) // size))) == 10


def test_the_log_of_spans_is_a_circle() -> None:
    log_ns = np.arange(SPANS)
    assert orders._spans(log_ns, 3, 6).tolist() == [3, 4, 5]
    assert orders._spans(log_ns, SPANS - 1, SPANS + 2).tolist() == [SPANS - 1, 0, 1]
    assert len(orders._spans(log_ns, 0, 3 * SPANS)) == SPANS


def test_the_document_has_every_window_and_its_reference() -> None:
    windows = [orders.Window(1000.0, 50.0, 90.0, 200.0), orders.Window(1200.0, 60.0, 99.0, 300.0)]
    document = orders._document(windows, [2000.0, 2400.0], 3000, {"seconds": 10.0})
    json.dumps(document)
    assert document["results"]["acked_per_s"] == 1100 and document["results"]["windows"]["p99_us"] == [90.0, 99.0]
    assert document["ratio"] == {"acked_vs_bare_client": 0.5, "p99_last_vs_first_window": 1.1}
    assert document["floor"]["bare_client_per_s"] == 2200


def test_with_one_core_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "two_cores", lambda: None)
    document = orders.run()
    assert document["oversubscribed"] is True and document["floor"] is None
