"""Binance rules: what `exchangeInfo` says of instruments and limits."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from hft.venues.binance.limits import Limit
from hft.venues.interface import InstrumentRules

_INTERVAL_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    min_price: str = ""
    max_price: str = ""
    tick_size: str = ""
    min_qty: str = ""
    max_qty: str = ""
    step_size: str = ""
    min_notional: str = ""
    max_notional: str = ""
    max_num_orders: int = 0


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    is_spot_trading_allowed: bool = True
    filters: list[_Filter] = []


class _RateLimit(msgspec.Struct, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    limit: int


class _ExchangeInfo(msgspec.Struct, rename="camel"):
    rate_limits: list[_RateLimit]
    symbols: list[_Symbol]


def parse_rules(body: bytes) -> list[InstrumentRules]:
    """Every symbol of an `exchangeInfo` reply. Raises msgspec.DecodeError for anything else."""
    return [_rules_of(symbol) for symbol in msgspec.json.decode(body, type=_ExchangeInfo).symbols]


def parse_limits(body: bytes) -> list[Limit]:
    """The rate limits of an `exchangeInfo` reply."""
    told = msgspec.json.decode(body, type=_ExchangeInfo).rate_limits
    return [Limit(limit.rate_limit_type, _INTERVAL_S.get(limit.interval, 0) * limit.interval_num, limit.limit) for limit in told]


def _rules_of(symbol: _Symbol) -> InstrumentRules:
    by_type = {rule.filter_type: rule for rule in symbol.filters}
    price = by_type.get("PRICE_FILTER", _Filter("PRICE_FILTER"))
    lot = by_type.get("LOT_SIZE", _Filter("LOT_SIZE"))
    notional = by_type.get("NOTIONAL", by_type.get("MIN_NOTIONAL", _Filter("NOTIONAL")))
    trading = symbol.status == "TRADING" and symbol.is_spot_trading_allowed
    return InstrumentRules(
        symbol=symbol.symbol,
        base=symbol.base_asset,
        quote=symbol.quote_asset,
        status="trading" if trading else symbol.status if symbol.status != "TRADING" else "spot trading is not allowed",
        tick=_rule(price.tick_size),
        lot=_rule(lot.step_size),
        price_min=_rule(price.min_price),
        price_max=_rule(price.max_price),
        qty_min=_rule(lot.min_qty),
        qty_max=_rule(lot.max_qty),
        notional_min=_rule(notional.min_notional),
        notional_max=_rule(notional.max_notional),
        orders_max=by_type.get("MAX_NUM_ORDERS", _Filter("")).max_num_orders,
    )


def _rule(text: str) -> str:
    """A filter's number without its trailing zeros; "" where 0 says that there is no such rule."""
    if not text or not Decimal(text):
        return ""
    return text.rstrip("0").rstrip(".") if "." in text else text
