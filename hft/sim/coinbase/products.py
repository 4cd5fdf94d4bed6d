"""Coinbase's products: their increments, how REST and channel `status` state them, and their synthetic order flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hft.sim.exchange.records import Instrument, Status
from hft.sim.market import SymbolInfo
from hft.sim.synthetic import FlowSpec
from hft.sim.texts import fixed

OPEN_ORDERS_MAX = 500
MAKER_RATE, TAKER_RATE = "0.004", "0.006"
FUNDS_MIN = "1"
#: Money of the kinds that are no coins.
CASH = ("USD", "EUR", "GBP")
NAMES: Mapping[str, str] = {"USD": "United States Dollar", "BTC": "Bitcoin", "ETH": "Ether", "SOL": "Solana"}


class Product(NamedTuple):
    """A product."""

    product_id: str  #: such as `BTC-USD`
    base: str
    quote: str
    price_decimals: int
    qty_decimals: int
    funds_min: str = FUNDS_MIN  #: least value of an order, in quote

    @property
    def quote_increment(self) -> str:
        """The tick."""
        return fixed(1, self.price_decimals)

    @property
    def base_increment(self) -> str:
        """The lot."""
        return fixed(1, self.qty_decimals)


class Flow(NamedTuple):
    """The character of a product's synthetic order flow."""

    start_ticks: int
    volatility_ticks: float  #: standard deviation of the fair value after one second
    depth_ticks: float  #: scale of the distance at which orders rest
    lots: float  #: scale of sizes


#: id -> product
PRODUCTS: Mapping[str, Product] = {
    product.product_id: product
    for product in (
        Product("BTC-USD", "BTC", "USD", 2, 8),
        Product("ETH-USD", "ETH", "USD", 2, 8),
        Product("SOL-USD", "SOL", "USD", 2, 8),
        Product("ETH-BTC", "ETH", "BTC", 5, 8, "0.000016"),
    )
}
FLOWS: Mapping[str, Flow] = {
    "BTC-USD": Flow(6_000_000, 60.0, 60.0, 900_000.0),
    "ETH-USD": Flow(260_000, 6.0, 12.0, 15_000_000.0),
    "SOL-USD": Flow(15_000, 1.5, 6.0, 400_000_000.0),
    "ETH-BTC": Flow(4_333, 0.4, 3.0, 15_000_000.0),
}
LEVELS = 1100
SYMBOLS_DEFAULT = ("BTC-USD", "ETH-USD")


def flow(product: Product) -> FlowSpec:
    """Return the synthetic order flow of one of PRODUCTS."""
    character = FLOWS[product.product_id]
    info = SymbolInfo(
        product.product_id,
        product.base,
        product.quote,
        product.quote_increment,
        product.base_increment,
        "10000000",
        "1000000",
        product.funds_min,
    )
    return FlowSpec(info, product.price_decimals, product.qty_decimals, *character, levels=LEVELS)


def instrument(product: Product) -> Instrument:
    """Return what the exchange trades."""
    return Instrument(
        product.product_id,
        product.base,
        product.quote,
        product.quote_increment,
        product.base_increment,
        notional_min=product.funds_min,
        open_max=OPEN_ORDERS_MAX,
    )


def currencies(products: Iterable[Product]) -> list[str]:
    """Return the currencies of products, each once."""
    return list(dict.fromkeys(currency for product in products for currency in (product.base, product.quote)))


def product_row(product: Product, status: Status) -> dict[str, object]:
    """Return a product as REST states it."""
    return {
        "id": product.product_id,
        "base_currency": product.base,
        "quote_currency": product.quote,
        "quote_increment": product.quote_increment,
        "base_increment": product.base_increment,
        "display_name": product.product_id,
        "min_market_funds": product.funds_min,
        "margin_enabled": False,
        "post_only": status is Status.POST_ONLY,
        "limit_only": status is Status.LIMIT_ONLY,
        "cancel_only": status is Status.CANCEL_ONLY,
        "status": "online",
        "status_message": "",
        "trading_disabled": status is Status.HALTED,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
        "auction_mode": False,
        "high_bid_limit_percentage": "",
    }


def currency_row(currency: str) -> dict[str, object]:
    """Return a currency as REST and channel `status` state it."""
    cash = currency in CASH
    return {
        "id": currency,
        "name": NAMES.get(currency, currency),
        "display_name": currency,
        "min_size": "0.01" if cash else "0.00000001",
        "status": "online",
        "status_message": None,
        "max_precision": "0.01" if cash else "0.00000001",
        "convertible_to": [],
        "details": {"type": "fiat" if cash else "crypto", "symbol": None, "network_confirmations": 0, "sort_order": 0},
        "default_network": "",
        "supported_networks": [],
    }
