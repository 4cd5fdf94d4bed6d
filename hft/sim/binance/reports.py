"""Orders, fills and events of the exchange as the venue's JSON text.

`unit_ns` is what times count: a millisecond, or a microsecond for those who ask.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from hft.sim.exchange.records import E8, Account, Event, EventKind, Fill, Instrument, Kind, Order, OrderStatus, Reason, Stp, Tif

ZERO = "0.00000000"
TEXTS_KEPT = 50_000
TYPES = {"LIMIT": Kind.LIMIT, "LIMIT_MAKER": Kind.LIMIT, "MARKET": Kind.MARKET}
STP_NAMES = {
    Stp.NONE: "NONE",
    Stp.EXPIRE_TAKER: "EXPIRE_TAKER",
    Stp.EXPIRE_MAKER: "EXPIRE_MAKER",
    Stp.EXPIRE_BOTH: "EXPIRE_BOTH",
    Stp.DECREMENT: "DECREMENT",
}
TIF_NAMES = {Tif.GTC: "GTC", Tif.IOC: "IOC", Tif.FOK: "FOK"}
EXPIRY_REASONS = {
    Reason.IOC: "UNFILLED_IOC_QUANTITY_EXPIRED",
    Reason.FOK: "UNFILLED_FOK_ORDER_EXPIRED",
    Reason.NO_LIQUIDITY: "INSUFFICIENT_LIQUIDITY",
    Reason.VENUE: "EXCHANGE_CANCELED",
}


class Tag:
    """What the venue keeps with an order besides what the exchange does."""

    __slots__ = ("amends", "order_type", "strategy_id", "strategy_type")

    def __init__(self, order_type: str, strategy_id: str = "", strategy_type: str = "") -> None:
        self.order_type, self.strategy_id, self.strategy_type = order_type, strategy_id, strategy_type
        self.amends = 0


class Named(NamedTuple):
    """Client ids of a request that ends or changes an order: its own, and the one the order had."""

    client_id: str
    orig_client_id: str


@lru_cache(TEXTS_KEPT)
def text8(amount_e8: int) -> str:
    """Return a non-negative amount with 8 places. The same prices and sizes come again and again."""
    return f"{amount_e8 // E8}.{amount_e8 % E8:08d}"


def price_text(instrument: Instrument, ticks: int) -> str:
    """Return a price with 8 places."""
    return text8(ticks * instrument.tick_e8)


def qty_text(instrument: Instrument, lots: int) -> str:
    """Return a size with 8 places."""
    return text8(lots * instrument.lot_e8)


def status_text(order: Order) -> str:
    """Return an order's status."""
    if order.status is OrderStatus.OPEN:
        return "PARTIALLY_FILLED" if order.cum_lots else "NEW"
    if order.status is OrderStatus.EXPIRED:
        return "EXPIRED_IN_MATCH" if order.reason is Reason.STP else "EXPIRED"
    return order.status.name


def ack_text(order: Order, unit_ns: int) -> str:
    """Return the members of an ACK, without braces."""
    return (
        f'"symbol":"{order.instrument.symbol}","orderId":{order.order_id},"orderListId":-1,'
        f'"clientOrderId":"{order.client_id}","transactTime":{order.created_ns // unit_ns}'
    )


def placed_text(order: Order, unit_ns: int, response_type: str) -> str:
    """Return the answer to a new order: ACK, RESULT or FULL."""
    if response_type == "ACK":
        return f"{{{ack_text(order, unit_ns)}}}"
    fills = f',"fills":[{",".join(map(_fill_text, order.fills))}]' if response_type == "FULL" else ""
    return f'{{{ack_text(order, unit_ns)},{_state_text(order)},"workingTime":{order.created_ns // unit_ns},{_modes_text(order)}{fills}}}'


def canceled_text(order: Order, names: Named, unit_ns: int) -> str:
    """Return the answer to a cancel."""
    return (
        f'{{"symbol":"{order.instrument.symbol}","origClientOrderId":"{names.orig_client_id}","orderId":{order.order_id},'
        f'"orderListId":-1,"clientOrderId":"{names.client_id}","transactTime":{order.updated_ns // unit_ns},'
        f"{_state_text(order)},{_modes_text(order)}}}"
    )


