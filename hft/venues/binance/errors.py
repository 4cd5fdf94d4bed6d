"""Binance errors: what a refusal proves, and why the venue refused.

Only what the venue documents as a refusal proves that an order never lived. Whatever else an error says, or an error that is not
listed here, leaves its order UNKNOWN: somebody asks. So does a duplicate id, because an order of that id does live.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueReason
from hft.units import as_int
from hft.venues.json_bytes import is_text
from hft.venues.symbols import packed
from shm.jit import njit

_K, _R = VenueEventKind, VenueReason

#: Codes of refusals by their engine; the message tells why.
ENGINE_CODES = (-1010, -1013, -2010, -2011, -2038)

#: code -> what it proves, and why unless the message tells
CODES: dict[int, tuple[VenueEventKind, VenueReason]] = {
    -1000: (_K.UNKNOWN, _R.OTHER),
    -1001: (_K.UNKNOWN, _R.VENUE_DOWN),
    -1002: (_K.REJECTED, _R.NO_PERMISSION),
    -1003: (_K.THROTTLED, _R.RATE_LIMIT),
    -1006: (_K.UNKNOWN, _R.TIMEOUT),
    -1007: (_K.UNKNOWN, _R.TIMEOUT),
    -1008: (_K.UNKNOWN, _R.VENUE_DOWN),
    -1010: (_K.UNKNOWN, _R.OTHER),  # A refusal by one of MESSAGES only.
    -1013: (_K.REJECTED, _R.FILTER),
    -1014: (_K.REJECTED, _R.BAD_REQUEST),
    -1015: (_K.THROTTLED, _R.RATE_LIMIT),
    -1016: (_K.UNKNOWN, _R.VENUE_DOWN),
    -1020: (_K.REJECTED, _R.BAD_REQUEST),
    -1021: (_K.REJECTED, _R.CLOCK),
    -1022: (_K.REJECTED, _R.BAD_SIGNATURE),
    **dict.fromkeys((-1100, -1101, -1102, -1103, -1104, -1105, -1106, -1108, -1111), (_K.REJECTED, _R.BAD_REQUEST)),
    **dict.fromkeys((-1114, -1115, -1116, -1117, -1118, -1119, -1128, -1130), (_K.REJECTED, _R.BAD_REQUEST)),
    **dict.fromkeys((-1134, -1135, -1145), (_K.REJECTED, _R.BAD_REQUEST)),
    -1121: (_K.REJECTED, _R.UNKNOWN_SYMBOL),
    -2010: (_K.REJECTED, _R.OTHER),
    -2011: (_K.CANCEL_REJECTED, _R.OTHER),
    -2013: (_K.CANCEL_REJECTED, _R.UNKNOWN_ORDER),
    -2014: (_K.REJECTED, _R.NO_PERMISSION),
    -2015: (_K.REJECTED, _R.NO_PERMISSION),
    -2026: (_K.CANCEL_REJECTED, _R.UNKNOWN_ORDER),
    -2038: (_K.REJECTED, _R.OTHER),
    -2039: (_K.CANCEL_REJECTED, _R.UNKNOWN_ORDER),
}

#: How a refusal's message begins -> why; the first that fits counts.
MESSAGES: dict[str, VenueReason] = {
    "Unknown order sent.": _R.UNKNOWN_ORDER,
    "Duplicate order sent.": _R.DUPLICATE_ID,
    "Market is closed.": _R.MARKET_CLOSED,
    "Account has insufficient balance for requested action.": _R.INSUFFICIENT_BALANCE,
    "Order would immediately match and take.": _R.WOULD_TAKE,
    "Filter failure: MAX_NUM_": _R.ORDER_LIMIT,
    "Filter failure: EXCHANGE_MAX_NUM_": _R.ORDER_LIMIT,
    "Filter failure: ": _R.FILTER,
    "Price * QTY is zero or less.": _R.FILTER,
    "This action is disabled on this account.": _R.NO_PERMISSION,
    "This account may not place or cancel orders.": _R.NO_PERMISSION,
    "This symbol is not permitted for this account.": _R.NO_PERMISSION,
    "This symbol is restricted for this account.": _R.NO_PERMISSION,
    "Market orders are not supported for this symbol.": _R.BAD_REQUEST,
    "Order amend is not supported for this symbol.": _R.BAD_REQUEST,
    "Order cancel-replace is not supported for this symbol.": _R.BAD_REQUEST,
    "Unsupported order combination": _R.BAD_REQUEST,
    "Cancel order is invalid.": _R.BAD_REQUEST,
    "Order was not canceled due to cancel restrictions.": _R.OTHER,
    "Rest API trading is not enabled.": _R.NO_PERMISSION,
    "WebSocket API trading is not enabled.": _R.NO_PERMISSION,
}

#: Words of a report's `r` and `eR` -> why.
REPORT_REASONS: dict[str, VenueReason] = {
    "NONE": _R.NONE,
    "INSUFFICIENT_BALANCES": _R.INSUFFICIENT_BALANCE,
    "WOULD_MATCH_IMMEDIATELY": _R.WOULD_TAKE,
    "UNFILLED_IOC_QUANTITY_EXPIRED": _R.NO_LIQUIDITY,
    "UNFILLED_FOK_ORDER_EXPIRED": _R.NO_LIQUIDITY,
    "INSUFFICIENT_LIQUIDITY": _R.NO_LIQUIDITY,
    "EXECUTION_RULE_PRICE_RANGE_EXCEEDED": _R.FILTER,
    "EXCHANGE_CANCELED": _R.VENUE_DOWN,
}

_UNKNOWN_KIND, _REJECTED = int(_K.UNKNOWN), int(_K.REJECTED)
_OTHER, _DUPLICATE_ID = int(_R.OTHER), int(_R.DUPLICATE_ID)
_MESSAGE_BYTES_MAX = 64
_ENGINE_ERROR = -1010


class Errors(NamedTuple):
    """The tables above as arrays; made by `new_errors`."""

    codes: NDArray[Any]  #: int64[codes, (code, VenueEventKind, VenueReason)]
    messages: NDArray[Any]  #: uint8[messages, longest]
    sizes: NDArray[Any]  #: int64[messages]
    reasons: NDArray[Any]  #: int64[messages]


def new_errors() -> Errors:
    """The tables for `classify`."""
    codes = np.array([(code, int(kind), int(reason)) for code, (kind, reason) in CODES.items()], np.int64)
    texts, sizes = packed([text.encode() for text in MESSAGES], _MESSAGE_BYTES_MAX)
    return Errors(codes, texts, sizes, np.array([int(reason) for reason in MESSAGES.values()], np.int64))


@njit
def classify(errors: Errors, code: int, data: NDArray[Any], start: int, end: int) -> tuple[int, int]:
    """What an error of this code, with the message `data[start:end]`, means: (VenueEventKind, VenueReason)."""
    kind, reason = as_int(_UNKNOWN_KIND), as_int(_OTHER)
    for i in range(len(errors.codes)):
        if errors.codes[i, 0] == code:
            kind, reason = errors.codes[i, 1], errors.codes[i, 2]
    if not _is_engine_code(code):
        return kind, reason
    for i in range(len(errors.sizes)):
        size = errors.sizes[i]
        if start + size <= end and is_text(data, start, start + size, errors.messages[i, :size]):
            if errors.reasons[i] == _DUPLICATE_ID:
                return as_int(_UNKNOWN_KIND), errors.reasons[i]
            return as_int(_REJECTED) if code == _ENGINE_ERROR else kind, errors.reasons[i]
    return kind, reason


@njit
def _is_engine_code(code: int) -> bool:
    for known in ENGINE_CODES:
        if code == known:
            return True
    return False
