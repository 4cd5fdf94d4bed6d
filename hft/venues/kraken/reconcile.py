"""Kraken reconciliation: what the venue holds of the account, gathered from REST answers into one snapshot.

The private stream begins with open orders and the newest 50 fills. Where those reach back far enough, only BalanceEx is asked, which
says what orders hold; else OpenOrders and TradesHistory (newest first, 50 an answer) too. Trade ids here are 62 bits of the venue's
own and have no order, so fills are asked for back to a time; whoever takes them knows which are new. Fills name the venue's id of
their order: open orders say whose that is, and the others that are not booked are asked for, 50 at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.venues.interface import Booked, Snapshot
from hft.venues.kraken.account_rows import order_id_of, seconds_ns, stacked, status_of, trade_of
from hft.venues.kraken.ids import bits_of
from hft.venues.kraken.pair_names import asset_of

#: Fills in one answer, answers that are asked for at most, and orders in one question.
PAGE, PAGES_MAX, ORDERS_AT_ONCE = 50, 40, 50


class Query(NamedTuple):
    """A private REST request, and what its answer is for."""

    what: str  #: what to do with the answer
    method: str
    fields: Mapping[str, str | int] = {}
    about: Any = None
    page: int = 0
    weight: int = 1  #: of the key's REST counter


class Streamed(NamedTuple):
    """What the private stream began with."""

    open_orders: list[Any]  #: STATUS rows
    fills: list[tuple[str, Any]]  #: the venue's id of the order, TRADE row
    whole_ns: int  #: every fill since then is among them

    def reaches(self, since_ns: int, booked: Booked) -> bool:
        """Whether no fill since then is missing; with 0, none since one that is booked."""
        if since_ns:
            return self.whole_ns <= since_ns
        oldest = min((event for _, event in self.fills), key=lambda event: int(event["exchange_ns"]), default=None)
        return self.whole_ns == 0 or (oldest is not None and booked(int(oldest["instrument"]), int(oldest["trade_id"])))


class Reconciliation:
    """One reconciliation under way."""

    def __init__(
        self,
        instruments: NDArray[Any],
        rows_by_pair: Mapping[str, int],
        booked: Booked,
        since_ns: int,
        streamed: Streamed | None = None,
    ) -> None:
        """`rows_by_pair` are instrument rows by every name of a pair, `since_ns` is how far back fills are asked for; 0: until one is booked."""
        self._instruments, self._rows, self._booked, self._since_ns = instruments, rows_by_pair, booked, since_ns
        self._missing = 0
        self._open: list[Any] = []
        self._fills: dict[str, Mapping[str, Any]] = {}
        self._owners: dict[str, int] = {}
        self._balances: dict[str, tuple[str, str]] = {}
        self._streamed: list[tuple[str, Any]] = []
        self._is_streamed = streamed is not None and streamed.reaches(since_ns, booked)
        if streamed is not None and self._is_streamed:
            self._open = streamed.open_orders
            self._streamed = [(txid, event) for txid, event in streamed.fills if int(event["exchange_ns"]) >= since_ns]

    def begin(self) -> list[Query]:
        """What to ask first."""
        if self._is_streamed:
            self._missing = 1
            return [Query("balances", "BalanceEx", {}, self)]
        self._missing = 3
        return [Query("open", "OpenOrders", {}, self), self._page(0), Query("balances", "BalanceEx", {}, self)]

    def _page(self, page: int) -> Query:
        start: dict[str, str | int] = {"start": self._since_ns // 10**9} if self._since_ns else {}
        return Query("fills", "TradesHistory", {**start, "ofs": page * PAGE, "without_count": "true"}, self, page, weight=2)

    def take(self, query: Query, result: Any, now_ns: int) -> list[Query]:
        """Take an answer; what to ask next. Raises KeyError, ValueError, TypeError for what is not as documented."""
        more: list[Query] = []
        if query.what == "open":
            for txid, order in result["open"].items():
                self._owners[txid] = order_id_of(order.get("cl_ord_id"))
                row = self._rows.get(order["descr"]["pair"], -1)
                if row >= 0:
                    self._open.append(status_of(self._instruments[row], row, txid, order, self._owners[txid], now_ns))
        elif query.what == "fills":
            more = self._take_fills(query, result["trades"])
        elif query.what == "owners":
            self._owners |= {txid: order_id_of(order.get("cl_ord_id")) for txid, order in result.items()}
        else:
            self._balances = {asset_of(str(asset)): (_free(entry), str(entry.get("hold_trade", "0"))) for asset, entry in result.items()}
        self._missing += len(more) - 1
        if self._missing == 0 and query.what != "owners":
            more = self._ask_owners()
            self._missing = len(more)
        return more

    def _take_fills(self, query: Query, fills: Mapping[str, Mapping[str, Any]]) -> list[Query]:
        known = len(self._fills)
        self._fills |= fills
        goes_on = len(fills) >= PAGE and len(self._fills) > known and query.page + 1 < PAGES_MAX
        if self._since_ns:
            goes_on = goes_on and min(seconds_ns(fill["time"]) for fill in fills.values()) >= self._since_ns
        else:
            traded = [exec_id for exec_id in fills if fills[exec_id]["pair"] in self._rows]
            oldest = min(traded, key=lambda exec_id: seconds_ns(fills[exec_id]["time"]), default="")
            goes_on = goes_on and not (oldest and self._is_booked(oldest, fills[oldest]))
        return [self._page(query.page + 1)] if goes_on else []

    def _is_booked(self, exec_id: str, fill: Mapping[str, Any]) -> bool:
        """Whether a fill is of no interest: booked, or in a pair that is not traded here."""
        row = self._rows.get(fill["pair"], -1)
        return row < 0 or self._booked(row, bits_of(exec_id))

    def _ask_owners(self) -> list[Query]:
        self._fills = {exec_id: fill for exec_id, fill in self._fills.items() if not self._is_booked(exec_id, fill)}
        self._streamed = [told for told in self._streamed if not self._booked(int(told[1]["instrument"]), int(told[1]["trade_id"]))]
        ours = {fill["ordertxid"] for fill in self._fills.values()} - self._owners.keys()
        # The stream names the client's id with the fill.
        unknown = sorted(ours | {txid for txid, event in self._streamed if not event["order_id"]})
        parts = [unknown[first : first + ORDERS_AT_ONCE] for first in range(0, len(unknown), ORDERS_AT_ONCE)]
        return [Query("owners", "QueryOrders", {"txid": ",".join(part)}, self) for part in parts]

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for has come."""
        return self._missing == 0

    def snapshot(self, now_ns: int) -> Snapshot:
        """The whole; fills oldest first."""
        events = []
        for txid, event in self._streamed:
            event["order_id"] = event["order_id"] or self._owners.get(txid, 0)
            events.append(event)
        for exec_id, fill in self._fills.items():
            row, owner = self._rows[fill["pair"]], self._owners.get(fill["ordertxid"], 0)
            events.append(trade_of(self._instruments[row], row, exec_id, fill, owner, now_ns))
        events.sort(key=lambda event: (int(event["exchange_ns"]), int(event["trade_id"])))
        return Snapshot(stacked(self._open), stacked(events), self._balances)


def _free(entry: Mapping[str, Any]) -> str:
    """What is not held by orders, as decimal text."""
    return f"{Decimal(entry['balance']) - Decimal(entry.get('hold_trade', '0')):f}"
