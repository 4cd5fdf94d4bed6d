"""The Coinbase venue serves products to any number of clients: the feed on one socket port, REST, and the control port."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from hft.sim.coinbase.feed import BATCH_NS, Frame, PublicFeed, Topic
from hft.sim.coinbase.keys import Keyring, default_customers, keys_of
from hft.sim.coinbase.orders import OrderDesk
from hft.sim.coinbase.products import PRODUCTS, SYMBOLS_DEFAULT, Product, currencies, currency_row, instrument, product_row
from hft.sim.coinbase.rates import RequestRates, new_message_rate
from hft.sim.coinbase.reports import Reporter
from hft.sim.coinbase.requests import Context, RequestFront
from hft.sim.coinbase.rest import RestDesk
from hft.sim.coinbase.rest_private import PrivateRest
from hft.sim.coinbase.session import Says, Session
from hft.sim.exchange.customers import Customer
from hft.sim.exchange.records import Event as AccountEvent
from hft.sim.market import Event, Level, Market
from hft.sim.played_venue import PlayedVenue
from hft.sim.player import Settings
from hft.sim.venue import IDLE_NS, Close, Opcode, RefusedError

#: The venue's own trades with accounts are numbered from here, far from those of the market.
FIRST_TRADE_ID = 900_000_000


class CoinbaseVenue(PlayedVenue[Session]):
    """One simulated venue."""

    name = "coinbase"

    def __init__(
        self,
        make_market: Callable[[], Market],
        settings: Settings,
        wall_offset_ns: int,
        products: Sequence[Product] = (),
        customers: Sequence[Customer] = (),
        trades_take: bool = True,
    ) -> None:
        """Play what `make_market` returns, anew for each round, whose symbols are the products; UTC is monotonic plus
        `wall_offset_ns`. Without `products` there are those of SYMBOLS_DEFAULT, without `customers` those of `hft.sim.coinbase.keys`.
        `trades_take` is whether the market's trades take from its levels by themselves. Raises CustomersError on an unusable key.
        """
        products = products or [PRODUCTS[symbol] for symbol in SYMBOLS_DEFAULT]
        self._products: dict[str, Product] = {product.product_id: product for product in products}
        customers = customers or default_customers(currencies(products))
        accounts = [customer.account() for customer in customers]
        super().__init__(make_market, settings, wall_offset_ns, map(instrument, products), accounts, FIRST_TRADE_ID)
        self._feed: PublicFeed = PublicFeed(self._products, self._wanted, trades_take)
        self._rates = RequestRates(settings.unlimited)
        keyring = Keyring(keys_of(customers))
        desk = OrderDesk(self._exchange, self._products)
        private = PrivateRest(desk, keyring, self._rates, self._faults, self._delivery)
        self._rest = RestDesk(self._feed, self._exchange, private, self._rates, self._faults)
        self._reporter = Reporter(self._products, self._feed.sequences.__getitem__)
        self._requests = RequestFront(Context(self._feed, keyring, self._delivery, self._status, settings.unlimited))
        self._says = Says(lambda product, now_ns: self._feed.heartbeat(product, self._player.utc_ns(now_ns)), self._status)
        self._batch_due_ns = IDLE_NS
        self._load_books(0)

    def admit(self, target: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Judge a WebSocket handshake for a URL path with query. Raises RefusedError."""
        if not self._rates.connects(now_ns):
            raise RefusedError(429, "too many connections")
        path = target.partition("?")[0]
        if path not in ("", "/"):
            raise RefusedError(404, f"no such path: {path[:80]}")

    def open(self, target: None, now_ns: int) -> Session:
        """Open a session for a client whose handshake is done."""
        self._session_count += 1
        self.counters["connections"] += 1
        session = Session(self._session_count, now_ns, new_message_rate(self._settings.unlimited), self._says)
        self._sessions.append(session)
        return session

    def receive(self, session: Session, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message of a client."""
        self.counters["messages"] += 1
        if session.close is not None:
            return
        if opcode == Opcode.PING:
            session.outbox.append((Opcode.PONG, payload))
        elif opcode == Opcode.TEXT:
            self._requests.take(session, payload, self._live(), now_ns, self._player.utc_ns(now_ns))
            session.settle(now_ns)
            if session.topics:
                self._player.begin(now_ns)
        elif opcode != Opcode.PONG:
            session.close = Close(1003, "Only text is understood")

    def deadline_ns(self) -> int:
        """Return when `work` is next needed; IDLE_NS if only a client can change something."""
        return min(super().deadline_ns(), self._batch_due_ns)

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events; return how many events were played."""
        played = super().work(now_ns, budget)
        for frame in self._feed.take_tickers():
            self._publish(frame, now_ns)
        if now_ns >= self._batch_due_ns:
            self._batch_due_ns = IDLE_NS
            for frame in self._feed.take_batches():
                self._publish(frame, now_ns)
        if self._batch_due_ns == IDLE_NS and self._feed.gathers:
            self._batch_due_ns = now_ns + BATCH_NS
        return played

    def _live(self) -> list[Session]:
        return [session for session in self._sessions if session.close is None]

    def _wanted(self, topic: Topic) -> bool:
        return any(topic in session.topics for session in self._sessions)

    def _follow(self, event: Event, now_ns: int) -> None:
        for frame in self._feed.follow(event, self._player.stamp(event.at_ns)):
            self._publish(frame, now_ns)

    def _publish(self, frame: Frame, now_ns: int) -> None:
        sessions = [session for session in self._live() if frame.topic in session.topics]
        if not sessions:
            return
        symbol = frame.topic[1]
        payloads = [frame.payload]
        if self._faults.waiting:
            payloads = self._faults.strike(frame.channel, symbol, frame.payload, frame.cross)
        for payload in payloads:
            for session in sessions:
                self._delivery.push(session, payload, frame.channel, now_ns, symbol)

    def _tell_accounts(self, events: Iterable[AccountEvent], now_ns: int) -> None:
        for told in self._reporter.messages(events):
            sessions = [session for session in self._live() if session.topics.get(("user", told.product)) == told.account]
            if sessions:
                self._delivery.send(sessions, told.payload, "private", now_ns, told.product)

    def _tell_statuses(self, symbols: Sequence[str], now_ns: int) -> None:
        self._publish(Frame(("status", ""), self._status(), "public"), now_ns)

    def _status(self) -> bytes:
        """Return the message of channel `status`."""
        products = [
            product_row(product, self._exchange.instruments[name].status) | {"type": "spot"} for name, product in self._products.items()
        ]
        rows = [currency_row(currency) for currency in currencies(self._products.values())]
        return msgspec.json.encode({"type": "status", "products": products, "currencies": rows})

    def _book_state(self, symbol: str) -> dict[str, object]:
        return {"sequence": self._feed.sequences[symbol]}

    def _book_levels(self, symbol: str) -> tuple[list[Level], list[Level]]:
        return self._feed.feeds[symbol].book.text()
