"""Coinbase market: the dialogue of a market-data connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hft.venues.coinbase.market import (
    FORGIVEN_NS,
    MESSAGES_AT_ONCE,
    MESSAGES_PER_S,
    PRODUCTS_IN_ONE,
    RESYNC_LEAST_NS,
    SNAPSHOT_LEAST_NS,
    CoinbaseMarket,
)
from hft.venues.coinbase.signing import signature
from hft.venues.interface import Call, Outgoing, Text
from support.coinbase_desk import KEYS, SECRET

SECOND_NS = 1_000_000_000
UTC_NS = 1_700_000_000_000_000_000
URL = "wss://ws-feed.exchange.coinbase.com"


def market(count: int = 2, **options: Any) -> CoinbaseMarket:
    return CoinbaseMarket([f"P{n}-USD" for n in range(count)], range(count), URL, **options)


def texts(said: list[Outgoing]) -> list[dict[str, Any]]:
    return [json.loads(one.data) for one in said if isinstance(one, Text)]


def test_hello_subscribes_books_trades_and_heartbeats_in_one_message() -> None:
    session = market()
    assert session.endpoint().url == URL and session.life_ns == 0
    names = ["P0-USD", "P1-USD"]
    assert texts(session.hello(0)) == [{"type": "subscribe", "product_ids": names, "channels": ["level2_batch", "heartbeat", "matches"]}]


@pytest.mark.parametrize("channel", ["level2", "full"])
def test_channels_that_need_it_are_subscribed_with_a_signature(channel: str) -> None:
    session = market(channel=channel, credentials=KEYS, utc_ns=lambda: UTC_NS)
    [said] = texts(session.hello(0))
    assert said["channels"] == ([channel, "heartbeat", "matches"] if channel == "level2" else [channel, "heartbeat"])
    assert said["signature"] == signature(SECRET, "1700000000.000000", "GET", "/users/self/verify")
    assert (said["key"], said["passphrase"], said["timestamp"]) == ("thekey", "thepass", "1700000000.000000")


@pytest.mark.parametrize(
    "options", [{"channel": "level3"}, {"channel": "full"}, {"channel": "level2"}, {"credentials": KEYS}], ids=lambda o: str(list(o))
)
def test_what_could_never_work_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="channel|utc_ns"):
        market(**options)


def test_many_products_are_subscribed_within_the_budget() -> None:
    session = market(PRODUCTS_IN_ONE * (MESSAGES_AT_ONCE + 2), ticker=True)
    first = texts(session.hello(0))
    assert len(first) == MESSAGES_AT_ONCE and all("ticker" in said["channels"] for said in first)
    assert texts(session.tick(SECOND_NS // MESSAGES_PER_S - 1)) == []
    rest = texts(session.tick(SECOND_NS))
    names = [name for said in first + rest for name in said["product_ids"]]
    assert names == [f"P{n}-USD" for n in range(PRODUCTS_IN_ONE * (MESSAGES_AT_ONCE + 2))]


def test_resync_of_level_2_subscribes_the_product_anew_ever_less_often() -> None:
    session = market()
    session.hello(0)
    now, gaps = SECOND_NS, []
    for _ in range(4):
        said = session.resync(1, now)
        asked_ns = now
        while not said:
            now += RESYNC_LEAST_NS // 10
            said = session.tick(now)
        gaps.append(now - asked_ns)
        assert texts(said) == [
            {"type": what, "product_ids": ["P1-USD"], "channels": ["level2_batch"]} for what in ("unsubscribe", "subscribe")
        ]
    assert gaps == [0, RESYNC_LEAST_NS, 2 * RESYNC_LEAST_NS, 4 * RESYNC_LEAST_NS]
    assert session.resync(0, now), "another product need not wait"
    assert session.resync(1, now + FORGIVEN_NS), "one that held is forgiven"


def test_resync_of_full_is_a_level_3_snapshot() -> None:
    session = market(channel="full", credentials=KEYS, utc_ns=lambda: UTC_NS)
    session.hello(0)
    [call] = session.resync(1, SECOND_NS)
    assert isinstance(call, Call) and (call.tag, call.method, call.target) == (1, "GET", "/products/P1-USD/book?level=3")
    assert session.resync(1, SECOND_NS) == [] and session.tick(SECOND_NS + SNAPSHOT_LEAST_NS - 1) == []
    assert len(session.tick(SECOND_NS + SNAPSHOT_LEAST_NS)) == 1


def test_new_connection_forgets_what_waited() -> None:
    session = market()
    session.hello(0)
    session.resync(0, 0)
    session.resync(0, 1)
    assert len(texts(session.hello(2))) == 1 and session.tick(FORGIVEN_NS) == []
