"""Records: every fixed-layout record and enum of the engine, defined once.

From these come field access in kernels (`slots[i]["price_ticks"]`), views in Python, `docs/records.md`, and
`LAYOUT_ID`, which every segment and journal carries and every attach compares.

Use item access, never attribute access: only item access also runs as plain Python. Integers that take part in
arithmetic are int64; narrower fields hold ids, flags and saturated deltas only.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum, IntFlag
from typing import NamedTuple

import numpy as np


class Record(NamedTuple):
    """A record's name, dtype and the meaning of each field, in layout order."""

    name: str
    dtype: np.dtype
    fields: tuple[tuple[str, str, str], ...]
    doc: str


#: name -> Record, in the order of definition.
RECORDS: dict[str, Record] = {}


def record(name: str, size_bytes: int, doc: str, *fields: tuple[str, str, str]) -> np.dtype:
    """Define a record; raise at import when its size is wrong or the compiler would have to pad it."""
    dtype = np.dtype([(field, form) for field, form, _ in fields], align=True)
    used_bytes = sum(dtype[field].itemsize for field, _, _ in fields)
    if dtype.itemsize != size_bytes or used_bytes != size_bytes:
        raise AssertionError(f"{name}: declared {size_bytes} bytes, fields use {used_bytes}, aligned size is {dtype.itemsize}")
    RECORDS[name] = Record(name, dtype, tuple(fields), doc)
    return dtype


class Side(IntEnum):
    """Direction of an order or level, usable as a sign."""

    BUY = 1
    SELL = -1


class MarketKind(IntEnum):
    """What a MARKET record says."""

    LEVEL = 1  #: a price level's new absolute size; 0 lots removes it
    TRADE = 2  #: a public trade
    TOP = 3  #: the feed's best bid and ask after the event; closes every book event
    QUOTE = 4  #: the venue's own best bid and ask (Binance `bookTicker`), ahead of the diff stream
    RESET = 5  #: forget the book; LEVEL records of a whole book follow
    VALID = 6  #: the book may be used from here
    INVALID = 7  #: the book may not be used until VALID; `venue_id` holds the InvalidReason
    CLOCK = 8  #: `exchange_ns` is CLOCK_REALTIME at `received_ns`, and `venue_id` how many ns the venue's clock is behind it


class MarketFlag(IntFlag):
    """Bits of MARKET.flags."""

    LAST = 1  #: the event is complete; decide now
    BID = 2  #: LEVEL: a bid. TRADE: the aggressor bought
    LOST = 4  #: RESET, and the TOP that ends it: records were dropped for this consumer before, and the book is no news


class InvalidReason(IntEnum):
    """Why a book is invalid."""

    NEVER_SYNCED = 1001
    GAP = 1002
    CROSSED = 1003
    SILENT = 1004
    DISCONNECTED = 1005
    MALFORMED = 1006
    OVERRUN = 1007
    CHECKSUM = 1008
    BOOK_FULL = 1009


MARKET = record(
    "MARKET",
    64,
    "One step of a market-data event; feed -> strategy, risk, execution, portfolio.",
    ("received_ns", "<i8", "CLOCK_MONOTONIC when the frame left the socket."),
    ("exchange_ns", "<i8", "Venue time of the event, UTC; 0 if the message has none."),
    ("venue_id", "<i8", "Last update id of a book event, trade id of a TRADE, InvalidReason of INVALID, ns of a CLOCK."),
    ("price_ticks", "<i8", "LEVEL, TRADE: price. TOP, QUOTE: best bid price, 0 if none."),
    ("qty_lots", "<i8", "LEVEL: new size, 0 removes. TRADE: size. TOP, QUOTE: best bid size."),
    ("ask_ticks", "<i8", "TOP, QUOTE: best ask price, 0 if none; else 0."),
    ("ask_lots", "<i8", "TOP, QUOTE: best ask size; else 0."),
    ("decode_ns", "<i4", "Nanoseconds from received_ns to decoded, saturated."),
    ("instrument", "<i2", "Row in the instrument table."),
    ("kind", "i1", "MarketKind."),
    ("flags", "i1", "MarketFlag bits."),
)


