"""Coinbase's order desk: what a new order must satisfy, in whose words it is refused, and how orders are found and cancelled.

Times are UTC in ns.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from hft.sim.coinbase.products import Product
from hft.sim.coinbase.wire import CoinbaseError, count_of, is_uuid, profile_id, uuid_of
from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import BUY, E8, SELL, Account, Instrument, Kind, Order, Refusal, Refused, Status, Stp, Tif
from hft.sim.texts import SECOND_NS, to_units

STP_FLAGS = {"dc": Stp.DECREMENT, "co": Stp.EXPIRE_MAKER, "cn": Stp.EXPIRE_TAKER, "cb": Stp.EXPIRE_BOTH}
TIFS = {"GTC": Tif.GTC, "GTT": Tif.GTC, "IOC": Tif.IOC, "FOK": Tif.FOK}
LIVES_NS = {"min": 60 * SECOND_NS, "hour": 3600 * SECOND_NS, "day": 86_400 * SECOND_NS}
MODES = {
    Status.CANCEL_ONLY: "Cancel only mode",
    Status.POST_ONLY: "Post only mode",
    Status.LIMIT_ONLY: "Limit only mode",
    Status.HALTED: "Trading is disabled",
}
#: Members of a request that are understood; others would change the order, so they are refused rather than ignored.
FIELDS = {
    *("type", "side", "product_id", "stp", "price", "size", "funds", "time_in_force", "cancel_after", "post_only", "client_oid"),
    "profile_id",
}
DIGITS_MAX = 14
#: Orders that the engine rejected are numbered from here.
FIRST_REJECTED = 1 << 59


class NewOrder(NamedTuple):
    """An order as asked for."""

    product: Product
    side: int
    order_type: str  #: `limit` or `market`
    price: Decimal | None
    size: Decimal | None  #: in base
    funds: Decimal | None  #: in quote, of a market order instead of a size
    time_in_force: str
    expires_ns: int  #: of GTT
    post_only: bool
    stp: str
    client_oid: str


class Tag:
    """What the venue remembers of an order beside the exchange; it hangs on the order."""

    __slots__ = ("prevented_lots", "request")

    def __init__(self, request: NewOrder) -> None:
        self.request = request
        #: What self-trade prevention has taken, as far as the account was told.
        self.prevented_lots = 0


class Placed(NamedTuple):
    """What became of a request for an order."""

    order_id: str
    request: NewOrder
    reject_reason: str = ""  #: why the engine rejected it


def request_of(order: Order) -> NewOrder:
    """Return what an order was asked for."""
    return tag_of(order).request


def tag_of(order: Order) -> Tag:
    """Return an order's tag."""
    assert isinstance(order.tag, Tag)
    return order.tag


