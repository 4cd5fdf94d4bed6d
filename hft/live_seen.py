"""Seen: remembers which trades were taken, in two generations, so that the newest ones are never forgotten."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

#: Places of one generation, a power of two; at least half as many of the newest trades are remembered.
PLACES = 1 << 14


class Seen(NamedTuple):
    """(instrument, trade id) pairs; made by `new_seen`."""

    table: NDArray[Any]  #: int64 [generation, place, (instrument + 1, trade id)]
    words: NDArray[Any]  #: int64: the newest generation, pairs in it


def new_seen(places: int = PLACES) -> Seen:
    """Nothing seen. `places` is a power of two."""
    if places < 2 or places & (places - 1):
        raise ValueError(f"places must be a power of two, was {places}")
    return Seen(np.zeros((2, places, 2), np.int64), np.zeros(2, np.int64))


@njit
def is_new(seen: Seen, instrument: int, trade_id: int) -> bool:
    """Whether this trade was not taken before; it is from here on."""
    newest = seen.words[0]
    place = _place(seen, newest, instrument, trade_id)
    if place < 0 or _place(seen, 1 - newest, instrument, trade_id) < 0:
        return False
    seen.table[newest, place, 0] = instrument + 1
    seen.table[newest, place, 1] = trade_id
    seen.words[1] += 1
    if seen.words[1] >= seen.table.shape[1] >> 1:
        seen.words[0] = 1 - newest
        seen.words[1] = 0
        seen.table[1 - newest, :, :] = 0
    return True


@njit
def was_seen(seen: Seen, instrument: int, trade_id: int) -> bool:
    """Whether this trade was taken before."""
    newest = seen.words[0]
    return _place(seen, newest, instrument, trade_id) < 0 or _place(seen, 1 - newest, instrument, trade_id) < 0


@njit
def _place(seen: Seen, generation: int, instrument: int, trade_id: int) -> int:
    """The free place where the pair belongs, or -1 if it is there."""
    mask = seen.table.shape[1] - 1
    # Of 63 bits, as ids of some venues have, the product would not fit.
    place = (((trade_id ^ (trade_id >> 15)) & 0xFFFFFFFF) * 31 + instrument * 40503) & mask
    while seen.table[generation, place, 0] != 0:
        if seen.table[generation, place, 0] == instrument + 1 and seen.table[generation, place, 1] == trade_id:
            return -1
        place = (place + 1) & mask
    return place
