"""What an exchange deals in: instruments, accounts, orders, fills, and the events that tell what happened to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from typing import NamedTuple

#: Units of money in one of an asset, and of a rate in one.
E8 = 100_000_000

BUY, SELL = 1, -1


class Status(Enum):
    """What an instrument takes."""

    TRADING = "trading"
    LIMIT_ONLY = "limit_only"
    POST_ONLY = "post_only"
    CANCEL_ONLY = "cancel_only"
    HALTED = "halted"  #: nothing, not even cancels


class Kind(IntEnum):
    """Order types."""

    LIMIT = 1
    MARKET = 2


class Tif(IntEnum):
    """How long an order may wait. Market orders never wait."""

    GTC = 1
    IOC = 2
    FOK = 3


class Stp(IntEnum):
    """What happens when an account's order would trade with another one of the same account; the taker's mode decides."""

    NONE = 0  #: they trade
    EXPIRE_TAKER = 1  #: Coinbase cn, Kraken cancel_newest
    EXPIRE_MAKER = 2  #: Coinbase co, Kraken cancel_oldest
    EXPIRE_BOTH = 3  #: Coinbase cb, Kraken cancel_both
    DECREMENT = 4  #: both shrink by the smaller one, which ends; Coinbase dc


class FeeAsset(IntEnum):
    """In what a fee is paid."""

    RECEIVED = 1  #: out of what the fill brings in: base of a buy, quote of a sell
    QUOTE = 2  #: on top of what a buy costs (and held with it), out of what a sell brings


class OrderStatus(IntEnum):
    """Where an order is in its life; partly filled shows in `cum_lots`."""

    OPEN = 1
    FILLED = 2
    CANCELED = 3  #: by the account, or for it by its dead-man timer
    EXPIRED = 4  #: by the exchange; Reason says why


class Reason(IntEnum):
    """Why an order ended unfilled."""

    NONE = 0
    REQUESTED = 1
    IOC = 2  #: the rest of an IOC order found nothing
    FOK = 3  #: not all of a FOK order could be filled
    NO_LIQUIDITY = 4  #: the rest of a market order found nothing
    STP = 5
    TIME = 6  #: `expires_ns` came
    DEAD_MAN = 7  #: `cancel_all_after` came
    AMENDED = 8  #: amended to no more than was filled
    VENUE = 9  #: by command of the simulator's operator


class Refused(Enum):
    """Why a request was not carried out; nothing has changed then."""

    DUPLICATE_CLIENT_ID = "duplicate client id"
    INSUFFICIENT_FUNDS = "insufficient funds"
    WOULD_TAKE = "post-only order would take"
    TOO_MANY_OPEN = "too many open orders"
    QTY_TOO_SMALL = "size below the minimum"
    QTY_TOO_LARGE = "size above the maximum"
    PRICE_TOO_HIGH = "price above the maximum"
    NOTIONAL_TOO_SMALL = "value below the minimum"
    STATUS = "the instrument's status forbids it"
    UNKNOWN_ORDER = "no such open order"


class Refusal(Exception):
    """A request is refused; `why` is one of Refused."""

    def __init__(self, why: Refused) -> None:
        super().__init__(why.value)
        self.why = why


class Instrument:
    """A pair: its units, its limits and its status, which may change. Raises ValueError when a lot is no multiple of 10^-8."""

    __slots__ = (
        "base",
        "cost_den",
        "cost_num",
        "lot",
        "lot_e8",
        "notional_min_e8",
        "open_max",
        "price_max_ticks",
        "qty_max_lots",
        "qty_min_lots",
        "quote",
        "status",
        "symbol",
        "tick",
        "tick_e8",
    )

    def __init__(
        self,
        symbol: str,
        base: str,
        quote: str,
        tick: str,
        lot: str,
        *,
        qty_min: str = "",
        qty_max: str = "",
        price_max: str = "",
        notional_min: str = "0",
        open_max: int = 0,
    ) -> None:
        """Numbers are decimal text; an empty maximum, and `open_max` 0 (open orders an account), mean none."""
        self.symbol, self.base, self.quote = symbol, base, quote
        self.tick, self.lot = Decimal(tick), Decimal(lot)
        lot_e8 = self.lot * E8
        if lot_e8 != int(lot_e8) or lot_e8 <= 0 or self.tick <= 0:
            raise ValueError(f"{symbol}: tick and lot must be positive and the lot a multiple of 1e-8, were {tick} and {lot}")
        self.lot_e8 = int(lot_e8)
        #: 0 where a tick is no multiple of 10^-8.
        self.tick_e8 = int(self.tick * E8) if self.tick * E8 == int(self.tick * E8) else 0
        cost = Fraction(self.tick) * Fraction(self.lot) * E8
        #: One tick times one lot is cost_num / cost_den of 10^-8 quote.
        self.cost_num, self.cost_den = cost.numerator, cost.denominator
        self.qty_min_lots = int(Decimal(qty_min) / self.lot) if qty_min else 1
        self.qty_max_lots = int(Decimal(qty_max) / self.lot) if qty_max else 0
        self.price_max_ticks = int(Decimal(price_max) / self.tick) if price_max else 0
        self.notional_min_e8 = int(Decimal(notional_min) * E8)
        self.open_max = open_max
        self.status = Status.TRADING

    def cost_e8(self, price_ticks: int, qty_lots: int) -> int:
        """Return what a trade moves in quote, rounded down."""
        return price_ticks * qty_lots * self.cost_num // self.cost_den

    def cost_up_e8(self, price_ticks: int, qty_lots: int) -> int:
        """Return the same rounded up, for holds."""
        return -(-price_ticks * qty_lots * self.cost_num // self.cost_den)


class Account:
    """Balances, fee rates, orders and fills of one customer."""

    __slots__ = (
        "by_client_id",
        "closed",
        "dead_man_ns",
        "fills",
        "free",
        "hold",
        "maker_rate_e8",
        "name",
        "open",
        "open_count",
        "orders",
        "taker_rate_e8",
    )

    def __init__(self, name: str, balances: Mapping[str, str], maker_rate: str = "0.001", taker_rate: str = "0.001") -> None:
        """`balances` maps an asset to decimal text; rates are decimal text, 0.001 being 10 basis points, never negative."""
        self.name = name
        #: asset -> 10^-8 of it, not held and held by open orders
        self.free: dict[str, int] = {asset: int(Decimal(text) * E8) for asset, text in balances.items()}
        self.hold: dict[str, int] = dict.fromkeys(self.free, 0)
        self.maker_rate_e8, self.taker_rate_e8 = int(Decimal(maker_rate) * E8), int(Decimal(taker_rate) * E8)
        #: order id -> order, oldest first: all that are remembered, and those that are open
        self.orders: dict[int, Order] = {}
        self.open: dict[int, Order] = {}
        #: symbol -> open orders
        self.open_count: dict[str, int] = {}
        #: client id -> the newest order with it
        self.by_client_id: dict[str, Order] = {}
        self.closed: deque[Order] = deque()
        self.fills: deque[Fill] = deque()
        #: When everything is cancelled; 0 is never.
        self.dead_man_ns = 0


class Order:
    """An order in any state. `tag` is the front end's own."""

    __slots__ = (
        "account",
        "client_id",
        "created_ns",
        "cum_lots",
        "cum_quote_e8",
        "expires_ns",
        "fills",
        "hold_e8",
        "instrument",
        "kind",
        "leaves_lots",
        "order_id",
        "post_only",
        "prevented_lots",
        "price_ticks",
        "qty_lots",
        "queue_ahead_lots",
        "quote_qty_e8",
        "reason",
        "side",
        "spent_e8",
        "status",
        "stp",
        "tag",
        "tif",
        "updated_ns",
    )

    def __init__(
        self,
        order_id: int,
        account: Account,
        instrument: Instrument,
        side: int,
        kind: Kind,
        price_ticks: int,
        qty_lots: int,
        quote_qty_e8: int,
        client_id: str,
        tif: Tif,
        post_only: bool,
        stp: Stp,
        expires_ns: int,
        tag: object,
        now_ns: int,
    ) -> None:
        self.order_id, self.account, self.instrument = order_id, account, instrument
        self.side, self.kind, self.price_ticks, self.qty_lots = side, kind, price_ticks, qty_lots
        #: What a market order may spend (or must bring) instead of a size, and how much of it is gone; then `qty_lots` follows
        #: `cum_lots`.
        self.quote_qty_e8, self.spent_e8 = quote_qty_e8, 0
        self.client_id, self.tif, self.post_only, self.stp = client_id, tif, post_only, stp
        self.expires_ns, self.tag = expires_ns, tag
        self.created_ns = self.updated_ns = now_ns
        self.status, self.reason = OrderStatus.OPEN, Reason.NONE
        #: qty = cum + prevented (by self-trade prevention) + leaves (while open)
        self.leaves_lots, self.cum_lots, self.prevented_lots, self.cum_quote_e8 = qty_lots, 0, 0, 0
        #: Background size that trades before this order at its price.
        self.queue_ahead_lots = 0
        #: What it holds: quote of a buy, base of a sell.
        self.hold_e8 = 0
        self.fills: list[Fill] = []

    @property
    def is_open(self) -> bool:
        """Whether it can still trade."""
        return self.status is OrderStatus.OPEN