class IntentKind(IntEnum):
    """What a strategy asks for."""

    NEW = 1
    CANCEL = 2
    REPLACE = 3  #: cancel ref_order_id, then place this one; never more than one of them can fill in full
    CANCEL_ALL = 4  #: every working order of the strategy in the instrument


class TimeInForce(IntEnum):
    """How long an order works."""

    GTC = 1
    IOC = 2
    FOK = 3


class OrderFlag(IntFlag):
    """Bits of INTENT.flags and ORDER.flags."""

    POST_ONLY = 1
    REDUCE_ONLY = 2
    FROM_MARKET = 4  #: decided on a market event, so received_ns..sent_ns is a wire-to-wire latency


INTENT_FIELDS = (
    ("order_id", "<i8", "epoch (23 bits) | strategy (8) | counter (32); unique for ever."),
    ("ref_order_id", "<i8", "CANCEL, REPLACE: the order meant; else 0."),
    ("price_ticks", "<i8", "Limit price."),
    ("qty_lots", "<i8", "Size, positive."),
    ("received_ns", "<i8", "received_ns of the event decided on."),
    ("decoded_ns", "<i8", "When that event was decoded."),
    ("decided_ns", "<i8", "When the strategy decided."),
    ("kind", "<i4", "IntentKind."),
    ("strategy", "<i4", "Row in the strategy table."),
    ("instrument", "<i4", "Row in the instrument table."),
    ("side", "<i4", "Side."),
    ("tif", "<i4", "TimeInForce."),
    ("flags", "<i4", "OrderFlag bits."),
)

INTENT = record("INTENT", 128, "A strategy's wish; strategy -> risk.", *INTENT_FIELDS, ("reserved", "(6,)<i8", "Zero."))

ORDER = record(
    "ORDER",
    128,
    "An approved instruction; risk -> execution. Only risk can make one.",
    *INTENT_FIELDS,
    ("approved_ns", "<i8", "When risk approved."),
    ("sent_ns", "<i8", "When the last byte was handed to the socket; 0 until then. Filled by execution."),
    ("reserved", "(4,)<i8", "Zero."),
)


class OrderState(IntEnum):
    """FIX OrdStatus (39) by name, with the states before the venue's first word."""

    NONE = 0
    PENDING_NEW = 1  #: approved or sent; no word from the venue yet
    NEW = 2
    PARTIALLY_FILLED = 3
    PENDING_CANCEL = 4
    UNKNOWN = 5  #: sent, outcome not known; full exposure until the venue proves otherwise
    FILLED = 6
    CANCELED = 7
    EXPIRED = 8
    REJECTED = 9


class ReportKind(IntEnum):
    """FIX ExecType (150) by name, and the engine's own refusals."""

    ACK = 1  #: New
    TRADE = 2
    CANCELED = 3
    EXPIRED = 4
    REJECTED = 5  #: by the venue
    CANCEL_REJECTED = 6
    REFUSED = 7  #: by risk: never sent; reason is a RiskCode
    NOT_SENT = 8  #: approved, proven not to have left
    UNKNOWN = 9
    PENDING_CANCEL = 10
    BUSTED = 11  #: reserved for a venue's trade break


class Liquidity(IntEnum):
    """Which side of a trade we were."""

    NONE = 0
    MAKER = 1
    TAKER = 2


