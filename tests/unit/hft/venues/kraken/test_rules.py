"""Kraken rules: what AssetPairs says, as the simulated venue answers it too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hft.venues.kraken.rules import PAIRS_PATH, RulesError, parse_rules
from support.krakensim import KrakenDriver

PAIR = {
    "altname": "XBTUSD",
    "wsname": "XBT/USD",
    "pair_decimals": 1,
    "lot_decimals": 8,
    "ordermin": "0.00005",
    "costmin": "0.5",
    "tick_size": "0.1",
    "status": "online",
}


def body(**change: Any) -> bytes:
    return json.dumps({"error": [], "result": {"XXBTZUSD": PAIR | change}}).encode()


def test_rules_are_those_of_the_pair() -> None:
    (told,) = parse_rules(body())
    assert (told.symbol, told.base, told.quote, told.status) == ("BTC/USD", "BTC", "USD", "trading")
    assert (told.tick, told.lot, told.qty_min, told.notional_min) == ("0.1", "0.00000001", "0.00005", "0.5")


@pytest.mark.parametrize(("status", "told"), [("limit_only", "trading"), ("cancel_only", "cancel_only"), ("", "without status")])
def test_status_says_what_orders_would_be_refused_for(status: str, told: str) -> None:
    assert parse_rules(body(status=status))[0].status == told


def test_simulated_venue_states_its_pairs() -> None:
    driver = KrakenDriver()
    answer = driver.venue.request("GET", PAIRS_PATH, {}, b"", driver.now_ns)
    assert "BTC/USD" in {one.symbol for one in parse_rules(answer.body)}


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b'{"error":["EService:Unavailable"]}', body(wsname="XBTUSD"), body(lot_decimals=19), body(tick_size=None), b"\xff"],
)
def test_answer_that_is_no_table_of_pairs_is_refused(answer: bytes) -> None:
    with pytest.raises(RulesError):
        parse_rules(answer)
