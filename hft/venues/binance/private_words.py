"""Binance private words: the names and words of replies and account events that the private scanner knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import OrderState, VenueEventKind, VenueReason
from hft.venues.binance.errors import REPORT_REASONS, Errors
from hft.venues.members import Words
from hft.venues.symbols import Symbols, packed
from shm.jit import njit

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


#: Lists of words, by number.
L_ENVELOPE, L_RESULT, L_REPORT, L_LIMIT, L_LIMIT_TYPE, L_INTERVAL, L_EVENT, L_EXECUTION, L_STATUS, L_SIDE, L_OUTCOME, L_REASON = range(12)
_LISTS: tuple[tuple[str, ...], ...] = (
    ENVELOPE_NAMES,
    RESULT_NAMES,
    REPORT_NAMES,
    LIMIT_NAMES,
    LIMIT_TYPES,
    INTERVALS,
    EVENTS,
    EXECUTIONS,
    tuple(STATUSES),
    ("BUY", "SELL"),
    RESULTS,
    tuple(REPORT_REASONS),
)


class PrivateWords(NamedTuple):
    """Lists of words, scratch for where members are, and the assets of each instrument."""

    texts: NDArray[Any]  #: uint8 [list, word, longest]
    sizes: NDArray[Any]  #: int64 [list, word]; -1 past the last word of a list
    places: NDArray[Any]  #: int64 [5, words]: offsets in the message, result, its parts, report, limit
    assets: NDArray[Any]  #: uint8 [instrument, 0 base | 1 quote, ASSET_BYTES_MAX]
    asset_bytes: NDArray[Any]  #: int64 [instrument, 2]


class Reader(NamedTuple):
    """What of a codec is needed to read: a part, because a kernel's arguments are all of its arrays."""

    instruments: NDArray[Any]
    symbols: Symbols
    words: PrivateWords
    asked: NDArray[Any]
    limits: NDArray[Any]
    errors: Errors


# Rows of PrivateWords.places.
P_MESSAGE, P_RESULT, P_PART, P_REPORT, P_LIMIT = range(5)


def new_private_words(instruments: NDArray[Any], assets: Sequence[str]) -> PrivateWords:
    """The tables; `assets` are the names of the asset table that INSTRUMENT rows point into."""
    words, longest = max(map(len, _LISTS)), max(len(word) for words in _LISTS for word in words)
    texts, sizes = np.zeros((len(_LISTS), words, longest), np.uint8), np.full((len(_LISTS), words), -1, np.int64)
    for number, names in enumerate(_LISTS):
        texts[number, : len(names)], sizes[number, : len(names)] = packed([name.encode() for name in names], longest)
    count = max(1, len(instruments))
    asset_texts, asset_bytes = np.zeros((count, 2, ASSET_BYTES_MAX), np.uint8), np.zeros((count, 2), np.int64)
    table, table_sizes = packed([asset.encode() for asset in assets], ASSET_BYTES_MAX)
    for row in range(len(instruments) if assets else 0):
        for side, field in enumerate(("base_asset", "quote_asset")):
            asset_texts[row, side] = table[instruments[row][field]]
            asset_bytes[row, side] = table_sizes[instruments[row][field]]
    return PrivateWords(texts, sizes, np.zeros((5, words), np.int64), asset_texts, asset_bytes)


@njit
def list_of(words: PrivateWords, number: int) -> Words:
    """One list of words."""
    return Words(words.texts[number], words.sizes[number])
