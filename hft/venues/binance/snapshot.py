"""Binance snapshot: the REST depth reply, which is JSON whatever the encoding of the streams, and brings a book into step."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from hft.counters import FeedCounter
from hft.venues.binance.scan import SNAPSHOT, scan_snapshot
from hft.venues.binance.sync import SyncFeed, take_snapshot
from hft.venues.binance.tables import Found, Scanner
from hft.venues.book_feed import SYNCED, WANTS_SYNC
from shm.counters import add
from shm.jit import njit

_LAST_FOUND, _RECORDS = int(Found.LAST_ID), int(Found.RECORDS)


class ScanningFeed(SyncFeed, Protocol):
    """A feed that reads JSON."""

    @property
    def scanner(self) -> Scanner:
        """Of the snapshots, and of all else that is JSON."""


@njit
def on_snapshot(feed: ScanningFeed, instrument: int, data: NDArray[Any], start: int, end: int, now_ns: int, out: NDArray[Any]) -> int:
    """Take a REST depth reply; the whole book if the instrument is SYNCED by it, else 0 and WANTS_SYNC says what is next."""
    state, found = feed.state[instrument], feed.scanner.found
    if state[SYNCED] != 0:
        return 0
    if scan_snapshot(feed.scanner, instrument, data, start, end, now_ns, out) != SNAPSHOT:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        state[WANTS_SYNC] = 1
        return 0
    return take_snapshot(feed, instrument, found[_LAST_FOUND], now_ns, out, found[_RECORDS])
