"""Kraken market: subscribes everything, brings single symbols into step, and stays within a budget of messages."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from hft.venues.interface import MarketSession, Outgoing, Text
from hft.venues.kraken.market import FORGIVEN_NS, MESSAGES_AT_ONCE, MESSAGES_PER_S, PING_NS, RESYNC_LEAST_NS, RESYNC_MOST_NS, KrakenMarket

SECOND_NS = 1_000_000_000


def said(outgoing: Sequence[Outgoing]) -> list[dict[str, Any]]:
    assert all(isinstance(one, Text) for one in outgoing)
    return [json.loads(one.data) for one in outgoing if isinstance(one, Text)]


def market(count: int = 2, **options: Any) -> KrakenMarket:
    return KrakenMarket([f"S{i}/USD" for i in range(count)], range(3, 3 + count), "wss://ws.kraken.com", **options)


def test_the_endpoint_is_version_two_of_the_host() -> None:
    assert market().endpoint().url == "wss://ws.kraken.com/v2"
    assert KrakenMarket(["A/B"], [0], "ws://127.0.0.1:5/v2/").endpoint().url == "ws://127.0.0.1:5/v2"


def test_hello_subscribes_books_at_the_depth_trades_and_instruments() -> None:
    session: MarketSession = market(depth=25)
    messages = said(session.hello(0))
    assert [m["params"]["channel"] for m in messages] == ["instrument", "book", "trade"]
    assert messages[1]["params"] == {"channel": "book", "symbol": ["S0/USD", "S1/USD"], "depth": 25, "snapshot": True}
    assert messages[2]["params"]["snapshot"] is False
    assert [m["req_id"] for m in messages] == [1, 2, 3]
    assert [m["params"]["channel"] for m in said(market(trades=False, instruments=False).hello(0))] == ["book"]


def test_a_resync_subscribes_that_symbol_alone() -> None:
    session = market()
    session.hello(0)
    messages = said(session.resync(4, SECOND_NS))
    assert [(m["method"], m["params"]["symbol"]) for m in messages] == [("unsubscribe", ["S1/USD"]), ("subscribe", ["S1/USD"])]


def test_a_symbol_that_keeps_failing_is_subscribed_less_and_less_often() -> None:
    session = market()
    session.hello(0)
    times, now_ns = [], 0
    while now_ns < 40 * SECOND_NS:
        if any(message["method"] == "unsubscribe" for message in said(session.resync(3, now_ns))):
            times.append(now_ns)
        now_ns += SECOND_NS // 10
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert gaps == sorted(gaps) and gaps[0] >= RESYNC_LEAST_NS and gaps[-1] >= 8 * SECOND_NS
    session.tick(now_ns + RESYNC_MOST_NS)
    assert len(said(session.resync(3, now_ns + RESYNC_MOST_NS + FORGIVEN_NS))) == 2, "forgiven after it held for long"


def test_messages_stay_within_the_budget() -> None:
    session = market(40)
    sent = len(session.hello(0))
    for row in range(3, 43):
        sent += len(session.resync(row, 0))
    assert sent == MESSAGES_AT_ONCE
    for second in range(1, 100):
        messages = session.tick(second * SECOND_NS)
        assert len(messages) <= MESSAGES_PER_S + 1
        sent += len(messages)
    assert sent >= 3 + 80, "nothing is forgotten"


def test_pings_keep_an_idle_connection_alive() -> None:
    session = market()
    session.hello(0)
    assert said(session.tick(PING_NS - 1)) == []
    assert said(session.tick(PING_NS))[0]["method"] == "ping"


def test_a_new_connection_forgets_what_was_held_back() -> None:
    session = market(40)
    session.hello(0)
    for row in range(3, 43):
        session.resync(row, 0)
    assert len(session.hello(1)) == 3 and session.tick(2 * SECOND_NS) == []