REPORT = record(
    "REPORT",
    192,
    "What became of an order; execution or risk -> strategy, risk, portfolio.",
    ("order_id", "<i8", "The order meant."),
    ("ref_order_id", "<i8", "REPLACE: the order replaced; CANCEL_REJECTED: the cancel's own id; else 0."),
    ("price_ticks", "<i8", "The order's limit price."),
    ("qty_lots", "<i8", "The order's size."),
    ("cum_lots", "<i8", "Filled so far, this report included."),
    ("leaves_lots", "<i8", "Still working after this report."),
    ("last_price_ticks", "<i8", "TRADE: price of this fill."),
    ("last_lots", "<i8", "TRADE: size of this fill."),
    ("fee_e8", "<i8", "TRADE: fee in 1e-8 of fee_asset; negative is a rebate."),
    ("trade_id", "<i8", "TRADE: the venue's id, unique with (venue, account)."),
    ("exchange_ns", "<i8", "Venue time of the event, UTC."),
    ("reported_ns", "<i8", "CLOCK_MONOTONIC when execution made the report."),
    ("received_ns", "<i8", "From the order: the event decided on."),
    ("decided_ns", "<i8", "From the order."),
    ("approved_ns", "<i8", "From the order."),
    ("sent_ns", "<i8", "From the order; 0 if never sent."),
    ("kind", "<i4", "ReportKind."),
    ("state", "<i4", "OrderState after this report."),
    ("reason", "<i4", "RiskCode or ExecutionCode; 0 if none."),
    ("strategy", "<i4", "Row in the strategy table."),
    ("instrument", "<i4", "Row in the instrument table."),
    ("side", "<i4", "Side."),
    ("liquidity", "<i4", "Liquidity."),
    ("fee_asset", "<i4", "FeeAsset."),
    ("reserved", "(4,)<i8", "Zero."),
)


class FeeAsset(IntEnum):
    """What a fee is paid in."""

    QUOTE = 0
    BASE = 1
    OTHER = 2


class RiskCode(IntEnum):
    """Why risk refused, 2000 + the control's number in the catalogue (R040 -> 2040)."""

    OK = 0
    SYSTEM_HALTED = 2001
    REDUCE_ONLY_MODE = 2004
    CANCEL_ONLY_MODE = 2005
    MAX_ORDER_QTY = 2010
    MAX_ORDER_NOTIONAL = 2011
    MIN_QTY_NOTIONAL = 2012
    TICK_LOT = 2013
    NON_FINITE_OR_SIGN = 2014
    PRICE_COLLAR_TOUCH = 2020
    PRICE_COLLAR_REF = 2021
    STALE_BOOK = 2030
    BOOK_INVALID = 2031
    CROSS_VENUE_DIVERGENCE = 2032
    CLOCK_UNSAFE = 2033
    INTENT_STALE = 2034
    LATENCY_BUDGET = 2035
    MAX_POSITION = 2040
    MAX_GROSS = 2041
    MAX_NET = 2042
    CONCENTRATION = 2043
    BALANCE = 2044
    OPEN_ORDERS = 2045
    UNKNOWN_ORDERS = 2046
    ORDER_RATE = 2050
    ORDER_TO_TRADE = 2052
    REPEATED_EXECUTION = 2053
    DUPLICATE_ORDER = 2060
    CLIENT_ID_REUSE = 2061
    SELF_TRADE = 2062
    REJECT_STORM = 2063
    DAILY_LOSS = 2070
    DRAWDOWN = 2071
    LOSS_RATE = 2072
    FILL_RATE_ANOMALY = 2073
    VOLATILITY = 2074
    FEE_SANITY = 2075
    STOP_LOSS = 2076
    INSTRUMENT_NOT_ALLOWED = 2080
    STRATEGY_NOT_APPROVED = 2083
    RING_BACKPRESSURE = 2091
    UNKNOWN_ORDER = 2095  #: a CANCEL or REPLACE of an order that is not working, or a REPLACE on its other side


class ExecutionCode(IntEnum):
    """Why execution ended an order."""

    OK = 0
    KILLED = 3001
    TOO_OLD_AT_SEND = 3002
    POST_ONLY_WOULD_TAKE = 3003
    NO_LIQUIDITY = 3004
    UNKNOWN_ORDER = 3005
    ALREADY_DONE = 3006
    TABLE_FULL = 3007
    BOOK_INVALID = 3008
    SHUTDOWN = 3009
    NOT_CONNECTED = 3010  #: the venue's order entry is not there
    NOT_RECONCILED = 3011  #: connected, but what the venue holds is not yet known
    RATE_LIMITED = 3012  #: by our own count of the venue's limits
    NOT_EXPRESSIBLE = 3013  #: the venue has no such order


