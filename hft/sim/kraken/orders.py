"""Kraken's order desk: what a new, amended or cancelled order must satisfy, and in whose words it is refused.

Socket and REST read their requests into the same NewOrder and Change. Times are UTC in ns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import Account, Instrument, Kind, Order, Refusal, Refused, Status, Stp, Tif
from hft.sim.kraken.pairs import MONEY_DECIMALS, Pair
from hft.sim.kraken.rates import TradingLimits
from hft.sim.kraken.wire import KrakenError, identified, identifier
from hft.sim.texts import SECOND_NS, to_units

CLIENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[\x21-\x7e]{1,18}", re.IGNORECASE)
USERREF_MAX = 2**31 - 1
DIGITS_MAX = 14
DEADLINE_MAX_NS = 60 * SECOND_NS
ARGUMENTS = "EGeneral:Invalid arguments"
STP_TYPES = {"cancel_newest": Stp.EXPIRE_TAKER, "cancel_oldest": Stp.EXPIRE_MAKER, "cancel_both": Stp.EXPIRE_BOTH}
TIFS = {"gtc": Tif.GTC, "gtd": Tif.GTC, "ioc": Tif.IOC, "fok": Tif.FOK}
REFUSED = {
    Refused.DUPLICATE_CLIENT_ID: "EOrder:Duplicate cl_ord_id",
    Refused.INSUFFICIENT_FUNDS: "EOrder:Insufficient funds",
    Refused.WOULD_TAKE: "EOrder:Post only order",
    Refused.TOO_MANY_OPEN: "EOrder:Orders limit exceeded",
    Refused.QTY_TOO_SMALL: f"{ARGUMENTS}:volume minimum not met",
    Refused.QTY_TOO_LARGE: f"{ARGUMENTS}:volume",
    Refused.PRICE_TOO_HIGH: "EOrder:Invalid price",
    Refused.NOTIONAL_TOO_SMALL: "EOrder:Cost minimum not met",
    Refused.UNKNOWN_ORDER: "EOrder:Unknown order",
}
MODES = {
    Status.CANCEL_ONLY: "EService:Market in cancel_only mode",
    Status.POST_ONLY: "EService:Market in post_only mode",
    Status.LIMIT_ONLY: "EService:Market in limit_only mode",
    Status.HALTED: "EService:Unavailable",
}


class NewOrder(NamedTuple):
    """An order as asked for."""

    pair: Pair
    side: int
    order_type: str  #: `limit` or `market`
    qty: Decimal | None = None  #: in base
    cash_qty: Decimal | None = None  #: in quote instead, of a market order
    limit_price: Decimal | None = None
    time_in_force: str = "gtc"  #: a key of TIFS
    expire_ns: int = 0  #: of gtd
    post_only: bool = False
    client_id: str = ""
    userref: int | None = None
    stp_type: str = "cancel_newest"


class Change(NamedTuple):
    """What an amendment changes; None is left as it is."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    post_only: bool = False


class Tag:
    """What the venue remembers of an order beside the exchange; it hangs on the order."""

    __slots__ = ("amended", "changed_ns", "request")

    def __init__(self, request: NewOrder, now_ns: int) -> None:
        self.request = request
        self.amended = False
        #: When the order was created or last amended: what its rate units go by.
        self.changed_ns = now_ns


def tag_of(order: Order) -> Tag:
    """Return an order's tag."""
    assert isinstance(order.tag, Tag)
    return order.tag


def order_txid(order: Order) -> str:
    """Return the venue's identifier of an order."""
    return identifier("O", order.order_id)