class Fill(NamedTuple):
    """One account's side of a trade."""

    trade_id: int  #: unique in the instrument; both sides of a trade have the same
    order: Order
    price_ticks: int  #: always the maker's
    qty_lots: int
    cost_e8: int  #: quote
    fee_e8: int
    fee_asset: str
    maker: bool
    counter_order_id: int  #: the other side's order; 0 is the background market
    at_ns: int


class EventKind(IntEnum):
    """What an event tells."""

    ACCEPTED = 1
    TRADED = 2  #: `fill`; `done` when the order is filled, and then no other event tells its end
    CANCELED = 3  #: `reason`
    EXPIRED = 4  #: `reason`
    AMENDED = 5  #: `price_ticks` and `qty_lots` are the new ones
    PREVENTED = 6  #: self-trade prevention has taken `prevented_lots` so far; EXPIRED follows if nothing is left
    BALANCE = 7  #: `balances`; once a command, after everything else


class Event(NamedTuple):
    """Something that happened to an account, with the order's numbers as they were then."""

    kind: EventKind
    number: int  #: rises by one an event over all accounts
    at_ns: int
    account: Account
    order: Order | None = None
    fill: Fill | None = None
    reason: Reason = Reason.NONE
    price_ticks: int = 0
    qty_lots: int = 0
    cum_lots: int = 0
    cum_quote_e8: int = 0
    leaves_lots: int = 0
    prevented_lots: int = 0
    done: bool = False  #: the order is no longer open
    note: object = ""  #: what the front end gave with its request, such as a cancel's own client id
    #: asset -> (free, hold) in 10^-8 after the command
    balances: Mapping[str, tuple[int, int]] = {}