class VenueEventKind(IntEnum):
    """What a venue says about an order; each venue's codec makes these from its own messages."""

    ACK = 1  #: the order is live
    TRADE = 2
    CANCELED = 3  #: also a replaced order's end, and self-trade prevention's
    EXPIRED = 4
    REJECTED = 5  #: proof that the new order never lived
    CANCEL_REJECTED = 6  #: the venue has no such open order to cancel or change: it may have filled
    AMENDED = 7  #: price or size changed in place; price_ticks and qty_lots are what holds now
    STATUS = 8  #: answer to a query: state, cum_lots
    NOT_FOUND = 9  #: answer to a query: no such order
    UNKNOWN = 10  #: the venue cannot say what became of the request: a 5xx, a timeout of its own
    THROTTLED = 11  #: the request was refused for its rate, and did nothing


class VenueEventSource(IntEnum):
    """Where a venue event came from; replies and the private stream race each other."""

    REPLY = 1  #: answer to an order request
    STREAM = 2  #: private stream
    QUERY = 3  #: answer to a query, or part of a snapshot


VENUE_EVENT = record(
    "VENUE_EVENT",
    192,
    "One thing a venue said about one order; codec -> execution, within one process.",
    ("order_id", "<i8", "Our id, from the client id in the message; 0 if there is none or it is not ours."),
    ("request_id", "<i8", "Our id of the request that this answers (a cancel's own id, for example); 0 on a stream."),
    ("venue_key", "<i8", "63 bits that stand for the venue's own order id; 0 if the message has none."),
    ("trade_id", "<i8", "TRADE: the venue's trade id, or 63 bits that stand for it; unique with the instrument."),
    ("price_ticks", "<i8", "The order's limit price; 0 if the message does not say."),
    ("qty_lots", "<i8", "The order's size; 0 if the message does not say."),
    ("cum_lots", "<i8", "Filled in all; -1 if the message does not say."),
    ("last_price_ticks", "<i8", "TRADE: price of this fill."),
    ("last_lots", "<i8", "TRADE: size of this fill."),
    ("fee_e8", "<i8", "TRADE: fee in 1e-8 of fee_asset; negative is a rebate."),
    ("exchange_ns", "<i8", "Venue time of the event, UTC; 0 if the message has none."),
    ("received_ns", "<i8", "CLOCK_MONOTONIC when the message left the socket."),
    ("retry_after_ns", "<i8", "THROTTLED: how long to wait; 0 if the venue does not say."),
    ("reason", "<i4", "VenueReason: why, for REJECTED, CANCEL_REJECTED, EXPIRED, CANCELED, THROTTLED, UNKNOWN."),
    ("venue_code", "<i4", "The venue's own error number, for people; 0 if it has none."),
    ("kind", "<i4", "VenueEventKind."),
    ("source", "<i4", "VenueEventSource."),
    ("state", "<i4", "STATUS: OrderState at the venue."),
    ("instrument", "<i4", "Row in the instrument table; -1 if the message does not say."),
    ("side", "<i4", "Side; 0 if the message does not say."),
    ("liquidity", "<i4", "TRADE: Liquidity."),
    ("fee_asset", "<i4", "TRADE: FeeAsset."),
    ("reserved4", "<i4", "Zero."),
    ("reserved", "(6,)<i8", "Zero."),
)


class VenueReason(IntEnum):
    """Why a venue refused or ended something, in the engine's words; a venue's error map makes these from its own."""

    NONE = 0
    OTHER = 4001
    BAD_REQUEST = 4002  #: malformed, unknown parameter, precision
    BAD_SIGNATURE = 4003
    NO_PERMISSION = 4004  #: key invalid, revoked or without the right
    CLOCK = 4005  #: timestamp or nonce outside the venue's window
    FILTER = 4006  #: tick, lot, notional, price band, collar of the venue
    INSUFFICIENT_BALANCE = 4007
    WOULD_TAKE = 4008  #: post-only order that would have traded at once
    DUPLICATE_ID = 4009
    MARKET_CLOSED = 4010  #: symbol halted, cancel-only, post-only mode
    RATE_LIMIT = 4011
    ORDER_LIMIT = 4012  #: too many open orders
    UNKNOWN_ORDER = 4013
    UNKNOWN_SYMBOL = 4014
    NO_LIQUIDITY = 4015  #: IOC or FOK remainder
    SELF_TRADE = 4016
    VENUE_DOWN = 4017  #: overloaded, maintenance
    TIMEOUT = 4018  #: the venue's own back end did not answer in time
    EXPIRED_REQUEST = 4019  #: reached the matching engine after its deadline


