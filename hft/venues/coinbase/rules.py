"""Coinbase rules: what `GET /products` demands of orders.

A price is a multiple of `quote_increment`, a size of `base_increment`, price x size at least `min_market_funds`; there are no other
filters since June 2022.
"""

from __future__ import annotations

import msgspec

from hft.venues.coinbase.limits import OPEN_ORDERS_MAX
from hft.venues.interface import InstrumentRules

#: Where the rules are asked for; public.
PRODUCTS_PATH = "/products"


class RulesError(ValueError):
    """The venue's answer is not the documented list of products."""


class _Product(msgspec.Struct):
    id: str
    base_currency: str
    quote_currency: str
    base_increment: str
    quote_increment: str
    min_market_funds: str = "0"
    status: str = ""
    trading_disabled: bool = False
    cancel_only: bool = False
    post_only: bool = False
    limit_only: bool = False
    auction_mode: bool = False


_decode = msgspec.json.Decoder(list[_Product]).decode


def _status(product: _Product) -> str:
    if product.status != "online":
        return product.status or "without status"
    for name in ("trading_disabled", "cancel_only", "auction_mode", "post_only"):
        if getattr(product, name):
            return name
    # Limit orders are all that is ever sent.
    return "trading"


def parse_rules(body: bytes) -> list[InstrumentRules]:
    """Rules of every product in the answer to GET /products. Raises RulesError."""
    try:
        products = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RulesError(f"expected the venue's list of products: {error}") from None
    return [
        InstrumentRules(
            symbol=product.id,
            base=product.base_currency,
            quote=product.quote_currency,
            status=_status(product),
            tick=product.quote_increment,
            lot=product.base_increment,
            notional_min=product.min_market_funds,
            orders_max=OPEN_ORDERS_MAX,
        )
        for product in products
    ]
