"""Instrument check: every way in which a configured instrument can differ from its venue's rules is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT
from hft.venues.instrument_check import check_instrument
from hft.venues.interface import InstrumentRules

BTC = InstrumentRules("BTCUSDT", "BTC", "USDT", "trading", "0.01", "0.00001", "0.01", "1000000", "0.00001", "9000", "10", "", 200)


def row(**changes: Any) -> Any:
    found = np.zeros(1, INSTRUMENT)
    fields = {"tick_units": 1, "price_decimals": 2, "lot_units": 1, "qty_decimals": 5, "price_ticks_max": 100_000_000}
    for name, value in (fields | {"qty_lots_max": 900_000_000, "notional_min_e8": 10 * 10**8} | changes).items():
        found[name] = value
    return found[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tick_units": 10, "price_decimals": 3, "price_ticks_max": 1, "qty_lots_max": 1, "notional_min_e8": 11 * 10**8},
        {"lot_units": 1000, "qty_lots_max": 1},
    ],
)
def test_instrument_within_the_rules_has_no_problem(changes: dict[str, int]) -> None:
    assert check_instrument(row(**changes), BTC) == []


def test_what_a_venue_does_not_say_is_no_rule() -> None:
    assert check_instrument(row(), InstrumentRules("BTC/USD", "BTC", "USD", "trading", "0.0100", "0.00001")) == []


@pytest.mark.parametrize(
    ("changes", "rules", "named"),
    [
        ({"tick_units": 2, "price_ticks_max": 1}, BTC, "tick: configured 0.02, the venue has 0.01"),
        ({}, BTC._replace(lot="0.0001"), "lot: configured 0.00001, no multiple of the venue's 0.0001"),
        ({}, BTC._replace(lot="0"), "lot: configured 0.00001, no multiple of the venue's 0"),
        ({"price_ticks_max": 100_000_001}, BTC, "price_max: configured 1000000.01, the venue takes at most 1000000"),
        ({"qty_lots_max": 900_000_001}, BTC, "qty_max: configured 9000.00001, the venue takes at most 9000"),
        ({"notional_min_e8": 10 * 10**8 - 1}, BTC, "min_notional: configured 9.99999999, the venue wants 10"),
        ({}, BTC._replace(status="HALT"), "does not trade: HALT"),
        ({}, BTC._replace(lot="x"), "has rules that are no numbers"),
    ],
)
def test_each_difference_is_named(changes: dict[str, int], rules: InstrumentRules, named: str) -> None:
    assert check_instrument(row(**changes), rules) == [f"BTCUSDT {named}"]