class InputKind(IntEnum):
    """What a stage's `work` took in."""

    RECORDS = 1
    TIMER = 2
    CONFIG = 3  #: a limit was to be changed
    KILL = 4
    HALT = 5
    ARM = 6
    REDUCE = 7  #: an instrument's reduce word changed
    BALANCE = 8  #: execution said what the account had of an instrument's base or quote asset


INPUT = record(
    "INPUT",
    64,
    "One thing that one `work` took in; journaled by each deciding stage so that replay can repeat it.",
    ("work", "<i8", "Number of the `work` call that took something in, from 1."),
    ("now_ns", "<i8", "The time that call was given."),
    (
        "first",
        "<i8",
        "RECORDS: first ring sequence taken (0 for the first record ever). REDUCE, BALANCE, CONFIG: the instrument's row; -1 the firm.",
    ),
    (
        "last",
        "<i8",
        "RECORDS: one past the last ring sequence taken. CONFIG: the limit, as the int64 of its record. BALANCE: 0 base, 1 quote.",
    ),
    ("value", "<i8", "KILL, HALT, ARM, REDUCE, BALANCE: the word read; TIMER: the deadline; CONFIG: the limit's new value."),
    ("ring", "<i4", "RECORDS: the ring's number in the topology."),
    ("kind", "<i4", "InputKind."),
    ("by", "<i8", "CONFIG: the name of who asked, 7 letters; else 0."),
    ("approved_by", "<i8", "CONFIG: the name of who approved; 0 if nobody did."),
)

INSTRUMENT = record(
    "INSTRUMENT",
    192,
    "One tradable pair at one venue; the row number is the config's order.",
    ("tick_units", "<i8", "Tick size in 10^-price_decimals."),
    ("lot_units", "<i8", "Lot size in 10^-qty_decimals."),
    ("price_decimals", "<i8", "Digits after the point in which tick_units counts."),
    ("qty_decimals", "<i8", "Digits after the point in which lot_units counts."),
    ("ticklot_num", "<i8", "One tick times one lot = ticklot_num / ticklot_den in 1e-8 quote."),
    ("ticklot_den", "<i8", "See ticklot_num; a power of ten."),
    ("lot_e8_num", "<i8", "One lot = lot_e8_num / lot_e8_den in 1e-8 base."),
    ("lot_e8_den", "<i8", "See lot_e8_num; a power of ten."),
    ("price_ticks_min", "<i8", "Venue filter, inclusive."),
    ("price_ticks_max", "<i8", "Venue filter, inclusive."),
    ("qty_lots_min", "<i8", "Venue filter, inclusive."),
    ("qty_lots_max", "<i8", "Venue filter, inclusive."),
    ("notional_min_e8", "<i8", "Venue filter in 1e-8 quote, inclusive."),
    ("maker_fee_e8", "<i8", "Fee rate in 1e-8: 0.1% = 100000; negative is a rebate."),
    ("taker_fee_e8", "<i8", "Fee rate in 1e-8."),
    ("base_rate_e8", "<i8", "One unit of quote in 1e-8 of the firm's base currency; 0 means none: refuse."),
    ("venue", "<i4", "Row in the venue table."),
    ("base_asset", "<i4", "Row in the asset table."),
    ("quote_asset", "<i4", "Row in the asset table."),
    ("trading", "<i4", "1 if the venue's status allows new orders."),
    ("fee_asset", "<i4", "FeeAsset that paper fills pay in."),
    ("reserved4", "<i4", "Zero."),
    ("reserved", "(5,)<i8", "Zero."),
)


class StopAction(IntEnum):
    """What is done about the positions in an instrument that may only be reduced."""

    HOLD = 1  #: nothing
    CLOSE = 2  #: each strategy's stage closes its own


