"""Coinbase reconciliation: what the venue holds of the account, gathered from REST answers into one snapshot.

Open orders of each product, newest fills of each product back to an answer with one that is booked, balances. Fills name the venue's id
of their order only: of those that are not booked, whose they are says the codec, if it remembers the order, an open order, or else the
order itself, which is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.venues.coinbase.account_rows import order_id_of, stacked, status_of, trade_of
from hft.venues.interface import Booked, Snapshot

#: Fills in one answer, and answers that are asked for of one product at most.
PAGE, PAGES_MAX = 100, 50

#: A product has at most 500 open orders.
_OPEN_ORDERS = "/orders?status=open&status=active&sortedBy=created_at&sorting=desc&limit=1000&product_id="


class Query(NamedTuple):
    """A private GET, and what its answer is for."""

    what: str  #: "open", "fills", "accounts", "owner"
    target: str
    about: Any = None
    row: int = -1
    page: int = 0


class Reconciliation:
    """One reconciliation under way."""

    def __init__(
        self,
        instruments: NDArray[Any],
        symbols: Mapping[int, str],
        prefix: int,
        booked: Booked,
        owner_of: Callable[[str], int],
        remember: Callable[[str, int], None],
    ) -> None:
        """`owner_of` is our order id by the venue's, 0 if not known.

        Orders found to be ours are remembered: what else fills of those of an earlier epoch is told by the venue's id only.
        """
        self._instruments, self._symbols, self._prefix = instruments, symbols, prefix
        self._booked, self._owner_of, self._remember = booked, owner_of, remember
        #: instrument row -> the newest trade id that the venue told of
        self.newest: dict[int, int] = {}
        self._missing = 0
        self._open: list[Any] = []
        self._fills: list[tuple[int, Mapping[str, Any]]] = []
        self._owners: dict[str, int] = {}
        self._balances: dict[str, tuple[str, str]] = {}

    def begin(self) -> list[Query]:
        """What to ask first."""
        queries = [Query("accounts", "/accounts", self)]
        for row, symbol in self._symbols.items():
            queries.append(Query("open", _OPEN_ORDERS + symbol, self, row))
            queries.append(Query("fills", f"/fills?product_id={symbol}&limit={PAGE}", self, row))
        self._missing = len(queries)
        return queries

    def take(self, query: Query, status: int, answer: Any, now_ns: int) -> list[Query]:
        """Take an answer, 404 of an "owner" included; what to ask next. Raises KeyError, ValueError for what is not as documented."""
        self._missing -= 1
        more: list[Query] = []
        if query.what == "accounts":
            self._balances = {str(entry["currency"]): (str(entry["available"]), str(entry["hold"])) for entry in answer}
        elif query.what == "open":
            self._take_open(query.row, answer, now_ns)
        elif query.what == "fills":
            more = self._take_fills(query, answer)
        else:
            self._owners[query.target] = order_id_of(self._prefix, answer.get("client_oid")) if status == 200 else 0
            self._remember(query.target.rpartition("/")[2], self._owners[query.target])
        self._missing += len(more)
        if self._missing == 0 and query.what != "owner":
            more = self._ask_owners()
            self._missing = len(more)
        return more

    def _take_open(self, row: int, orders: Sequence[Mapping[str, Any]], now_ns: int) -> None:
        for order in orders:
            order_id = self._owner_of(order["id"]) or order_id_of(self._prefix, order.get("client_oid"))
            self._remember(order["id"], order_id)
            event = status_of(self._instruments, row, order, order_id, now_ns)
            if event is not None:
                self._open.append(event)

    def _take_fills(self, query: Query, fills: Sequence[Mapping[str, Any]]) -> list[Query]:
        """Newest first: go on with older ones until one is booked."""
        ids = [int(fill["trade_id"]) for fill in fills]
        self.newest[query.row] = max([self.newest.get(query.row, 0), *ids])
        new = [(query.row, fill) for fill, trade_id in zip(fills, ids, strict=True) if not self._booked(query.row, trade_id)]
        self._fills += new
        # The stream may have booked newer ones already: only of the oldest it follows that what is older is booked.
        if len(ids) < PAGE or self._booked(query.row, min(ids)) or query.page + 1 >= PAGES_MAX:
            return []
        target = f"/fills?product_id={self._symbols[query.row]}&limit={PAGE}&after={min(ids)}"
        return [Query("fills", target, self, query.row, query.page + 1)]

    def _ask_owners(self) -> list[Query]:
        """Ask for the orders of fills of which nothing else has said whose they are."""
        found = {f"/orders/{fill['order_id']}": (self._owner_of(fill["order_id"]), row) for row, fill in self._fills}
        self._owners = {target: owner for target, (owner, _) in found.items()}
        return [Query("owner", target, self, row) for target, (owner, row) in found.items() if owner == 0]

    @property
    def complete(self) -> bool:
        """Whether everything that was asked for has come."""
        return self._missing == 0

    def snapshot(self, now_ns: int) -> Snapshot:
        """The whole; fills oldest first."""
        events = [trade_of(self._instruments, row, fill, self._owners[f"/orders/{fill['order_id']}"], now_ns) for row, fill in self._fills]
        events.sort(key=lambda event: (int(event["exchange_ns"]), int(event["trade_id"])))
        return Snapshot(stacked(self._open), stacked(events), self._balances)
