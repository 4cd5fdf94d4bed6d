"""Binance rules: the whole recorded exchangeInfo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hft.venues.binance.limits import Limit
from hft.venues.binance.rules import parse_limits, parse_rules
from hft.venues.interface import InstrumentRules

BTC = InstrumentRules("BTCUSDT", "BTC", "USDT", "trading", "0.01", "0.00001", "0.01", "1000000", "0.00001", "9000", "10", "", 200)


@pytest.fixture
def body(recorded: Callable[[str], Path]) -> bytes:
    return recorded("binance_spot/short_2021/exchange_info.http").read_bytes().partition(b"\n")[0].partition(b": ")[2]


def test_recorded_file_gives_every_symbol(body: bytes) -> None:
    rules = {one.symbol: one for one in parse_rules(body)}
    assert len(rules) > 1000
    assert rules["BTCUSDT"] == BTC
    assert rules["ETHBTC"].tick == "0.000001" and rules["ETHBTC"].lot == "0.0001" and rules["ETHBTC"].notional_min == "0.0001"
    assert {one.status for one in rules.values()} == {"trading", "BREAK", "spot trading is not allowed"}


def test_recorded_file_gives_the_limits(body: bytes) -> None:
    told = [Limit("REQUEST_WEIGHT", 60, 1200), Limit("ORDERS", 10, 50), Limit("ORDERS", 86_400, 160_000), Limit("RAW_REQUESTS", 300, 6100)]
    assert parse_limits(body) == told


def test_newer_filters_and_members_are_taken_or_stepped_over() -> None:
    symbol = {"symbol": "AB", "status": "CANCEL_ONLY", "baseAsset": "A", "quoteAsset": "B", "amendAllowed": True}
    filters = [{"filterType": "NOTIONAL", "minNotional": "5.00", "maxNotional": "9000000.00", "applyMinToMarket": True}]
    filters += [{"filterType": "PRICE_FILTER", "minPrice": "0.00", "maxPrice": "0", "tickSize": "0.10"}]
    (rules,) = parse_rules(msgspec.json.encode({"rateLimits": [], "symbols": [symbol | {"filters": filters}]}))
    assert rules == InstrumentRules("AB", "A", "B", "CANCEL_ONLY", "0.1", "", "", "", "", "", "5", "9000000", 0)


@pytest.mark.parametrize("broken", [b"", b"[]", b'{"symbols":[{"symbol":1}],"rateLimits":[]}', b'{"code":-1003}'])
def test_another_document_is_an_error(broken: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_rules(broken)
