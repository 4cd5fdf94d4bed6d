"""Kraken's pairs and assets: what each is called on the socket and in REST, its precisions and limits, and its order flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from hft.sim.exchange.records import Instrument, Status
from hft.sim.market import SymbolInfo
from hft.sim.synthetic import FlowSpec
from hft.sim.texts import number

#: Decimals of money amounts: of costs, fees and balances. The venue's own precisions are coarser.
MONEY_DECIMALS = 8
OPEN_ORDERS_MAX = 225
MAKER_RATE, TAKER_RATE = "0.0025", "0.0040"
PAIR_STATUS = {
    Status.TRADING: "online",
    Status.LIMIT_ONLY: "limit_only",
    Status.POST_ONLY: "post_only",
    Status.CANCEL_ONLY: "cancel_only",
    Status.HALTED: "maintenance",
}


class Asset(NamedTuple):
    """An asset's names."""

    name: str  #: on the socket
    rest_name: str
    alternative: str


class Pair(NamedTuple):
    """A pair."""

    symbol: str  #: on the socket, such as `BTC/USD`
    rest_name: str  #: such as `XXBTZUSD`
    alternative: str  #: such as `XBTUSD`
    old_name: str  #: on version 1 of the socket, such as `XBT/USD`
    base: Asset
    quote: Asset
    price_decimals: int
    qty_decimals: int
    qty_min: str
    cost_min: str
    start_price: int  #: in the quote asset
    volatility_ticks: float  #: standard deviation of the fair value after one second
    depth_ticks: float  #: scale of the distance at which orders rest
    lots: float  #: scale of sizes

    @property
    def tick(self) -> str:
        """The price increment as decimal text."""
        return f"{1 / 10**self.price_decimals:.{self.price_decimals}f}"

    @property
    def lot(self) -> str:
        """The size increment as decimal text."""
        return f"{1 / 10**self.qty_decimals:.{self.qty_decimals}f}"


BTC, ETH, SOL = Asset("BTC", "XXBT", "XBT"), Asset("ETH", "XETH", "ETH"), Asset("SOL", "SOL", "SOL")
USD, EUR = Asset("USD", "ZUSD", "USD"), Asset("EUR", "ZEUR", "EUR")

#: symbol -> pair
PAIRS: Mapping[str, Pair] = {
    pair.symbol: pair
    for pair in (
        Pair("BTC/USD", "XXBTZUSD", "XBTUSD", "XBT/USD", BTC, USD, 1, 8, "0.00005", "0.5", 60_000, 6.0, 6.0, 900_000.0),
        Pair("BTC/EUR", "XXBTZEUR", "XBTEUR", "XBT/EUR", BTC, EUR, 1, 8, "0.00005", "0.5", 60_000, 6.0, 6.0, 900_000.0),
        Pair("ETH/USD", "XETHZUSD", "ETHUSD", "ETH/USD", ETH, USD, 2, 8, "0.001", "0.5", 2_600, 6.0, 12.0, 15_000_000.0),
        Pair("SOL/USD", "SOLUSD", "SOLUSD", "SOL/USD", SOL, USD, 2, 8, "0.02", "0.5", 150, 1.5, 6.0, 400_000_000.0),
    )
}
SYMBOLS_DEFAULT = ("BTC/USD", "ETH/USD")


def flow(pair: Pair) -> FlowSpec:
    """Return the character of a pair's synthetic order flow; its book is deeper than the deepest subscription."""
    info = SymbolInfo(pair.symbol, pair.base.name, pair.quote.name, pair.tick, pair.lot, "10000000", "1000000", pair.cost_min)
    start_ticks = pair.start_price * 10**pair.price_decimals
    return FlowSpec(
        info, pair.price_decimals, pair.qty_decimals, start_ticks, pair.volatility_ticks, pair.depth_ticks, pair.lots, levels=1100
    )


def instrument(pair: Pair) -> Instrument:
    """Return what the exchange trades."""
    return Instrument(
        pair.symbol,
        pair.base.name,
        pair.quote.name,
        pair.tick,
        pair.lot,
        qty_min=pair.qty_min,
        notional_min=pair.cost_min,
        open_max=OPEN_ORDERS_MAX,
    )


def by_any_name(pairs: Iterable[Pair]) -> dict[str, Pair]:
    """Return pairs by every name that REST understands."""
    return {name: pair for pair in pairs for name in (pair.symbol, pair.rest_name, pair.alternative, pair.old_name)}


def assets(pairs: Iterable[Pair]) -> dict[str, Asset]:
    """Return the assets of pairs, by name."""
    return {asset.name: asset for pair in pairs for asset in (pair.base, pair.quote)}


def instrument_asset(asset: Asset) -> dict[str, object]:
    """Return an asset as channel `instrument` states it."""
    return {
        "id": asset.name,
        "status": "enabled",
        "precision": MONEY_DECIMALS,
        "precision_display": 5,
        "borrowable": False,
        "collateral_value": 1.0,
        "margin_rate": 0.0,
    }


def instrument_pair(pair: Pair, status: Status) -> dict[str, object]:
    """Return a pair as channel `instrument` states it."""
    tick = number(1, pair.price_decimals)
    return {
        "symbol": pair.symbol,
        "base": pair.base.name,
        "quote": pair.quote.name,
        "status": PAIR_STATUS[status],
        "qty_precision": pair.qty_decimals,
        "qty_increment": msgspec.Raw(f"1e-{pair.qty_decimals:02d}".encode()),
        "price_precision": pair.price_decimals,
        "cost_precision": MONEY_DECIMALS,
        "marginable": False,
        "has_index": True,
        "cost_min": float(pair.cost_min),
        "tick_size": tick,
        "price_increment": tick,
        "qty_min": float(pair.qty_min),
    }


def asset_pair(pair: Pair, status: Status) -> dict[str, object]:
    """Return a pair as REST `AssetPairs` states it."""
    return {
        "altname": pair.alternative,
        "wsname": pair.old_name,
        "aclass_base": "currency",
        "base": pair.base.rest_name,
        "aclass_quote": "currency",
        "quote": pair.quote.rest_name,
        "lot": "unit",
        "cost_decimals": MONEY_DECIMALS,
        "pair_decimals": pair.price_decimals,
        "lot_decimals": pair.qty_decimals,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[0, float(TAKER_RATE) * 100]],
        "fees_maker": [[0, float(MAKER_RATE) * 100]],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": pair.qty_min,
        "costmin": pair.cost_min,
        "tick_size": pair.tick,
        "status": PAIR_STATUS[status],
    }