LIMITS = record(
    "LIMITS",
    128,
    "Hard limits for one instrument. Every one must be set; 0 refuses everything.",
    ("order_qty_max_lots", "<i8", "R010."),
    ("order_notional_max_e8", "<i8", "R011, in 1e-8 quote."),
    ("position_max_lots", "<i8", "R040: |position + all same-side working|."),
    ("open_orders_max", "<i8", "R045."),
    ("collar_passive_bp", "<i8", "R020: how far on the passive side of its own best, in basis points."),
    ("collar_through_bp", "<i8", "R020: how far through the opposite best, in basis points."),
    ("book_age_max_ns", "<i8", "R030: now - received_ns of the newest book event."),
    ("duplicate_window_ns", "<i8", "R060."),
    ("move_max_bp", "<i8", "R074: range of the mid within the window, in basis points of its lowest."),
    ("move_window_ns", "<i8", "R074."),
    ("stop_loss_bp", "<i8", "R076: unrealised loss of a strategy's position, in basis points of its cost."),
    ("stop_action", "<i8", "StopAction."),
    ("divergence_max_bp", "<i8", "R032: difference of the mid from the same pair's at other venues, in basis points of the lower one."),
    ("closed_pause_ns", "<i8", "R005: how long nothing is sent after the venue said that the market is closed."),
    ("reference_max_bp", "<i8", "R021: how far beyond a reference that is not its own book, in basis points of that."),
    ("reference_window_ns", "<i8", "R021: over how long the last trades are averaged."),
)

FIRM_LIMITS = record(
    "FIRM_LIMITS",
    256,
    "Hard limits over all instruments and strategies.",
    ("gross_max_e8", "<i8", "R041: sum of worst-case |position| at mid, in 1e-8 of the base currency."),
    ("daily_loss_max_e8", "<i8", "R070: realised + unrealised - fees since the session began, positive number."),
    ("intent_age_max_ns", "<i8", "R034: now - decided_ns."),
    ("send_age_max_ns", "<i8", "Execution's recheck of approved_ns at send."),
    ("strategy_rate_per_s", "<i8", "R050: token bucket of one strategy; refill a second and depth."),
    ("firm_rate_per_s", "<i8", "R050: token bucket of the firm."),
    ("fills_max", "<i8", "R053: fills of one strategy within fills_window_ns."),
    ("fills_window_ns", "<i8", "R053."),
    ("rejects_max", "<i8", "R063: venue rejects of one strategy within rejects_window_ns."),
    ("rejects_window_ns", "<i8", "R063."),
    ("drawdown_max_e8", "<i8", "R071: P&L below its peak, in 1e-8 of the base currency."),
    ("loss_rate_max_e8", "<i8", "R072: P&L below its highest within loss_rate_window_ns, in 1e-8 of the base currency."),
    ("loss_rate_window_ns", "<i8", "R072."),
    ("unknown_orders_max", "<i8", "R046: orders at one venue of which it is not known what became of them."),
    ("net_max_e8", "<i8", "R042: |sum of the worst signed positions|, long or short, at mid, in 1e-8 of the base currency."),
    ("concentration_max_percent", "<i8", "R043: gross of one base asset, in percent of gross_max_e8."),
    ("late_after_ns", "<i8", "R035: from received_ns of the event decided on to risk; what takes longer is late."),
    ("late_max", "<i8", "R035: late intents of one strategy within late_window_ns."),
    ("late_window_ns", "<i8", "R035."),
    ("clock_offset_max_ns", "<i8", "R033: how far a venue's clock may be from ours; R030 by the venue's time allows as much more."),
    ("messages_per_fill_max", "<i8", "R052: orders, replacements and cancels of one strategy for each of its fills in the window."),
    ("messages_window_ns", "<i8", "R052."),
    ("fee_max_percent", "<i8", "R075: fee of a fill in percent of the schedule's."),
    ("filled_expected_e8", "<i8", "R073: what a strategy is filled for in the window at the least, in 1e-8 of the base currency."),
    ("filled_max_percent", "<i8", "R073: what it is filled for, in percent of what is usual or, if that is more, expected."),
    ("filled_window_ns", "<i8", "R073."),
    ("reserved", "(6,)<i8", "Zero."),
)