def amended_text(order: Order, names: Named, execution_id: int, unit_ns: int) -> str:
    """Return the answer to an amendment."""
    instrument = order.instrument
    return (
        f'{{"transactTime":{order.updated_ns // unit_ns},"executionId":{execution_id},"amendedOrder":{{"symbol":"{instrument.symbol}",'
        f'"orderId":{order.order_id},"orderListId":-1,"origClientOrderId":"{names.orig_client_id}",'
        f'"clientOrderId":"{names.client_id}","price":"{price_text(instrument, order.price_ticks)}",'
        f'"qty":"{qty_text(instrument, order.qty_lots)}","executedQty":"{qty_text(instrument, order.cum_lots)}",'
        f'"preventedQty":"{qty_text(instrument, order.prevented_lots)}","quoteOrderQty":"{ZERO}",'
        f'"cumulativeQuoteQty":"{text8(order.cum_quote_e8)}","status":"{status_text(order)}",'
        f'"timeInForce":"{TIF_NAMES[order.tif]}","type":"{_type(order)}","side":"{_side(order)}",'
        f'"workingTime":{order.created_ns // unit_ns},"selfTradePreventionMode":"{STP_NAMES[order.stp]}"}}}}'
    )


def order_text(order: Order, unit_ns: int) -> str:
    """Return an order as queries give it."""
    working = "true" if order.status is OrderStatus.OPEN or order.cum_lots or order.status is OrderStatus.CANCELED else "false"
    return (
        f'{{"symbol":"{order.instrument.symbol}","orderId":{order.order_id},"orderListId":-1,"clientOrderId":"{order.client_id}",'
        f'{_state_text(order)},"stopPrice":"{ZERO}","icebergQty":"{ZERO}","time":{order.created_ns // unit_ns},'
        f'"updateTime":{order.updated_ns // unit_ns},"isWorking":{working},"workingTime":{order.created_ns // unit_ns},{_modes_text(order)}}}'
    )


def trade_text(fill: Fill, unit_ns: int) -> str:
    """Return a fill as `myTrades` gives it."""
    order = fill.order
    return (
        f'{{"symbol":"{order.instrument.symbol}","id":{fill.trade_id},"orderId":{order.order_id},"orderListId":-1,'
        f'"price":"{price_text(order.instrument, fill.price_ticks)}","qty":"{qty_text(order.instrument, fill.qty_lots)}",'
        f'"quoteQty":"{text8(fill.cost_e8)}","commission":"{text8(fill.fee_e8)}","commissionAsset":"{fill.fee_asset}",'
        f'"time":{fill.at_ns // unit_ns},"isBuyer":{_bool(order.side > 0)},"isMaker":{_bool(fill.maker)},"isBestMatch":true}}'
    )


def execution_report(event: Event, unit_ns: int) -> str:
    """Return an `executionReport` for an event of an order."""
    order, fill = event.order, event.fill
    assert order is not None
    instrument = order.instrument
    execution, status = _execution(event)
    client_id, orig_client_id = order.client_id, ""
    if isinstance(event.note, Named):
        client_id, orig_client_id = event.note
    at = event.at_ns // unit_ns
    last = last_price = last_quote = ZERO
    fee, asset, trade_id = "0", "null", -1
    if fill is not None:
        last, last_price = qty_text(instrument, fill.qty_lots), price_text(instrument, fill.price_ticks)
        last_quote, fee, asset, trade_id = text8(fill.cost_e8), text8(fill.fee_e8), f'"{fill.fee_asset}"', fill.trade_id
    working = event.kind is EventKind.ACCEPTED or not event.done and order.kind is Kind.LIMIT and order.tif is Tif.GTC
    quantity, price = text8(event.qty_lots * instrument.lot_e8), text8(event.price_ticks * instrument.tick_e8)
    filled = text8(event.cum_lots * instrument.lot_e8) if event.cum_lots else ZERO
    created = order.created_ns // unit_ns
    return (
        f'{{"e":"executionReport","E":{at},"s":"{instrument.symbol}","c":"{client_id}","S":"{_side(order)}","o":"{_type(order)}",'
        f'"f":"{TIF_NAMES[order.tif]}","q":"{quantity}","p":"{price}",'
        f'"P":"{ZERO}","F":"{ZERO}","g":-1,"C":"{orig_client_id}","x":"{execution}","X":"{status}","r":"NONE","i":{order.order_id},'
        f'"l":"{last}","z":"{filled}","L":"{last_price}","n":"{fee}","N":{asset},"T":{at},'
        f'"t":{trade_id},"I":{event.number},"w":{"true" if working else "false"},'
        f'"m":{_bool(fill is not None and fill.maker)},"M":false,"O":{created},'
        f'"Z":"{text8(event.cum_quote_e8)}","Y":"{last_quote}","Q":"{text8(order.quote_qty_e8)}",'
        f'"W":{created},"V":"{STP_NAMES[order.stp]}"{_extras(event, order)}}}'
    )


def account_position(event: Event, unit_ns: int) -> str:
    """Return an `outboundAccountPosition` for an event of balances."""
    at = event.at_ns // unit_ns
    balances = ",".join(f'{{"a":"{asset}","f":"{text8(free)}","l":"{text8(hold)}"}}' for asset, (free, hold) in event.balances.items())
    return f'{{"e":"outboundAccountPosition","E":{at},"u":{at},"B":[{balances}]}}'


