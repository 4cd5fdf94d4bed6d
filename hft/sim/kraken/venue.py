"""The Kraken venue serves pairs to any number of clients: public and private sockets on one port, REST, and the control port."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from hft.sim.exchange.customers import Customer
from hft.sim.exchange.records import Event as AccountEvent
from hft.sim.kraken.feed import Frame, PublicFeed
from hft.sim.kraken.keys import Keyring, default_customers, keys_of
from hft.sim.kraken.orders import OrderDesk
from hft.sim.kraken.pairs import PAIRS, SYMBOLS_DEFAULT, Pair, assets, instrument, instrument_pair
from hft.sim.kraken.rates import TradingLimits
from hft.sim.kraken.reports import Reporter
from hft.sim.kraken.requests import Context, RequestFront
from hft.sim.kraken.rest import RestDesk
from hft.sim.kraken.rest_private import PrivateRest
from hft.sim.kraken.session import Session
from hft.sim.kraken.trading import TradingMethods
from hft.sim.market import Event, Level, Market
from hft.sim.played_venue import PlayedSession, PlayedVenue
from hft.sim.player import Settings
from hft.sim.venue import SECOND_NS, Close, Opcode, RefusedError

PATH = "/v2"
ATTEMPTS_MAX, ATTEMPTS_WINDOW_NS = 150, 600 * SECOND_NS
FIRST_CONNECTION_ID = 15_113_583_034_416_118_705


class KrakenVenue(PlayedVenue[Session]):
    """One simulated venue."""

    name = "kraken"

    def __init__(
        self,
        make_market: Callable[[], Market],
        settings: Settings,
        wall_offset_ns: int,
        symbols: Sequence[str] = SYMBOLS_DEFAULT,
        customers: Sequence[Customer] = (),
    ) -> None:
        """Play what `make_market` returns, anew for each round, whose symbols are the venue's; UTC is monotonic plus
        `wall_offset_ns`. Without `customers` there are those of `hft.sim.kraken.keys`. Raises CustomersError on an unusable key.
        """
        self._pairs: dict[str, Pair] = {symbol: PAIRS[symbol] for symbol in symbols}
        customers = customers or default_customers(assets(self._pairs.values()))
        instruments = [instrument(pair) for pair in self._pairs.values()]
        accounts = [customer.account() for customer in customers]
        super().__init__(make_market, settings, wall_offset_ns, instruments, accounts, first_trade_id=40_000_000)
        self._feed: PublicFeed = PublicFeed(self._pairs, self._faults.wrong_checksum)
        limits = TradingLimits(settings.unlimited)
        desk = OrderDesk(self._exchange, self._pairs, limits)
        keyring = Keyring(keys_of(customers))
        private = PrivateRest(desk, self._pairs, keyring)
        self._rest = RestDesk(self._feed, self._exchange, keyring, private, self._faults, self._delivery, settings.unlimited)
        self._reporter = Reporter(self._pairs, self._exchange.accounts, limits)
        self._requests = RequestFront(
            Context(self._feed, self._exchange, keyring, TradingMethods(desk, self._pairs), self._reporter, self._faults, self._delivery)
        )
        self._attempts_ns: deque[int] = deque(maxlen=ATTEMPTS_MAX)
        self._load_books(0)

    def admit(self, target: str, headers: Mapping[str, str], now_ns: int) -> None:
        """Judge a WebSocket handshake for a URL path with query. Raises RefusedError."""
        attempts = self._attempts_ns
        if not self._settings.unlimited and len(attempts) == ATTEMPTS_MAX and now_ns - attempts[0] < ATTEMPTS_WINDOW_NS:
            raise RefusedError(429, f"more than {ATTEMPTS_MAX} connection attempts in 10 minutes")
        attempts.append(now_ns)
        path = target.partition("?")[0]
        if path != PATH:
            raise RefusedError(404, f"no such path: {path[:80]}")

    def open(self, target: None, now_ns: int) -> Session:
        """Open a session for a client whose handshake is done; the venue speaks first."""
        self._session_count += 1
        self.counters["connections"] += 1
        session = Session(self._session_count, now_ns)
        self._sessions.append(session)
        session.outbox.append((Opcode.TEXT, self._status("online", FIRST_CONNECTION_ID + session.number)))
        return session

    def receive(self, session: Session, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message of a client."""
        self.counters["messages"] += 1
        if session.close is not None:
            return
        session.heard(now_ns)
        if opcode == Opcode.PING:
            session.outbox.append((Opcode.PONG, payload))
        elif opcode == Opcode.TEXT:
            self._requests.take(session, payload, now_ns, self._player.utc_ns(now_ns))
            session.settle(now_ns)
            if session.subscribed:
                self._player.begin(now_ns)
            self._tell(now_ns)
        elif opcode != Opcode.PONG:
            session.close = Close(1003, "Only text is understood")

    def _follow(self, event: Event, now_ns: int) -> None:
        for frame in self._feed.follow(event, self._player.utc_ns(now_ns)):
            self._publish(frame, now_ns)

    def _publish(self, frame: Frame, now_ns: int) -> None:
        channel, symbol, option = frame.topic
        sessions = [session for session in self._sessions if session.close is None and session.topics.get((channel, symbol)) == option]
        if not sessions:
            if channel == "book" and isinstance(option, int):
                self._feed.forget_view(symbol, option)
            return
        payloads = [frame.payload]
        if self._faults.waiting:
            payloads = self._faults.strike(frame.channel, symbol, frame.payload, frame.cross)
        for payload in payloads:
            for session in sessions:
                self._delivery.push(session, payload, frame.channel, now_ns, symbol)

    def _tell_accounts(self, events: Iterable[AccountEvent], now_ns: int) -> None:
        for event in events:
            self._requests.tell(event, [session for session in self._sessions if session.close is None], now_ns)

    def _tell_statuses(self, symbols: Sequence[str], now_ns: int) -> None:
        """Tell the followers of `instrument`."""
        for symbol in symbols:
            row = instrument_pair(self._pairs[symbol], self._exchange.instruments[symbol].status)
            payload = msgspec.json.encode({"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": [row]}})
            self._publish(Frame(("instrument", "", 0), payload, "public"), now_ns)

    def _book_state(self, symbol: str) -> dict[str, object]:
        return {"checksum": self._feed.books[symbol].checksum()}

    def _book_levels(self, symbol: str) -> tuple[list[Level], list[Level]]:
        return self._feed.books[symbol].text()

    def _shutdown_notice(self, session: PlayedSession) -> bytes:
        return self._status("maintenance", FIRST_CONNECTION_ID + session.number)

    def _status(self, system: str, connection_id: int) -> bytes:
        data = [{"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id}]
        return msgspec.json.encode({"channel": "status", "type": "update", "data": data})
