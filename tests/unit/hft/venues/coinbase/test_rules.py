"""Coinbase rules: what /products says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hft.venues.coinbase.rules import RulesError, parse_rules

PRODUCT = {
    "id": "BTC-USD",
    "base_currency": "BTC",
    "quote_currency": "USD",
    "quote_increment": "0.01",
    "base_increment": "0.00000001",
    "min_market_funds": "1",
    "status": "online",
    "status_message": "",
    "cancel_only": False,
}


def rules(**change: Any) -> Any:
    return parse_rules(json.dumps([PRODUCT | change]).encode())[0]


def test_rules_are_those_of_the_products() -> None:
    told = rules()
    assert (told.symbol, told.base, told.quote, told.status) == ("BTC-USD", "BTC", "USD", "trading")
    assert (told.tick, told.lot, told.notional_min, told.orders_max) == ("0.01", "0.00000001", "1", 500)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"status": "delisted"}, "delisted"),
        ({"trading_disabled": True}, "trading_disabled"),
        ({"cancel_only": True}, "cancel_only"),
        ({"post_only": True}, "post_only"),
        ({"auction_mode": True}, "auction_mode"),
        ({"limit_only": True}, "trading"),
        ({"status": ""}, "without status"),
    ],
)
def test_status_says_what_orders_would_be_refused_for(change: dict[str, Any], status: str) -> None:
    assert rules(**change).status == status


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b'[{"id":1}]', b"<html>", b"\xff"])
def test_answer_that_is_no_list_of_products_is_refused(body: bytes) -> None:
    with pytest.raises(RulesError):
        parse_rules(body)


def test_recorded_products_are_read(recorded: Callable[[str], Path]) -> None:
    body = recorded("coinbase/products_2021.http").read_bytes().splitlines()[0].partition(b": ")[2]
    told = {one.symbol: one for one in parse_rules(body)}
    assert told["BTC-GBP"].lot == "0.00000001" and told["BTC-GBP"].tick == "0.01" and len(told) > 50
