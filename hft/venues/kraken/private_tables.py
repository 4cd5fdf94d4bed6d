"""Kraken private tables: the words of replies and of `executions`, and what a codec remembers of its own requests.

Short executions (`new`, `canceled`, `filled`) name the order only, neither pair nor terms; and an amendment leaves the order its ids. So
the codec remembers the pair of each of our living orders and what was filled of it, and the terms of the newest amendments.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueReason
from hft.venues.kraken.errors import Errors
from hft.venues.members import Words, new_words
from hft.venues.symbols import packed
from shm.jit import njit

#: Names of members; their numbers.
KEYS = (
    *("exec_type", "order_id", "cl_ord_id", "symbol", "side", "order_qty", "limit_price", "cum_qty", "order_status", "timestamp"),
    *("exec_id", "last_qty", "last_price", "liquidity_ind", "fees", "reason", "ratecount", "asset", "qty"),
    *("channel", "type", "data", "sequence", "method", "success", "error", "result", "req_id"),
)
EXEC_TYPE, ORDER_ID, CLIENT_ID, SYMBOL, SIDE, ORDER_QTY, LIMIT_PRICE, CUM_QTY, ORDER_STATUS, TIMESTAMP = range(10)
EXEC_ID, LAST_QTY, LAST_PRICE, LIQUIDITY, FEES, REASON, RATE_COUNT, ASSET, QTY = range(10, 19)
CHANNEL, TYPE, DATA, SEQUENCE, METHOD, SUCCESS, ERROR, RESULT, REQUEST = range(19, 28)

#: Texts of values that are read; their numbers.
VALUES = (
    *("pending_new", "new", "trade", "filled", "iceberg_refill", "canceled", "expired", "amended", "restated", "status"),
    *("partially_filled", "buy", "sell", "m", "t", "executions", "balances", "heartbeat", "snapshot", "update"),
    *("add_order", "amend_order", "cancel_order"),
)
PENDING_NEW, NEW, TRADE, FILLED, ICEBERG_REFILL, CANCELED, EXPIRED, AMENDED, RESTATED, STATUS = range(10)
PARTIALLY_FILLED, BUY, SELL, MAKER, TAKER, EXECUTIONS, BALANCES, HEARTBEAT, SNAPSHOT, UPDATE = range(10, 20)
ADD_ORDER, AMEND_ORDER, CANCEL_ORDER = range(20, 23)

_K, _R = VenueEventKind, VenueReason

#: How the reason of an order's end begins -> what the end is called, and why; what is not here is CANCELED for OTHER.
END_REASONS = {
    "User requested": (_K.CANCELED, _R.NONE),
    "Order expired": (_K.EXPIRED, _R.NONE),
    "Immediate or cancel": (_K.EXPIRED, _R.NO_LIQUIDITY),
    "Fill or kill": (_K.EXPIRED, _R.NO_LIQUIDITY),
    "No liquidity": (_K.EXPIRED, _R.NO_LIQUIDITY),
    "Self trade prevention": (_K.CANCELED, _R.SELF_TRADE),
    "Post only order": (_K.CANCELED, _R.WOULD_TAKE),
}

#: Living orders of ours that are remembered: sets by id, and orders of one set.
SETS, WAYS = 1024, 4
#: Newest amendments that are remembered, a power of two.
AMENDS = 256
# Columns of PrivateTables.amends.
AMEND_ID, AMEND_WIRE, AMEND_TICKS, AMEND_LOTS, AMEND_ROW = range(5)

# Cells of PrivateTables.words.
EXECUTIONS_SEQUENCE, BALANCES_SEQUENCE = 0, 1  #: the last one seen; 0 before the first of a connection
LOST_MESSAGES = 2  #: messages missing in a sequence on this connection: connect anew, and reconcile
NEWEST_FILL_NS = 3  #: the venue's time of the newest fill that was told


class PrivateTables(NamedTuple):
    """The words, and what is remembered; one a codec."""

    keys: Words
    values: Words
    assets: Words
    asset_rows: NDArray[Any]  #: int64 [instrument, (number of the quote asset, of the base asset)]
    ends: Errors  #: END_REASONS
    places: NDArray[Any]  #: int64 [3, key]: offsets of values at the top, in a row, in a row's fee
    living: NDArray[Any]  #: int64 [set, way, (wire id, instrument row, lots filled)]; wire id 0 is a free place
    amends: NDArray[Any]  #: int64 [AMENDS, column], at the place of the request's id
    words: NDArray[Any]  #: int64, see the cells above


def new_private_tables(instruments: int, symbols: Sequence[str], rows: Sequence[int]) -> PrivateTables:
    """Tables for `symbols`, `base/quote` as on the wire, at `rows` of a table of so many instruments."""
    names = [symbol.partition("/")[::2] for symbol in symbols]
    assets = list(dict.fromkeys(name for pair in names for name in pair)) or [""]
    asset_rows = np.full((instruments, 2), -2, np.int64)
    for row, (base, quote) in zip(rows, names, strict=True):
        asset_rows[row] = assets.index(quote), assets.index(base)
    texts, sizes = packed([text.encode() for text in END_REASONS], 64)
    return PrivateTables(
        keys=new_words(KEYS),
        values=new_words(VALUES),
        assets=new_words(assets),
        asset_rows=asset_rows,
        ends=Errors(texts, sizes, np.array([(int(kind), int(reason)) for kind, reason in END_REASONS.values()], np.int64)),
        places=np.full((3, len(KEYS)), -1, np.int64),
        living=np.zeros((SETS, WAYS, 3), np.int64),
        amends=np.zeros((AMENDS, 5), np.int64),
        words=np.zeros(8, np.int64),
    )


@njit
def remember(living: NDArray[Any], wire_id: int, row: int) -> None:
    """Remember the instrument row of an order; in a full set the one with the lowest id gives way."""
    places = living[(wire_id ^ (wire_id >> 32)) & (SETS - 1)]
    chosen = 0
    for k in range(WAYS):
        if places[k, 0] == wire_id or places[k, 0] == 0:
            chosen = k
            break
        if places[k, 0] < places[chosen, 0]:
            chosen = k
    if places[chosen, 0] != wire_id:
        places[chosen, 2] = 0
    places[chosen, 0] = wire_id
    places[chosen, 1] = row


@njit
def note_filled(living: NDArray[Any], wire_id: int, cum_lots: int) -> None:
    """Remember how much of an order was filled in all, if the order is remembered."""
    places = living[(wire_id ^ (wire_id >> 32)) & (SETS - 1)]
    for k in range(WAYS):
        if wire_id != 0 and places[k, 0] == wire_id and cum_lots > places[k, 2]:
            places[k, 2] = cum_lots


@njit
def filled_of(living: NDArray[Any], wire_id: int) -> int:
    """How much of an order was filled, as far as that was told."""
    places = living[(wire_id ^ (wire_id >> 32)) & (SETS - 1)]
    for k in range(WAYS):
        if wire_id != 0 and places[k, 0] == wire_id:
            return places[k, 2]
    return 0


@njit
def row_of(living: NDArray[Any], wire_id: int) -> int:
    """Instrument row of an order that is remembered, or -1."""
    places = living[(wire_id ^ (wire_id >> 32)) & (SETS - 1)]
    for k in range(WAYS):
        if wire_id != 0 and places[k, 0] == wire_id:
            return places[k, 1]
    return -1


@njit
def forget(living: NDArray[Any], wire_id: int) -> None:
    """The order has ended; its place is free. Later places of the set move up, so that free ones stay last."""
    places = living[(wire_id ^ (wire_id >> 32)) & (SETS - 1)]
    for k in range(WAYS):
        if wire_id != 0 and places[k, 0] == wire_id:
            for later in range(k, WAYS - 1):
                places[later, 0] = places[later + 1, 0]
                places[later, 1] = places[later + 1, 1]
                places[later, 2] = places[later + 1, 2]
            places[WAYS - 1, 0] = 0
            return


@njit
def note_amend(amends: NDArray[Any], request_id: int, wire_id: int, price_ticks: int, qty_lots: int, row: int) -> None:
    """Remember what an amendment asks for; `qty_lots` is the whole size, what was filled before included."""
    amend = amends[request_id & (AMENDS - 1)]
    amend[AMEND_ID] = request_id
    amend[AMEND_WIRE] = wire_id
    amend[AMEND_TICKS] = price_ticks
    amend[AMEND_LOTS] = qty_lots
    amend[AMEND_ROW] = row


@njit
def amend_place(amends: NDArray[Any], request_id: int) -> int:
    """Place of an amendment by its request's id, or -1."""
    place = request_id & (AMENDS - 1)
    return place if request_id > 0 and amends[place, AMEND_ID] == request_id else -1


@njit
def amend_of_terms(amends: NDArray[Any], wire_id: int, price_ticks: int, qty_lots: int) -> int:
    """Id of the newest amendment of an order if it asked for exactly these terms, else 0."""
    newest = 0
    for k in range(AMENDS):
        if amends[k, AMEND_WIRE] == wire_id and amends[k, AMEND_ID] > newest:
            newest = amends[k, AMEND_ID]
    place = amend_place(amends, newest)
    if place < 0 or amends[place, AMEND_TICKS] != price_ticks or amends[place, AMEND_LOTS] != qty_lots:
        return 0
    return newest
