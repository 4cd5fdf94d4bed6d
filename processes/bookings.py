"""Bookings: which trades at a venue need no booking: those that are booked, and those of before the session, which begins flat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hft.journal import JournalWriter
from hft.live_seen import Seen, is_new, was_seen
from hft.orders import id_epoch
from hft.records import JournalKind
from processes.recovery import REMEMBERED, Trade, VenuePast


class Bookings:
    """Of one execution at a venue."""

    def __init__(self) -> None:
        #: What the session's earlier epochs left; this one's, once the session has begun.
        self.past = VenuePast(False, [])
        #: The session's first epoch, in a later one; 0 in that itself.
        self.since_epoch = 0
        self._seen: Seen | None = None
        self._before: list[Trade] = []  #: trades that the venue told of, while the session has not begun

    def session(self) -> dict[str, Any]:
        """What a later epoch must know, for a SESSION entry."""
        return {"begun": self.past.begun, "trades": self.past.trades}

    def follow(self, seen: Seen) -> None:
        """Keep to what execution has taken, in its table; what is known of the past is taken, too."""
        self._seen = seen
        for row, trade_id in self.past.trades:
            is_new(seen, row, trade_id)

    def warm(self) -> None:
        """Run every kernel that this calls, on a table that is never used."""
        assert self._seen is not None
        is_new(self._seen, 0, 0)
        was_seen(self._seen, 0, 0)
        id_epoch(0)

    def is_booked(self, row: int, trade_id: int) -> bool:
        """Whether a trade needs no booking. In a session's first epoch none does until it begins, and each is noted."""
        assert self._seen is not None
        if not self.past.begun:
            self._before.append((row, trade_id))
        begins = not self.past.begun and not self.since_epoch
        return begins or bool(was_seen(self._seen, row, trade_id))

    def begin(self, journal: JournalWriter, fills: Iterable[Any]) -> list[Any]:
        """The venue has told what was traded, VENUE_EVENT rows `fills`; those that are to be booked.

        If the session has not begun, the others came before it, and no epoch books them. A later epoch finds that where a loss of power
        took the journal that said so: then fills are the session's whose orders are.
        """
        assert self._seen is not None
        if self.past.begun:
            return list(fills)
        ours = [fill for fill in fills if self.since_epoch and int(id_epoch(int(fill["order_id"]))) >= self.since_epoch]
        booked = {(int(fill["instrument"]), int(fill["trade_id"])) for fill in ours}
        before = [trade for trade in dict.fromkeys(self._before) if trade not in booked]
        self.past = VenuePast(True, [*self.past.trades, *before][-REMEMBERED:])
        self.follow(self._seen)
        journal.append_json(JournalKind.HISTORY, before[-REMEMBERED:])
        return ours
