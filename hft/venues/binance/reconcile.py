"""Binance reconciliation: gathers what the venue holds of the account: open orders, fills, balances.

Fills name their order by the venue's id only. Of fills that are not booked, orders whose client id is not known from elsewhere are asked
for one by one, so that each can be told whose it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.venues.binance.account_rows import order_id_of, stacked, status_of, trade_of
from hft.venues.binance.limits import Weight
from hft.venues.interface import Booked, Snapshot

#: Fills in one answer; as many as this means that there may be more.
TRADES_MAX = 1000


class Query(NamedTuple):
    """A request of an account session; `about` is whatever its answer is for."""

    what: str
    method: str
    params: dict[str, Any]
    weight: int
    about: Any = None
    signed: bool = True


class Reconciliation:
    """One gathering; `complete` once nothing is missing."""

    def __init__(
        self,
        instruments: NDArray[Any],
        symbols: Mapping[int, str],
        assets: Sequence[str],
        booked: Booked,
        order_of_key: Callable[[int, int], int],
    ) -> None:
        """`order_of_key` gives our id of an order by its row and the venue's id, or 0."""
        self._instruments, self._symbols, self._assets, self._booked = instruments, symbols, assets, booked
        self._rows = {symbol: row for row, symbol in symbols.items()}
        self._order_of_key = order_of_key
        self._missing = 0
        self._open: list[Any] = []
        self._trades: dict[tuple[int, int], dict[str, Any]] = {}  # row, trade id -> fill that is not booked
        self._ids: dict[tuple[int, int], int] = {}  # row, the venue's id -> our order id, 0 for foreign orders
        self._balances: dict[str, tuple[str, str]] = {}

    @property
    def complete(self) -> bool:
        """Whether everything has been answered."""
        return self._missing == 0

    def begin(self) -> list[Query]:
        """The first questions."""
        queries = []
        if len(self._symbols) * Weight.OPEN_ORDERS <= Weight.OPEN_ORDERS_ALL:
            queries += [
                self._query("open", "openOrders.status", {"symbol": symbol}, Weight.OPEN_ORDERS) for symbol in self._symbols.values()
            ]
        else:
            queries.append(self._query("open", "openOrders.status", {}, Weight.OPEN_ORDERS_ALL))
        queries += [self._ask_trades(row, 0) for row in self._symbols]
        return [*queries, self._query("balances", "account.status", {"omitZeroBalances": True}, Weight.ACCOUNT)]

    def take(self, query: Query, result: Any, now_ns: int) -> list[Query]:
        """Take an answer; what is to be asked next."""
        self._missing -= 1
        if query.what == "open":
            for order in result:
                self._take_open(order, now_ns)
        elif query.what == "balances":
            self._balances = {one["asset"]: (one["free"], one["locked"]) for one in result["balances"]}
        elif query.what == "fills":
            return self._take_trades(self._rows[query.params["symbol"]], result)
        else:
            row = self._rows[query.params["symbol"]]
            self._ids[row, int(result["orderId"])] = order_id_of(result["clientOrderId"])
        return []

    def snapshot(self) -> Snapshot:
        """What was gathered, with fills oldest first."""
        fills = []
        for (row, _), trade in self._trades.items():
            order_id = self._ids[row, int(trade["orderId"])]
            fills.append(trade_of(self._instruments, row, trade, order_id, self._assets, 0))
        fills.sort(key=lambda event: (int(event["exchange_ns"]), int(event["trade_id"])))
        return Snapshot(stacked(self._open), stacked(fills), self._balances)

    def _take_open(self, order: dict[str, Any], now_ns: int) -> None:
        row = self._rows.get(order["symbol"])
        if row is not None:
            order_id = order_id_of(order["clientOrderId"])
            self._ids[row, int(order["orderId"])] = order_id
            self._open.append(status_of(self._instruments, row, order, order_id, now_ns))

    def _take_trades(self, row: int, trades: list[dict[str, Any]]) -> list[Query]:
        """The newest fills, or those up to a time: go on with older ones until one is booked."""
        new = {(row, int(trade["id"])): trade for trade in trades if not self._booked(row, int(trade["id"]))}
        # The stream may have booked newer ones already: only of the oldest it follows that what is older is booked.
        oldest = min((int(trade["id"]) for trade in trades), default=0)
        older = len(trades) >= TRADES_MAX and not self._booked(row, oldest) and bool(new.keys() - self._trades.keys())
        self._trades |= new
        queries = [self._ask_trades(row, min(int(trade["time"]) for trade in trades))] if older else []
        for key in dict.fromkeys(int(trade["orderId"]) for trade in new.values()):
            if (row, key) in self._ids:
                continue
            self._ids[row, key] = self._order_of_key(row, key)
            if not self._ids[row, key]:
                params = {"symbol": self._symbols[row], "orderId": key}
                queries.append(self._query("whose", "order.status", params, Weight.ORDER_STATUS))
        return queries

    def _ask_trades(self, row: int, until_ms: int) -> Query:
        params: dict[str, Any] = {"symbol": self._symbols[row], "limit": TRADES_MAX}
        if until_ms:
            params["endTime"] = until_ms
        return self._query("fills", "myTrades", params, Weight.TRADES)

    def _query(self, what: str, method: str, params: dict[str, Any], weight: int) -> Query:
        self._missing += 1
        return Query(what, method, params, weight, self)
