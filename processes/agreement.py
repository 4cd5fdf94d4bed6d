"""Agreement: whether a venue and our ledger say the same of the account; as long as they do not, its instruments may only be reduced.

Orders that earlier epochs left are being canceled: they are looked for again, and those that stay are a difference too.

Asked when all that the venue told is booked. What one answer contradicts is asked again at once, because a fill may lie between its parts;
what two contradict is a difference: it is logged, shown by `hftctl status`, and asked about again and again until both agree, or until
somebody has armed: then the venue's balances are taken as they are, and count from there.
"""

from __future__ import annotations

from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

from numpy.typing import NDArray

from hft import control
from hft.holdings import Balances, Difference, balances_of, began_with, changes, differences
from hft.tables import Tables
from hft.venues.interface import Snapshot
from processes.logs import log
from shm.atomics import store_release

#: The first pause between two questions while both differ; it doubles up to the last.
_FIRST_PAUSE_NS, _LAST_PAUSE_NS = 1_000_000_000, 16_000_000_000
_OWN_PAUSE_NS = 100_000_000
#: After this long orders that are being canceled should be gone.
_LEFT_PAUSE_NS = 1_000_000_000
_AT_ONCE_NS = 1
_ADVICE = "mend the account, or take it as it is: hftctl arm, or begin flat: hftctl start --new-session"


class Agreement:
    """Follows one venue through the life of its execution stage."""

    def __init__(self, venue: str, venue_row: int, rows: list[int], tables: Tables) -> None:
        self.began: Balances | None = None  #: what the account had when the session began; None until the venue has said it
        self.news = False  #: whether `began` is another than before, to be journaled by whoever takes this back
        self.words: Any = None  #: control words
        self._venue, self._venue_row, self._rows, self._tables = venue, venue_row, rows, tables
        self._now: Balances = {}
        self._left = self._foreign = 0
        self._stayed = 0  #: of the orders that are left, those that were at the look before too: canceled, but not gone
        self._failed = 0  #: comparisons in a row that found something
        self.agrees = False  #: whether the last comparison found nothing

    @property
    def differs(self) -> bool:
        """Whether instruments here may only be reduced for it."""
        return bool(self.words[control.venue_differs(self._venue_row)])

    @property
    def settled(self) -> bool:
        """Whether the venue need not be asked again: nothing differs, and no order that is being canceled was there at the last look."""
        return not self.differs and not self._left

    def take(self, snapshot: Snapshot, followed: set[int]) -> None:
        """Take what the venue holds; `followed`: client ids of the orders whose fills are booked here, adopted ones among them."""
        self._now = balances_of(snapshot.balances)
        clients = [int(event["order_id"]) for event in snapshot.open_orders]
        left = sum(client > 0 and client not in followed for client in clients)
        self._left, self._stayed = left, min(left, self._left)
        self._foreign = sum(client <= 0 for client in clients)

    def judge(self, positions: NDArray[Any]) -> int:
        """Compare what was taken with the firm's POSITION rows; after how many ns to ask the venue again, 0 if that is not needed."""
        changed = changes(positions, self._tables.instrument_rows, self._rows, self._tables.assets)
        if self.began is None:
            if self._left:
                return _OWN_PAUSE_NS  # An order that another session left may still be filled, and is being canceled.
            self._begin(began_with(self._now, changed))
        assert self.began is not None
        found = differences(self.began, self._now, changed)
        accept = control.venue_accept(self._venue_row)
        if found and self.words[accept]:
            log("balances taken as they are", venue=self._venue, assets={one.asset: _text(one.venue - one.ledger) for one in found})
            self._begin(began_with(self._now, changed))
            found = []
        self.words[accept] = 0
        self.agrees = not found and not self._foreign and not self._stayed
        if self.agrees:
            self._agree()
            return _LEFT_PAUSE_NS if self._left else 0
        self._failed += 1
        if self._failed == 1:
            return _AT_ONCE_NS
        self._differ(found)
        return int(min(_FIRST_PAUSE_NS << min(self._failed - 2, 8), _LAST_PAUSE_NS))

    def _begin(self, began: Balances) -> None:
        self.began, self.news = began, True
        self.say_balances()

    def say_balances(self) -> None:
        """Tell risk what the account had when the session began, if that is known."""
        if self.began is None:
            return
        for row in self._rows:
            for which, column in enumerate(("base_asset", "quote_asset")):
                asset = self._tables.assets[int(self._tables.instrument_rows[row][column])]
                self.words[control.balance(row) + which] = _e8(self.began.get(asset, Decimal(0)), ROUND_FLOOR)
        word = control.venue_balances(self._venue_row)
        # SYNC balances: pairs with load_acquire in risk's _take_balances(). Whoever sees the count finds the balances.
        store_release(self.words, word, int(self.words[word]) + 1)

    def _agree(self) -> None:
        self._failed = 0
        if self.differs:
            log("ledger and venue agree again", venue=self._venue)
            self._say([], 0)

    def _differ(self, found: list[Difference]) -> None:
        before = self._said()
        self._say(found, len(found) + self._foreign + self._stayed)
        if self._said() == before:
            return
        for one in found:
            name = self._tables.instruments[one.row]
            what = {"instrument": name, "asset": one.asset, "ledger": _text(one.ledger), "venue_says": _text(one.venue)}
            log("ledger and venue differ: reduce-only", venue=self._venue, **what, advice=_ADVICE)
        if self._foreign:
            log(
                "orders of others at the account: reduce-only",
                venue=self._venue,
                open_orders=self._foreign,
                advice="cancel them at the venue",
            )
        if self._stayed:
            log("canceled orders are still open: reduce-only, canceled again", venue=self._venue, open_orders=self._stayed)

    def _said(self) -> list[int]:
        words = [control.venue_differs(self._venue_row)]
        words += [control.difference(row) + k for row in self._rows for k in range(control.DIFFERENCE_WORDS)]
        return [int(self.words[word]) for word in words]

    def _say(self, found: list[Difference], count: int) -> None:
        """Set the shared words; that something differs stands for itself, what it is only people read."""
        # SYNC differs: pairs with load_acquire in observe() of risk and strategies.
        self.words[control.venue_differs(self._venue_row)] = count
        for row in self._rows:
            at = control.difference(row)
            self.words[at : at + control.DIFFERENCE_WORDS] = 0
        for one in found:
            at = control.difference(one.row) + 2 * one.is_quote
            self.words[at], self.words[at + 1] = _e8(one.ledger), _e8(one.venue)


def _text(amount: Decimal) -> str:
    return f"{amount:f}"


def _e8(amount: Decimal, rounding: str = ROUND_HALF_EVEN) -> int:
    """In units of 1e-8, as far as a word has room."""
    return max(-(2**63) + 1, min(2**63 - 1, int(amount.scaleb(8).to_integral_value(rounding))))