POSITION = record(
    "POSITION",
    256,
    "Position and P&L of one strategy (or of the firm) in one instrument; average cost, net of nothing.",
    ("position_lots", "<i8", "Signed."),
    ("cash_ticklots", "<i8", "Exact cash of all trades in tick-lots: sells add, buys subtract."),
    ("cost_e8", "<i8", "Signed cost of the open position in 1e-8 quote."),
    ("realised_e8", "<i8", "Realised P&L in 1e-8 quote, before fees."),
    ("unrealised_e8", "<i8", "At mark_ticks, in 1e-8 quote."),
    ("fees_quote_e8", "<i8", "Fees paid in the quote asset."),
    ("fees_base_e8", "<i8", "Fees paid in the base asset; they also change base_fee_lots_e8."),
    ("fees_other_e8", "<i8", "Fees paid in any other asset."),
    ("turnover_e8", "<i8", "Sum of |notional| in 1e-8 quote."),
    ("notional_remainder", "<i8", "Numerator left by tick-lot -> 1e-8 division, carried to the next fill."),
    ("cost_remainder", "<i8", "Numerator over 2^32 left by the last division of cost, carried."),
    ("bought_lots", "<i8", "Sum of buys."),
    ("sold_lots", "<i8", "Sum of sells."),
    ("fills", "<i8", "Number of fills."),
    ("mark_ticks_x2", "<i8", "bid + ask of the mark: twice the mid, so that it is exact; 0 if none."),
    ("mark_received_ns", "<i8", "received_ns of the mark."),
    ("working_buy_lots", "<i8", "Sum of leaves of working and unknown buys."),
    ("working_sell_lots", "<i8", "Sum of leaves of working and unknown sells."),
    ("last_fill_ns", "<i8", "reported_ns of the newest fill."),
    ("instrument", "<i4", "Row in the instrument table."),
    ("strategy", "<i4", "Row in the strategy table; -1 is the firm."),
    ("base_fee_remainder", "<i8", "Base-asset fees less the whole lots taken for them, so not above 0, in 1e-8 base / lot_e8_den."),
    ("reserved", "(11,)<i8", "Zero."),
)

WORKING = record(
    "WORKING",
    128,
    "One order that is not terminal, in the open-order table of strategy, risk, execution or portfolio.",
    ("order_id", "<i8", "0 marks a free slot."),
    ("ref_order_id", "<i8", "The order this one replaces while that is still open; else 0."),
    ("price_ticks", "<i8", "Limit price."),
    ("qty_lots", "<i8", "Size."),
    ("cum_lots", "<i8", "Filled."),
    ("leaves_lots", "<i8", "Counts against limits in full while not terminal."),
    ("decided_ns", "<i8", "When decided."),
    ("sent_ns", "<i8", "When sent."),
    ("changed_ns", "<i8", "When the state last changed."),
    ("state", "<i4", "OrderState."),
    ("strategy", "<i4", "Row in the strategy table."),
    ("instrument", "<i4", "Row in the instrument table."),
    ("side", "<i4", "Side."),
    ("tif", "<i4", "TimeInForce."),
    ("flags", "<i4", "OrderFlag bits."),
    ("reserved", "(4,)<i8", "Zero."),
)


class JournalKind(IntEnum):
    """What a journal entry's payload is."""

    SESSION = 1  #: JSON: epoch, stage, instruments, strategies, config hash, clock offset
    MARKET = 2  #: one or more MARKET records; `aux` is the bitmask of the feed's rings they went to
    INPUT = 3
    INTENT = 4
    VERDICT = 5  #: REPORT of kind REFUSED
    ORDER = 6
    SENDING = 7  #: ORDER about to be handed to the venue
    REPORT = 8
    POSITION = 9
    END = 10  #: JSON: why the writer closed
    VENUE_EVENT = 11  #: what a venue said, before it is acted on
    HISTORY = 12  #: JSON: trades at a venue from before the session, as [instrument row, trade id]; none of them is booked
    BALANCES = 13  #: JSON: what the account at a venue had of each asset when the session began, as decimal text


def _layout_id() -> int:
    def line(r: Record) -> str:
        offsets = r.dtype.fields
        assert offsets is not None
        return f"{r.name}:{r.dtype.itemsize}:" + ",".join(f"{f} {form} {offsets[f][1]}" for f, form, _ in r.fields)

    text = ";".join(line(r) for r in RECORDS.values())
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


#: Hash of every layout above; 63 bits, so that it fits an int64 word.
LAYOUT_ID = _layout_id()