class OrderDesk:
    """Places, finds and cancels orders of all accounts."""

    def __init__(self, exchange: Exchange, products: Mapping[str, Product]) -> None:
        self.exchange = exchange
        self.products = products
        self._rejected = FIRST_REJECTED

    def account(self, name: str) -> Account:
        """Return an account."""
        return self.exchange.accounts[name]

    def product(self, name: object, words: str = "Product not found") -> Product:
        """Return a product by its id in any case. Raises CoinbaseError."""
        product = self.products.get(name.upper()) if isinstance(name, str) else None
        if product is None:
            raise CoinbaseError(404, words)
        return product

    def place(self, account: Account, fields: Mapping[str, Any], now_ns: int) -> Placed:
        """Place an order. Raises CoinbaseError when the API refuses it; what the engine rejects is placed nonetheless."""
        new = self._read(account, fields, now_ns)
        instrument = self.exchange.instruments[new.product.product_id]
        limit = new.order_type == "limit"
        try:
            order = self.exchange.place(
                account,
                instrument,
                new.side,
                qty_lots=_units(new.size, instrument.lot, "size"),
                price_ticks=_units(new.price, instrument.tick, "price"),
                quote_qty_e8=_units(new.funds, instrument.tick, "funds") * int(instrument.tick * E8) if new.funds is not None else 0,
                kind=Kind.LIMIT if limit else Kind.MARKET,
                tif=TIFS[new.time_in_force] if limit else Tif.IOC,
                post_only=new.post_only,
                stp=STP_FLAGS[new.stp],
                client_id=new.client_oid,
                expires_ns=new.expires_ns,
                tag=Tag(new),
                now_ns=now_ns,
            )
        except Refusal as refusal:
            if refusal.why is Refused.WOULD_TAKE:
                self._rejected += 1
                return Placed(uuid_of(self._rejected), new, "post only")
            raise CoinbaseError(400, _words(refusal.why, instrument)) from refusal
        return Placed(uuid_of(order.order_id), new)

    def find(self, account: Account, name: str) -> Order | None:
        """Return an order by id, or by `client:` and the client's id. Raises CoinbaseError for what is neither."""
        text = name.removeprefix("client:")
        if not is_uuid(text):
            raise CoinbaseError(400, "Invalid order id")
        if text != name:
            return self.exchange.find(account, client_id=text.lower())
        order_id = count_of(text)
        return self.exchange.find(account, order_id=order_id) if order_id else None

    def cancel(self, account: Account, name: str, now_ns: int) -> str:
        """Cancel an order and return its id. Raises CoinbaseError."""
        order = self.find(account, name)
        if order is None or not order.is_open and not order.cum_lots:
            raise CoinbaseError(404, "order not found")
        if not order.is_open:
            raise CoinbaseError(400, "Order already done")
        try:
            self.exchange.cancel(order, now_ns)
        except Refusal as refusal:
            raise CoinbaseError(400, _words(refusal.why, order.instrument)) from refusal
        return uuid_of(order.order_id)

    def cancel_all(self, account: Account, product: Product | None, now_ns: int) -> list[str]:
        """Cancel all open orders, or those of a product; return their ids."""
        instrument = self.exchange.instruments[product.product_id] if product is not None else None
        return [uuid_of(order.order_id) for order in self.exchange.cancel_all(account, now_ns, instrument)]

    def _read(self, account: Account, fields: Mapping[str, Any], now_ns: int) -> NewOrder:
        """Return the order of a request, checked in itself. Raises CoinbaseError."""
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise CoinbaseError(400, f"{unknown[0][:40]} is not supported")
        order_type, tif = fields.get("type") or "limit", fields.get("time_in_force") or "GTC"
        stp, life = fields.get("stp") or "dc", fields.get("cancel_after")
        choices = (
            (order_type in ("limit", "market"), "type"),
            (fields.get("side") in ("buy", "sell"), "side"),
            (isinstance(tif, str) and tif in TIFS, "time_in_force"),
            (isinstance(stp, str) and stp in STP_FLAGS, "stp"),
            ((tif == "GTT") == (life is not None) and (life is None or isinstance(life, str) and life in LIVES_NS), "cancel_after"),
            (isinstance(fields.get("post_only", False), bool), "post_only"),
            (fields.get("profile_id") in (None, "", profile_id(account.name)), "profile_id"),
        )
        for fine, name in choices:
            if not fine:
                raise CoinbaseError(400, f"Invalid {name}")
        new = NewOrder(
            self.product(fields.get("product_id")),
            BUY if fields["side"] == "buy" else SELL,
            str(order_type),
            _decimal(fields, "price"),
            _decimal(fields, "size"),
            _decimal(fields, "funds"),
            str(tif),
            now_ns + LIVES_NS[str(life)] if life is not None else 0,
            fields.get("post_only", False),
            str(stp),
            _client_oid(fields.get("client_oid")),
        )
        _check(new)
        return new


def _check(new: NewOrder) -> None:
    """Raise CoinbaseError when the parts of an order do not go together."""
    market = new.order_type == "market"
    if market and (new.size is None) == (new.funds is None):
        raise CoinbaseError(400, "size or funds is required" if new.size is None else "size and funds together are not supported")
    if not market and (new.price is None or new.size is None or new.funds is not None):
        raise CoinbaseError(400, "price and size are required for limit orders")
    if new.post_only and (market or new.time_in_force in ("IOC", "FOK")):
        raise CoinbaseError(400, "Invalid post_only with this time_in_force")


def _client_oid(value: object) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not is_uuid(value):
        raise CoinbaseError(400, "Invalid client_oid")
    return value.lower()


def _decimal(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a positive number, given as text or as a number. Raises CoinbaseError."""
    value = fields.get(name)
    if value is None:
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise CoinbaseError(400, f"Invalid {name}")
        number = Decimal(value)
    except InvalidOperation as error:
        raise CoinbaseError(400, f"Invalid {name}") from error
    if not number.is_finite() or number <= 0 or number.adjusted() >= DIGITS_MAX or len(number.as_tuple().digits) > 2 * DIGITS_MAX:
        raise CoinbaseError(400, f"Invalid {name}")
    return number


def _units(value: Decimal | None, unit: Decimal, name: str) -> int:
    if value is None:
        return 0
    try:
        return to_units(value, unit)
    except ValueError as error:
        raise CoinbaseError(400, f"{name} is too accurate. Smallest unit is {unit:.8f}") from error


def _words(why: Refused, instrument: Instrument) -> str:
    return {
        Refused.DUPLICATE_CLIENT_ID: "Duplicate client_oid",
        Refused.INSUFFICIENT_FUNDS: "Insufficient funds",
        Refused.TOO_MANY_OPEN: f"Maximum of {instrument.open_max} open orders reached",
        Refused.QTY_TOO_SMALL: f"size is too small. Minimum size is {instrument.lot:.8f}",
        Refused.NOTIONAL_TOO_SMALL: f"notional is too small. Minimum is {Decimal(instrument.notional_min_e8) / E8:f}",
        Refused.STATUS: MODES.get(instrument.status, "Trading is disabled"),
    }.get(why, "Invalid order")