class OrderDesk:
    """Places, amends and cancels orders of all accounts."""

    def __init__(self, exchange: Exchange, pairs: Mapping[str, Pair], limits: TradingLimits) -> None:
        self.exchange = exchange
        self.limits = limits
        self._pairs = pairs
        self._amendments = 0

    def account(self, name: str) -> Account:
        """Return an account."""
        return self.exchange.accounts[name]

    def place(self, account: Account, new: NewOrder, now_ns: int, dry_run: bool = False) -> Order:
        """Place an order whose rate units are paid. Raises KrakenError."""
        instrument = self.exchange.instruments[new.pair.symbol]
        limit = new.order_type == "limit"
        price_ticks = self._price(new.pair, instrument, new.limit_price) if limit else 0
        try:
            return self.exchange.place(
                account,
                instrument,
                new.side,
                qty_lots=self._qty(instrument, new.qty) if new.qty is not None else 0,
                price_ticks=price_ticks,
                quote_qty_e8=int(new.cash_qty * 10**MONEY_DECIMALS) if new.cash_qty is not None else 0,
                kind=Kind.LIMIT if limit else Kind.MARKET,
                tif=TIFS[new.time_in_force] if limit else Tif.IOC,
                post_only=new.post_only,
                stp=STP_TYPES[new.stp_type],
                client_id=new.client_id,
                expires_ns=new.expire_ns,
                tag=Tag(new, now_ns),
                now_ns=now_ns,
                dry_run=dry_run,
            )
        except Refusal as refusal:
            raise KrakenError(self._words(refusal, instrument)) from refusal

    def amend(self, account: Account, order: Order, change: Change, now_ns: int) -> str:
        """Amend an open order in place and return the amendment's identifier. Raises KrakenError."""
        tag, instrument = tag_of(order), order.instrument
        self.limits.amend(account.name, instrument.symbol, now_ns - tag.changed_ns, now_ns)
        pair = self._pairs[instrument.symbol]
        if order.kind is not Kind.LIMIT or change.qty is None and change.limit_price is None:
            raise KrakenError(ARGUMENTS)
        qty_lots = self._qty(instrument, change.qty) if change.qty is not None else 0
        price_ticks = self._price(pair, instrument, change.limit_price) if change.limit_price is not None else 0
        try:
            self.exchange.amend(order, now_ns, qty_lots=qty_lots, price_ticks=price_ticks, post_only=change.post_only)
        except Refusal as refusal:
            raise KrakenError(self._words(refusal, instrument)) from refusal
        tag.amended, tag.changed_ns = True, now_ns
        self._amendments += 1
        return identifier("T", (1 << 60) + self._amendments)

    def cancel(self, account: Account, order: Order, now_ns: int) -> None:
        """Cancel an open order. Raises KrakenError."""
        self.limits.cancel(account.name, order.instrument.symbol, now_ns - tag_of(order).changed_ns, now_ns)
        try:
            self.exchange.cancel(order, now_ns)
        except Refusal as refusal:
            raise KrakenError(self._words(refusal, order.instrument)) from refusal

    def cancel_all(self, account: Account, now_ns: int) -> int:
        """Cancel all open orders and return how many."""
        return len(self.exchange.cancel_all(account, now_ns))

    def find(self, account: Account, txid: str = "", client_id: str = "") -> Order | None:
        """Return an order, open or remembered, by the venue's or the client's identifier."""
        if client_id:
            return self.exchange.find(account, client_id=client_id)
        order_id = identified("O", txid)
        return self.exchange.find(account, order_id=order_id) if order_id else None

    def find_open(self, account: Account, txid: str = "", client_id: str = "") -> Order:
        """Return an open order. Raises KrakenError."""
        order = self.find(account, txid, client_id)
        if order is None or not order.is_open:
            raise KrakenError(REFUSED[Refused.UNKNOWN_ORDER])
        return order

    def with_userref(self, account: Account, userref: int) -> list[Order]:
        """Return the open orders that carry a user reference."""
        return [order for order in account.open.values() if tag_of(order).request.userref == userref]

    def _price(self, pair: Pair, instrument: Instrument, price: Decimal | None) -> int:
        if price is None or price <= 0:
            raise KrakenError(f"{ARGUMENTS}:price")
        try:
            return to_units(price, instrument.tick)
        except ValueError as error:
            raise KrakenError(
                f"EOrder:Invalid price:{pair.symbol} price can only be specified up to {pair.price_decimals} decimals."
            ) from error

    def _qty(self, instrument: Instrument, qty: Decimal) -> int:
        if qty <= 0:
            raise KrakenError(f"{ARGUMENTS}:volume")
        try:
            return to_units(qty, instrument.lot)
        except ValueError as error:
            raise KrakenError(f"{ARGUMENTS}:volume") from error

    def _words(self, refusal: Refusal, instrument: Instrument) -> str:
        return MODES[instrument.status] if refusal.why is Refused.STATUS else REFUSED[refusal.why]


def check(new: NewOrder, now_ns: int) -> None:
    """Raise KrakenError when the parts of an order do not go together."""
    market = new.order_type == "market"
    problem = ""
    if (new.qty is None) == (new.cash_qty is None) or new.cash_qty is not None and not (market and new.side > 0 and new.cash_qty > 0):
        problem = "volume"
    elif new.post_only and (market or new.time_in_force in ("ioc", "fok")):
        problem = "post only"
    elif (new.time_in_force == "gtd") != bool(new.expire_ns) or new.expire_ns and new.expire_ns <= now_ns:
        problem = "expire_time"
    elif new.client_id and (new.userref is not None or not CLIENT_ID.fullmatch(new.client_id)):
        problem = "cl_ord_id"
    elif new.userref is not None and not 0 <= new.userref <= USERREF_MAX:
        problem = "userref"
    if problem:
        raise KrakenError(f"{ARGUMENTS}:{problem}")


def check_deadline(deadline_ns: int, now_ns: int) -> None:
    """Raise KrakenError when a request comes after its deadline, or the deadline is too far away; 0 is none."""
    if not deadline_ns:
        return
    if deadline_ns <= now_ns:
        raise KrakenError("EService:Deadline elapsed")
    if deadline_ns - now_ns > DEADLINE_MAX_NS:
        raise KrakenError(f"{ARGUMENTS}:deadline")


def sensible(value: Decimal, name: str) -> Decimal:
    """Return a number of a request. Raises KrakenError when it has more digits than any price or size."""
    if not value.is_finite() or not -DIGITS_MAX < value.adjusted() < DIGITS_MAX or len(value.as_tuple().digits) > 2 * DIGITS_MAX:
        raise KrakenError(f"{ARGUMENTS}:{name}")
    return value
