"""Coinbase errors: what the venue's refusals mean, and which of its answers prove that an order never lived.

A refusal is `{"message":"..."}` with a status of 400, 401, 403 or 404: the request was turned away before the matching engine. A 429 was
not looked at. Everything else, a 5xx, no answer, a page of HTML, may hide an order that lives: it is UNKNOWN.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueReason
from hft.venues.json_bytes import byte_at
from hft.venues.symbols import packed
from shm.jit import njit

#: Parts of refusals, in lower case, the more telling ones first, and what they mean.
TEXTS = (
    ("insufficient", VenueReason.INSUFFICIENT_BALANCE),
    ("rate limit", VenueReason.RATE_LIMIT),
    ("post only mode", VenueReason.MARKET_CLOSED),
    ("limit only", VenueReason.MARKET_CLOSED),
    ("cancel only", VenueReason.MARKET_CLOSED),
    ("trading disabled", VenueReason.MARKET_CLOSED),
    ("trading is disabled", VenueReason.MARKET_CLOSED),
    ("auction mode", VenueReason.MARKET_CLOSED),
    ("would match", VenueReason.WOULD_TAKE),
    ("would take", VenueReason.WOULD_TAKE),
    ("immediately match", VenueReason.WOULD_TAKE),
    ("post only", VenueReason.WOULD_TAKE),
    ("self trade", VenueReason.SELF_TRADE),
    ("already exists", VenueReason.DUPLICATE_ID),
    ("duplicate", VenueReason.DUPLICATE_ID),
    ("open orders", VenueReason.ORDER_LIMIT),
    ("too small", VenueReason.FILTER),
    ("too large", VenueReason.FILTER),
    ("too accurate", VenueReason.FILTER),
    ("too precise", VenueReason.FILTER),
    ("minimum", VenueReason.FILTER),
    ("order not found", VenueReason.UNKNOWN_ORDER),
    ("ordernotfound", VenueReason.UNKNOWN_ORDER),
    ("already done", VenueReason.UNKNOWN_ORDER),
    ("product not found", VenueReason.UNKNOWN_SYMBOL),
    ("notfound", VenueReason.UNKNOWN_ORDER),
    ("product", VenueReason.UNKNOWN_SYMBOL),
    ("timestamp", VenueReason.CLOCK),
    ("signature", VenueReason.BAD_SIGNATURE),
    ("api key", VenueReason.NO_PERMISSION),
    ("passphrase", VenueReason.NO_PERMISSION),
    ("forbidden", VenueReason.NO_PERMISSION),
    ("permission", VenueReason.NO_PERMISSION),
    ("invalid", VenueReason.BAD_REQUEST),
)

_PATTERNS, _SIZES = packed([text.encode() for text, _ in TEXTS], max(len(text) for text, _ in TEXTS))
_REASONS = tuple(int(reason) for _, reason in TEXTS)

#: The venue's numbers of `cancel_reason` in a `done`, and how the order ended.
_EXPIRED, _CANCELED = int(VenueEventKind.EXPIRED), int(VenueEventKind.CANCELED)
CANCEL_REASONS_FROM, CANCEL_REASONS_TO = 101, 109
_CANCEL_KINDS = (_EXPIRED, _CANCELED, _CANCELED, _EXPIRED, _CANCELED, _EXPIRED, _CANCELED, _CANCELED, _EXPIRED)
_CANCEL_MEANS = tuple(
    int(reason)
    for reason in (
        VenueReason.NO_LIQUIDITY,  # Time In Force: the rest of an IOC or FOK
        VenueReason.SELF_TRADE,
        VenueReason.OTHER,  # Admin
        VenueReason.FILTER,  # Price Bound Order Protection
        VenueReason.INSUFFICIENT_BALANCE,
        VenueReason.NO_LIQUIDITY,  # Insufficient Liquidity
        VenueReason.OTHER,  # Broker
        VenueReason.OTHER,
        VenueReason.FILTER,  # High Bid Limit Order Protection
    )
)

_OTHER, _VENUE_DOWN, _TIMEOUT = int(VenueReason.OTHER), int(VenueReason.VENUE_DOWN), int(VenueReason.TIMEOUT)
_NO_PERMISSION, _UNKNOWN_ORDER = int(VenueReason.NO_PERMISSION), int(VenueReason.UNKNOWN_ORDER)


@njit
def _contains(data: NDArray[Any], start: int, end: int, pattern: NDArray[Any], size: int) -> bool:
    """Whether `data[start:end]` has these lower-case letters, in either case."""
    for at in range(start, end - size + 1):
        k = 0
        while k < size:
            byte = byte_at(data, at + k)
            lower = byte + 32 if 65 <= byte <= 90 else byte
            if lower != pattern[k]:
                break
            k += 1
        if k == size:
            return True
    return False


@njit
def reason_of_text(data: NDArray[Any], start: int, end: int) -> int:
    """VenueReason of a refusal's text; OTHER if it is a new one."""
    for i in range(len(_SIZES)):
        if _contains(data, start, end, _PATTERNS[i], _SIZES[i]):
            return _REASONS[i]
    return _OTHER


@njit
def reason_of_unknown(status: int) -> int:
    """VenueReason of an answer that proves nothing."""
    return _TIMEOUT if status == 0 or status == 504 or status == 408 else _VENUE_DOWN


@njit
def is_refusal(status: int) -> bool:
    """Whether a status, with a documented body, proves that the request did nothing."""
    return status == 400 or status == 401 or status == 403 or status == 404


@njit
def end_of_cancel_reason(number: int) -> tuple[int, int]:
    """(VenueEventKind, VenueReason) of a `cancel_reason`'s number; 0 for a cancel without one, which was asked for."""
    if CANCEL_REASONS_FROM <= number <= CANCEL_REASONS_TO:
        return _CANCEL_KINDS[number - CANCEL_REASONS_FROM], _CANCEL_MEANS[number - CANCEL_REASONS_FROM]
    return _CANCELED, _OTHER if number != 0 else 0


def reason_of(text: str) -> VenueReason:
    """`reason_of_text` for cold code."""
    lower = text.lower()
    return next((reason for part, reason in TEXTS if part in lower), VenueReason.OTHER)
