"""Binance private words: the names and words of replies and account events that the private scanner knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import OrderState, VenueEventKind, VenueReason
from hft.venues.binance.errors import REPORT_REASONS
from hft.venues.members import Words, new_words
from hft.venues.symbols import packed

_K = VenueEventKind

#: A message's own members.
ENVELOPE_NAMES = ("id", "status", "result", "error", "rateLimits", "event")
ID, STATUS, RESULT, ERROR, RATE_LIMITS, EVENT = range(len(ENVELOPE_NAMES))

#: Members of results and errors.
RESULT_NAMES = (
    "symbol",
    "orderId",
    "clientOrderId",
    "origClientOrderId",
    "transactTime",
    "price",
    "origQty",
    "executedQty",
    "status",
    "side",
    "qty",
    "code",
    "msg",
    "data",
    "cancelResult",
    "newOrderResult",
    "cancelResponse",
    "newOrderResponse",
    "amendedOrder",
    "serverTime",
    "retryAfter",
)
(
    SYMBOL,
    ORDER_ID,
    CLIENT_ID,
    ORIG_CLIENT_ID,
    TRANSACT_TIME,
    PRICE,
    ORIG_QTY,
    EXECUTED_QTY,
    ORDER_STATUS,
    SIDE,
    QTY,
    CODE,
    MSG,
    DATA,
    CANCEL_RESULT,
    NEW_RESULT,
    CANCEL_RESPONSE,
    NEW_RESPONSE,
    AMENDED,
    SERVER_TIME,
    RETRY_AFTER,
) = range(len(RESULT_NAMES))

#: Members of an executionReport; `e` is of every event.
REPORT_NAMES = ("e", "s", "c", "C", "S", "q", "p", "x", "X", "r", "eR", "i", "l", "z", "L", "n", "N", "T", "t", "m")
(
    R_EVENT,
    R_SYMBOL,
    R_CLIENT,
    R_ORIG_CLIENT,
    R_SIDE,
    R_QTY,
    R_PRICE,
    R_EXECUTION,
    R_STATUS,
    R_REJECT,
    R_EXPIRY,
    R_ORDER_ID,
    R_LAST_QTY,
    R_CUM_QTY,
    R_LAST_PRICE,
    R_FEE,
    R_FEE_ASSET,
    R_TIME,
    R_TRADE_ID,
    R_MAKER,
) = range(len(REPORT_NAMES))

LIMIT_NAMES = ("rateLimitType", "interval", "intervalNum", "limit", "count")
LIMIT_TYPE, LIMIT_INTERVAL, LIMIT_INTERVAL_NUM, LIMIT_LIMIT, LIMIT_COUNT = range(len(LIMIT_NAMES))
LIMIT_TYPES = ("REQUEST_WEIGHT", "RAW_REQUESTS", "ORDERS")
INTERVALS = ("SECOND", "MINUTE", "HOUR", "DAY")
INTERVAL_S = (1, 60, 3600, 86_400)

EVENTS = ("executionReport", "serverShutdown", "eventStreamTerminated")
EXECUTION_REPORT, SERVER_SHUTDOWN, STREAM_TERMINATED = range(len(EVENTS))

#: Execution types, in the order of the binary encoding up to EXPIRED.
EXECUTIONS = ("NEW", "CANCELED", "REPLACED", "REJECTED", "TRADE", "EXPIRED", "TRADE_PREVENTION")
X_NEW, X_CANCELED, X_REPLACED, X_REJECTED, X_TRADE, X_EXPIRED, X_PREVENTION = range(len(EXECUTIONS))
EXECUTION_KINDS = tuple(int(k) for k in (_K.ACK, _K.CANCELED, _K.AMENDED, _K.REJECTED, _K.TRADE, _K.EXPIRED, _K.CANCELED))

#: Order states at the venue, as OrderState and as what a reply that names them says.
STATUSES: dict[str, tuple[OrderState, VenueEventKind]] = {
    "NEW": (OrderState.NEW, _K.ACK),
    "PENDING_NEW": (OrderState.NEW, _K.ACK),
    "PARTIALLY_FILLED": (OrderState.PARTIALLY_FILLED, _K.ACK),
    "FILLED": (OrderState.FILLED, _K.ACK),
    "CANCELED": (OrderState.CANCELED, _K.CANCELED),
    "PENDING_CANCEL": (OrderState.PENDING_CANCEL, _K.ACK),
    "REJECTED": (OrderState.REJECTED, _K.REJECTED),
    "EXPIRED": (OrderState.EXPIRED, _K.EXPIRED),
    "EXPIRED_IN_MATCH": (OrderState.CANCELED, _K.CANCELED),
}
STATUS_KINDS = tuple(int(kind) for _, kind in STATUSES.values())
EXPIRED_IN_MATCH = list(STATUSES).index("EXPIRED_IN_MATCH")

RESULTS = ("SUCCESS", "FAILURE", "NOT_ATTEMPTED")
SUCCESS, FAILURE, NOT_ATTEMPTED = range(len(RESULTS))

REASONS = tuple(int(reason) for reason in REPORT_REASONS.values())
OTHER_REASON = int(VenueReason.OTHER)

ASSET_BYTES_MAX = 32


class PrivateWords(NamedTuple):
    """Words by number, scratch for where members are, and the assets of each instrument."""

    envelope: Words
    results: Words
    report: Words
    limit: Words
    limit_types: Words
    intervals: Words
    events: Words
    executions: Words
    statuses: Words
    sides: Words
    outcomes: Words
    reasons: Words
    places: NDArray[Any]  #: int64 [5, members]: offsets in the message, result, its parts, report, limit
    assets: NDArray[Any]  #: uint8 [instrument, 0 base | 1 quote, ASSET_BYTES_MAX]
    asset_bytes: NDArray[Any]  #: int64 [instrument, 2]


# Rows of PrivateWords.places.
P_MESSAGE, P_RESULT, P_PART, P_REPORT, P_LIMIT = range(5)


def new_private_words(instruments: NDArray[Any], assets: Sequence[str]) -> PrivateWords:
    """The tables; `assets` are the names of the asset table that INSTRUMENT rows point into."""
    names = [asset.encode() for asset in assets]
    texts, sizes = np.zeros((max(1, len(instruments)), 2, ASSET_BYTES_MAX), np.uint8), np.zeros((max(1, len(instruments)), 2), np.int64)
    table, table_sizes = packed(names, ASSET_BYTES_MAX)
    for row in range(len(instruments) if names else 0):
        for side, field in enumerate(("base_asset", "quote_asset")):
            texts[row, side] = table[instruments[row][field]]
            sizes[row, side] = table_sizes[instruments[row][field]]
    return PrivateWords(
        envelope=new_words(ENVELOPE_NAMES),
        results=new_words(RESULT_NAMES),
        report=new_words(REPORT_NAMES),
        limit=new_words(LIMIT_NAMES),
        limit_types=new_words(LIMIT_TYPES),
        intervals=new_words(INTERVALS),
        events=new_words(EVENTS),
        executions=new_words(EXECUTIONS),
        statuses=new_words(tuple(STATUSES)),
        sides=new_words(("BUY", "SELL")),
        outcomes=new_words(RESULTS),
        reasons=new_words(tuple(REPORT_REASONS)),
        places=np.zeros((5, len(RESULT_NAMES)), np.int64),
        assets=texts,
        asset_bytes=sizes,
    )
