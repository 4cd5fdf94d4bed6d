"""Kraken's pairs: names, increments and synthetic flows that need no rounding."""

import pytest

from hft.sim.exchange.records import Status
from hft.sim.kraken.pairs import PAIRS, asset_pair, by_any_name, flow, instrument, instrument_pair


def test_every_name_leads_to_its_pair_and_no_name_to_two():
    names = by_any_name(PAIRS.values())
    assert names["XBTUSD"] is names["XXBTZUSD"] is names["XBT/USD"] is names["BTC/USD"] is PAIRS["BTC/USD"]
    assert {pair.symbol for pair in names.values()} == set(PAIRS)


@pytest.mark.parametrize("symbol", list(PAIRS))
def test_the_synthetic_flow_has_the_pairs_own_increments(symbol):
    pair = PAIRS[symbol]
    spec, traded = flow(pair), instrument(pair)
    assert spec.info.symbol == symbol and spec.levels > 1000
    assert f"{traded.tick:f}" == pair.tick == spec.info.tick and f"{traded.lot:f}" == pair.lot
    assert spec.price_decimals == pair.price_decimals and spec.qty_decimals == pair.qty_decimals


@pytest.mark.parametrize(("status", "word"), [(Status.TRADING, "online"), (Status.HALTED, "maintenance"), (Status.POST_ONLY, "post_only")])
def test_a_status_has_the_same_word_on_the_socket_and_in_rest(status, word):
    pair = PAIRS["ETH/USD"]
    assert instrument_pair(pair, status)["status"] == asset_pair(pair, status)["status"] == word
