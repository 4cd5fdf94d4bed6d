"""Kraken errors: what a refusal proves, and why the venue refused.

Errors are texts, `EOrder:Insufficient funds`, with details behind them. Only what the venue documents as a refusal proves that a request
did nothing; whatever else an error says leaves the order UNKNOWN, so does a duplicate id: an order of that id does live.
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

#: How an error begins -> what it proves of a new order, and why; the first that fits counts.
TEXTS: dict[str, tuple[VenueEventKind, VenueReason]] = {
    "EOrder:Insufficient funds": (_K.REJECTED, _R.INSUFFICIENT_BALANCE),
    "EOrder:Order minimum not met": (_K.REJECTED, _R.FILTER),
    "EOrder:Cost minimum not met": (_K.REJECTED, _R.FILTER),
    "EOrder:Tick size check failed": (_K.REJECTED, _R.FILTER),
    "EOrder:Invalid price": (_K.REJECTED, _R.FILTER),
    "EOrder:Rate limit exceeded": (_K.THROTTLED, _R.RATE_LIMIT),
    "EOrder:Domain rate limit exceeded": (_K.THROTTLED, _R.RATE_LIMIT),
    "EOrder:Orders limit exceeded": (_K.REJECTED, _R.ORDER_LIMIT),
    "EOrder:Post only order": (_K.REJECTED, _R.WOULD_TAKE),
    "EOrder:Unknown order": (_K.CANCEL_REJECTED, _R.UNKNOWN_ORDER),
    "EOrder:Duplicate": (_K.UNKNOWN, _R.DUPLICATE_ID),
    "EGeneral:Invalid arguments": (_K.REJECTED, _R.BAD_REQUEST),
    "EGeneral:Permission denied": (_K.REJECTED, _R.NO_PERMISSION),
    "EGeneral:Temporary lockout": (_K.THROTTLED, _R.RATE_LIMIT),
    "EAPI:Invalid key": (_K.REJECTED, _R.NO_PERMISSION),
    "EAPI:Invalid signature": (_K.REJECTED, _R.BAD_SIGNATURE),
    "EAPI:Invalid nonce": (_K.REJECTED, _R.CLOCK),
    "EAPI:Rate limit exceeded": (_K.THROTTLED, _R.RATE_LIMIT),
    "ESession:Invalid session": (_K.REJECTED, _R.NO_PERMISSION),
    "EService:Market in": (_K.REJECTED, _R.MARKET_CLOSED),
    "EService:Deadline elapsed": (_K.REJECTED, _R.EXPIRED_REQUEST),
    "EService:": (_K.UNKNOWN, _R.VENUE_DOWN),
    "EQuery:Unknown asset pair": (_K.REJECTED, _R.UNKNOWN_SYMBOL),
}

_UNKNOWN, _OTHER = int(_K.UNKNOWN), int(_R.OTHER)
_TEXT_BYTES_MAX = 64


class Errors(NamedTuple):
    """The table above as arrays; made by `new_errors`."""

    texts: NDArray[Any]  #: uint8[texts, _TEXT_BYTES_MAX]
    sizes: NDArray[Any]  #: int64[texts]
    meanings: NDArray[Any]  #: int64[texts, (VenueEventKind, VenueReason)]


def new_errors() -> Errors:
    """The table for `classify`."""
    texts, sizes = packed([text.encode() for text in TEXTS], _TEXT_BYTES_MAX)
    return Errors(texts, sizes, np.array([(int(kind), int(reason)) for kind, reason in TEXTS.values()], np.int64))


@njit
def classify(errors: Errors, data: NDArray[Any], start: int, end: int) -> tuple[int, int]:
    """What the error text `data[start:end]` means for a new order: (VenueEventKind, VenueReason)."""
    for i in range(len(errors.sizes)):
        size = errors.sizes[i]
        if start + size <= end and is_text(data, start, start + size, errors.texts[i, :size]):
            return errors.meanings[i, 0], errors.meanings[i, 1]
    return as_int(_UNKNOWN), as_int(_OTHER)