def account_text(account: Account, can_trade: bool, utc_ns: int, unit_ns: int, omit_zero: bool, uid: int) -> str:
    """Return balances and rates as `account.status` gives them."""
    balances = ",".join(
        f'{{"asset":"{asset}","free":"{text8(free)}","locked":"{text8(account.hold[asset])}"}}'
        for asset, free in account.free.items()
        if free or account.hold[asset] or not omit_zero
    )
    maker, taker = account.maker_rate_e8, account.taker_rate_e8
    return (
        f'{{"makerCommission":{maker // 10_000},"takerCommission":{taker // 10_000},"buyerCommission":0,"sellerCommission":0,'
        f'"commissionRates":{{"maker":"{text8(maker)}","taker":"{text8(taker)}","buyer":"{ZERO}","seller":"{ZERO}"}},'
        f'"canTrade":{_bool(can_trade)},"canWithdraw":false,"canDeposit":false,"brokered":false,"requireSelfTradePrevention":false,'
        f'"preventSor":false,"updateTime":{utc_ns // unit_ns},"accountType":"SPOT","balances":[{balances}],"permissions":["SPOT"],"uid":{uid}}}'
    )


def _state_text(order: Order) -> str:
    instrument = order.instrument
    return (
        f'"price":"{price_text(instrument, order.price_ticks)}","origQty":"{qty_text(instrument, order.qty_lots)}",'
        f'"executedQty":"{qty_text(instrument, order.cum_lots)}","origQuoteOrderQty":"{text8(order.quote_qty_e8)}",'
        f'"cummulativeQuoteQty":"{text8(order.cum_quote_e8)}","status":"{status_text(order)}","timeInForce":"{TIF_NAMES[order.tif]}",'
        f'"type":"{_type(order)}","side":"{_side(order)}"'
    )


def _modes_text(order: Order) -> str:
    text = f'"selfTradePreventionMode":"{STP_NAMES[order.stp]}"'
    if order.prevented_lots:
        text += f',"preventedQuantity":"{qty_text(order.instrument, order.prevented_lots)}"'
    if order.status is OrderStatus.EXPIRED and order.reason in EXPIRY_REASONS:
        text += f',"expiryReason":"{EXPIRY_REASONS[order.reason]}"'
    tag = order.tag
    assert isinstance(tag, Tag)
    if tag.strategy_id:
        text += f',"strategyId":{tag.strategy_id}'
    if tag.strategy_type:
        text += f',"strategyType":{tag.strategy_type}'
    return text


def _fill_text(fill: Fill) -> str:
    instrument = fill.order.instrument
    return (
        f'{{"price":"{price_text(instrument, fill.price_ticks)}","qty":"{qty_text(instrument, fill.qty_lots)}",'
        f'"commission":"{text8(fill.fee_e8)}","commissionAsset":"{fill.fee_asset}","tradeId":{fill.trade_id}}}'
    )


def _execution(event: Event) -> tuple[str, str]:
    """Return execution type and order status."""
    if event.kind is EventKind.ACCEPTED:
        return "NEW", "NEW"
    if event.kind is EventKind.CANCELED:
        return "CANCELED", "CANCELED"
    if event.kind is EventKind.EXPIRED:
        return ("TRADE_PREVENTION", "EXPIRED_IN_MATCH") if event.reason is Reason.STP else ("EXPIRED", "EXPIRED")
    status = "PARTIALLY_FILLED" if event.cum_lots else "NEW"
    if event.kind is EventKind.TRADED:
        return "TRADE", "FILLED" if event.done else status
    return ("REPLACED" if event.kind is EventKind.AMENDED else "TRADE_PREVENTION"), status


def _extras(event: Event, order: Order) -> str:
    text = ""
    tag = order.tag
    assert isinstance(tag, Tag)
    if event.prevented_lots:
        text = f',"A":"{qty_text(order.instrument, event.prevented_lots)}"'
    if event.kind is EventKind.EXPIRED and event.reason in EXPIRY_REASONS:
        text += f',"eR":"{EXPIRY_REASONS[event.reason]}"'
    if tag.strategy_id:
        text += f',"j":{tag.strategy_id}'
    if tag.strategy_type:
        text += f',"J":{tag.strategy_type}'
    return text


def _type(order: Order) -> str:
    tag = order.tag
    assert isinstance(tag, Tag)
    return tag.order_type


def _side(order: Order) -> str:
    return "BUY" if order.side > 0 else "SELL"


def _bool(value: bool) -> str:
    return "true" if value else "false"
