"""Market state: applies MARKET records to books and their validity, the same in every consumer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.book import Books, book_at, clear, set_level
from hft.records import MarketFlag, MarketKind, Side
from hft.units import as_int
from shm.jit import njit

_LEVEL, _RESET = int(MarketKind.LEVEL), int(MarketKind.RESET)
_VALID, _INVALID = int(MarketKind.VALID), int(MarketKind.INVALID)
_BID = int(MarketFlag.BID)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


@njit
def apply_market(books: Books, valid: NDArray[np.int64], markets: NDArray[Any], i: int) -> int:
    """Apply the MARKET record `markets[i]`; return 0 or the book's code, and then the book is invalid until the next VALID."""
    kind = markets[i]["kind"]
    instrument = as_int(markets[i]["instrument"])
    if kind == _LEVEL:
        side = _BUY if markets[i]["flags"] & _BID else _SELL
        code = set_level(book_at(books, instrument), side, markets[i]["price_ticks"], markets[i]["qty_lots"])
        if code != 0:
            valid[instrument] = 0
        return code
    if kind == _RESET:
        clear(book_at(books, instrument))
        valid[instrument] = 0
    elif kind == _VALID:
        valid[instrument] = 1
    elif kind == _INVALID:
        valid[instrument] = 0
    return 0
