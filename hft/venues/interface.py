"""Interface: what a venue's package gives the engine, beyond its kernels; bytes and records, no sockets and no clocks.

A venue is a package `hft/venues/<venue>/` with these modules:

    feed      market data as kernels: `new_feed`, `on_frame`, `on_timer`, `on_disconnect` (see `hft/venues/feeds.py`)
    market    `MarketSession`: what the cold side of a feed says to the venue
    orders    requests as kernels: `new_codec`, `encode` (see `hft/venues/codecs.py`)
    private   replies and the private stream as kernels: `scan_private`
    account   `AccountSession`: log-on, private stream, queries, reconciliation
    guard     what a guardian says: end all orders, and which are open (see `hft/venues/guards.py`)
    signing   signatures
    errors    the venue's error codes and texts -> VenueReason
    limits    the venue's rate limits as kernels
    rules     the venue's instrument file -> `InstrumentRules`, which `hft/venues/instrument_check.py` compares with the config

`now_ns` is CLOCK_MONOTONIC, `utc_ns` CLOCK_REALTIME; both are always given by the caller. Sessions are given this host's clock, and add
`clock_offset_ns` themselves where they sign; the kernels of `orders` and `limits` are given the venue's, as far as it is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from hft.http_client import Headers


class Text(NamedTuple):
    """A WebSocket text message to send."""

    data: bytes


class Call(NamedTuple):
    """A REST request to make; its answer comes back with `tag`."""

    tag: int
    method: str
    target: str  #: path and query
    headers: Headers = ()
    body: bytes = b""
    weight: int = 1  #: what it costs of the venue's request budget
    patience_ns: int = 0  #: how long its answer is waited for; 0: as long as whoever makes it waits for any


Outgoing = Text | Call

#: How long the answer to a question about one order, or about the time, is waited for: then it is asked again.
PATIENCE_NS = 1_500_000_000
#: The same of what says more at once.
LONG_PATIENCE_NS = 5_000_000_000
#: The same of what a connection is of no use without: its log-on, its subscription. Then another connection is made.
HANDSHAKE_NS = 2_000_000_000

#: Whether a trade, by instrument row and trade id, needs no telling any more.
Booked = Callable[[int, int], bool]


class Endpoint(NamedTuple):
    """Where to connect a WebSocket."""

    url: str
    headers: Headers = ()


class Credentials(NamedTuple):
    """One API key; never printed."""

    key: str
    secret: bytes  #: HMAC secret as the venue wants it, or a PEM private key
    passphrase: str = ""

    def __repr__(self) -> str:
        return "Credentials(...)"


class InstrumentRules(NamedTuple):
    """What the venue demands of orders in one symbol; numbers are decimal text, "" where the venue has no such rule."""

    symbol: str  #: as on the wire
    base: str
    quote: str
    status: str  #: "trading", or what new orders are refused for
    tick: str
    lot: str
    price_min: str = ""
    price_max: str = ""
    qty_min: str = ""
    qty_max: str = ""
    notional_min: str = ""
    notional_max: str = ""
    orders_max: int = 0  #: open orders; 0 where the venue does not say


class MarketSession(Protocol):
    """The cold side of one venue's market data: one object a connection."""

    #: The connection is replaced before it is this old; 0 if the venue never cuts.
    life_ns: int

    def endpoint(self) -> Endpoint:
        """Where to connect."""

    def hello(self, now_ns: int) -> list[Outgoing]:
        """What to say right after connecting."""

    def resync(self, row: int, now_ns: int) -> list[Outgoing]:
        """What brings the book of an instrument row into step again; the answer to a Call goes to the feed's `on_snapshot`."""

    def tick(self, now_ns: int) -> list[Outgoing]:
        """What is due: pings, and what was held back for the venue's rate limits."""


class Fill(NamedTuple):
    """A trade of ours, as a snapshot tells it."""

    order_id: int  #: ours, 0 if foreign
    row: int  #: instrument
    event: Any  #: VENUE_EVENT row, kind TRADE


class Snapshot(NamedTuple):
    """What the venue says it holds of the account."""

    open_orders: NDArray[Any]  #: VENUE_EVENT rows of kind STATUS
    fills: NDArray[Any]  #: VENUE_EVENT rows of kind TRADE that were not booked, oldest first
    balances: dict[str, tuple[str, str]]  #: asset -> free, held, as decimal text


class AccountSession(Protocol):
    """The cold side of one venue's order entry and private stream."""

    #: True once orders may be sent and the private stream is live.
    ready: bool
    #: True when the connection is to be opened anew: the venue goes away, or it has come of age.
    shutdown: bool
    #: The venue's clock minus this host's CLOCK_REALTIME, as far as it is known.
    clock_offset_ns: int
    #: Why this account can never trade as configured (a revoked key, a missing permission); "" while it can.
    fatal: str
    #: Answers to queries since the last look, VENUE_EVENT rows; whoever takes them clears it.
    events: list[Any]
    #: The newest whole answer to `reconcile`, or None; whoever takes it clears it.
    snapshot: Snapshot | None

    @property
    def reconciling(self) -> bool:
        """Whether `snapshot` is still to come: False too when a part of it could not be had."""

    def warm(self) -> None:
        """Run every kernel that this cold code calls, on an account that is never used: none may be compiled while it trades."""

    def endpoint(self) -> Endpoint | None:
        """Where to connect the private WebSocket now; None while something else must come first (a token)."""

    def prepare(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """What must be asked before connecting, such as a token; only Calls."""

    def hello(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """What to say right after connecting: log-on, subscriptions."""

    def take(self, data: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a WebSocket message that `scan_private` left to cold code; what to say next."""

    def answer(self, tag: int, status: int, body: bytes, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Take a REST answer; status 0 means that there was none."""

    def tick(self, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """What is due: pings, a new token."""

    def ask_clock(self, now_ns: int) -> None:
        """The venue refused a request for its time: have its clock asked soon, and not when that is due."""

    def keep_armed(self, now_ns: int) -> list[Outgoing]:
        """What keeps the venue from ending all orders by its dead man's timer, when that is due; asked only while whoever sends lives."""

    def disarm(self) -> list[Outgoing]:
        """What stops that timer, before leaving in order with no order open."""

    def lost(self, now_ns: int) -> None:
        """The WebSocket is gone: nothing said on it counts any more."""

    def query(self, order_id: int, row: int, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for the state of one order by its client id, and for its trades; answers come as `events`, NOT_FOUND included."""

    def reconcile(self, booked: Booked, now_ns: int, utc_ns: int) -> list[Outgoing]:
        """Ask for open orders, fills back to one that is `booked`, and balances; the answer is `snapshot`.

        Of a fill that is booked nothing more is asked, such as whose it was.
        """
