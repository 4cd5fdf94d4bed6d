"""Coinbase rules: what /products says, and every difference of a configured instrument named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hft.venues.coinbase.rules import RulesError, check_instrument, parse_rules
from support.coinbase_desk import table

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


def row(**fields: int) -> Any:
    rows = table()
    rows["notional_min_e8"] = 10**8
    for name, value in fields.items():
        rows[name] = value
    return rows[0]


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


def test_instrument_within_the_rules_has_no_problem() -> None:
    assert check_instrument(row(), rules()) == []
    assert check_instrument(row(tick_units=5, lot_units=1000), rules()) == [], "coarser steps are multiples"
    assert check_instrument(row(), rules(quote_increment="0.00500000")) == []


@pytest.mark.parametrize(
    ("fields", "change", "named"),
    [
        ({}, {"quote_increment": "0.1"}, "tick is 0.01, not a multiple of the venue's 0.1"),
        ({"tick_units": 3}, {"quote_increment": "0.02"}, "tick is 0.03"),
        ({}, {"base_increment": "0.0001"}, "lot is 0.00000001"),
        ({"notional_min_e8": 10**8 - 1}, {}, "min_notional is 0.99999999, below the venue's 1"),
        ({}, {"status": "offline"}, "the venue says offline"),
        ({}, {"base_increment": "0"}, "lot is"),
        ({}, {"base_increment": "x"}, "lot of the venue"),
    ],
)
def test_every_difference_is_named(fields: dict[str, int], change: dict[str, str], named: str) -> None:
    [problem] = check_instrument(row(**fields), rules(**change))
    assert problem.startswith("BTC-USD: ") and named in problem


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b'[{"id":1}]', b"<html>", b"\xff"])
def test_answer_that_is_no_list_of_products_is_refused(body: bytes) -> None:
    with pytest.raises(RulesError):
        parse_rules(body)


def test_recorded_products_are_read(recorded: Callable[[str], Path]) -> None:
    body = recorded("coinbase/products_2021.http").read_bytes().splitlines()[0].partition(b": ")[2]
    told = {one.symbol: one for one in parse_rules(body)}
    assert told["BTC-GBP"].lot == "0.00000001" and told["BTC-GBP"].tick == "0.01" and len(told) > 50
