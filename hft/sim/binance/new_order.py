"""A new order of the simulated Binance: its parameters, read and checked against the pair's filters."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from hft.sim.binance.errors import ApiError
from hft.sim.binance.parameters import choice, client_id, decimal_e8, integer, mandatory, only
from hft.sim.binance.reports import TYPES, Tag
from hft.sim.exchange.records import BUY, E8, SELL, Instrument, Kind, Stp, Tif
from hft.sim.market import SymbolInfo

NOTIONAL_MAX_E8 = 9_000_000 * E8
#: PERCENT_PRICE_BY_SIDE: an order's price may be this many times the average, in hundredths.
MULTIPLIER_UP, MULTIPLIER_DOWN = 500, 20
MAX_NUM_ORDERS, MAX_NUM_ORDER_AMENDS = 200, 10
STP_MODES = {mode.name: mode for mode in Stp}
SIDES = {"BUY": BUY, "SELL": SELL}
RESPONSE_TYPES = frozenset(("ACK", "RESULT", "FULL"))
INVALID_SIDE, INVALID_TYPE, INVALID_TIF = (-1117, "Invalid side."), (-1116, "Invalid orderType."), (-1115, "Invalid timeInForce.")
INVALID_RESPONSE_TYPE = (-1113, "Invalid newOrderRespType.")
TIFS = {"GTC": Tif.GTC, "IOC": Tif.IOC, "FOK": Tif.FOK}
STP_DEFAULT = Stp.EXPIRE_MAKER
ALGO_TYPES = ("STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
NEW_ORDER_PARAMS = frozenset(
    [
        "symbol",
        "side",
        "type",
        "timeInForce",
        "price",
        "quantity",
        "quoteOrderQty",
        "newClientOrderId",
        "newOrderRespType",
        "strategyId",
        "strategyType",
        "selfTradePreventionMode",
        "stopPrice",
        "trailingDelta",
        "icebergQty",
        "pegPriceType",
        "pegOffsetType",
        "pegOffsetValue",
    ]
)
STRATEGY = frozenset(("strategyId", "strategyType"))
#: What only orders need that are not simulated.
NOT_SIMULATED = frozenset(("stopPrice", "trailingDelta", "icebergQty", "pegPriceType", "pegOffsetType", "pegOffsetValue"))


class Pair:
    """A pair of the venue: the exchange's instrument and what only this venue knows of it."""

    __slots__ = ("instrument", "reference_ticks")

    def __init__(self, info: SymbolInfo, unlimited: bool) -> None:
        """`unlimited` lifts the limit of open orders."""
        self.instrument = Instrument(
            info.symbol,
            info.base,
            info.quote,
            info.tick,
            info.lot,
            qty_min=info.lot,
            qty_max=info.qty_max,
            price_max=info.price_max,
            notional_min=info.notional_min,
            open_max=0 if unlimited else MAX_NUM_ORDERS,
        )
        #: Price of the last public trade; 0 before any.
        self.reference_ticks = 0

    def lots(self, amount_e8: int, name: str) -> int:
        """Return a size in lots. Raises ApiError where filter `name` refuses it."""
        lots, rest = divmod(amount_e8, self.instrument.lot_e8)
        if rest:
            raise ApiError(400, -1013, f"Filter failure: {name}")
        return lots

    def ticks(self, price_e8: int, side: int) -> int:
        """Return a price in ticks. Raises ApiError where a filter refuses it."""
        ticks, rest = divmod(price_e8, self.instrument.tick_e8)
        if rest or not ticks:
            raise ApiError(400, -1013, "Filter failure: PRICE_FILTER")
        if self.reference_ticks and not (self.reference_ticks * MULTIPLIER_DOWN <= ticks * 100 <= self.reference_ticks * MULTIPLIER_UP):
            raise ApiError(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        return ticks


class NewOrder(NamedTuple):
    """A valid order that was not placed yet."""

    pair: Pair
    side: int
    kind: Kind
    tif: Tif
    post_only: bool
    price_ticks: int
    qty_lots: int
    quote_qty_e8: int
    client_id: str
    stp: Stp
    response_type: str
    tag: Tag


def find_pair(pairs: Mapping[str, Pair], params: Mapping[str, str]) -> Pair:
    """Return the pair that is asked for. Raises ApiError."""
    pair = pairs.get(mandatory(params, "symbol"))
    if pair is None:
        raise ApiError(400, -1121, "Invalid symbol.")
    return pair


def read_new_order(pairs: Mapping[str, Pair], params: Mapping[str, str]) -> NewOrder:
    """Return the order that parameters describe. Raises ApiError."""
    only(params, NEW_ORDER_PARAMS)
    pair = find_pair(pairs, params)
    side = SIDES.get(params.get("side", "")) or SIDES[choice(params, "side", SIDES, INVALID_SIDE)]
    order_type = params.get("type", "")
    if order_type not in TYPES:
        choice(params, "type", ALGO_TYPES, INVALID_TYPE)
        raise ApiError(400, -1013, "Filter failure: MAX_NUM_ALGO_ORDERS")
    if not NOT_SIMULATED.isdisjoint(params):
        for name in sorted(NOT_SIMULATED):
            _refuse(params, name)
    tif, post_only, price_ticks, qty_lots, quote_qty_e8 = Tif.GTC, order_type == "LIMIT_MAKER", 0, 0, 0
    if order_type == "MARKET":
        for name in ("price", "timeInForce"):
            _refuse(params, name)
        if "quoteOrderQty" in params:
            _refuse(params, "quantity")
            quote_qty_e8 = decimal_e8(params, "quoteOrderQty")
        else:
            qty_lots = _size(pair, params, "MARKET_LOT_SIZE")
            _check_market_notional(pair, qty_lots)
    else:
        _refuse(params, "quoteOrderQty")
        if post_only:
            _refuse(params, "timeInForce")
        else:
            tif = TIFS.get(params.get("timeInForce", "")) or TIFS[choice(params, "timeInForce", TIFS, INVALID_TIF)]
        price_ticks = pair.ticks(decimal_e8(params, "price"), side)
        qty_lots = _size(pair, params, "LOT_SIZE")
        if pair.instrument.cost_e8(price_ticks, qty_lots) > NOTIONAL_MAX_E8:
            raise ApiError(400, -1013, "Filter failure: NOTIONAL")
    kind = TYPES[order_type]
    response_type = "ACK" if post_only else "FULL"
    if "newOrderRespType" in params:
        response_type = choice(params, "newOrderRespType", RESPONSE_TYPES, INVALID_RESPONSE_TYPE)
    mode = STP_DEFAULT
    if "selfTradePreventionMode" in params:
        mode = STP_MODES[
            choice(params, "selfTradePreventionMode", STP_MODES, (-1130, "Data sent for parameter 'selfTradePreventionMode' is not valid."))
        ]
    return NewOrder(
        pair,
        side,
        kind,
        tif,
        post_only,
        price_ticks,
        qty_lots,
        quote_qty_e8,
        client_id(params, "newClientOrderId"),
        mode,
        response_type,
        Tag(order_type, _strategy(params, "strategyId", 0), _strategy(params, "strategyType", 1_000_000))
        if STRATEGY & params.keys()
        else Tag(order_type),
    )


def multiplier_text(hundredths: int) -> str:
    """Return a multiplier as a filter states it."""
    return f"{Decimal(hundredths) / 100:.4f}".rstrip("0").rstrip(".")


def _size(pair: Pair, params: Mapping[str, str], name: str) -> int:
    lots = pair.lots(decimal_e8(params, "quantity"), "LOT_SIZE")
    if not lots or lots > pair.instrument.qty_max_lots:
        raise ApiError(400, -1013, f"Filter failure: {name}")
    return lots


def _check_market_notional(pair: Pair, qty_lots: int) -> None:
    instrument = pair.instrument
    if pair.reference_ticks and instrument.cost_e8(pair.reference_ticks, qty_lots) < instrument.notional_min_e8:
        raise ApiError(400, -1013, "Filter failure: NOTIONAL")


def _strategy(params: Mapping[str, str], name: str, least: int) -> str:
    if name not in params:
        return ""
    value = integer(params, name)
    if value < least:
        raise ApiError(400, -1130, f"Data sent for parameter '{name}' is not valid.")
    return str(value)


def _refuse(params: Mapping[str, str], name: str) -> None:
    if name in params:
        raise ApiError(400, -1106, f"Parameter '{name}' sent when not required.")
