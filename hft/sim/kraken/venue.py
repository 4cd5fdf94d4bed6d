"""The Kraken venue serves pairs to any number of clients: public and private sockets on one port, REST, and the control port."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import parse_qsl, urlsplit

import msgspec

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import Delivery
from hft.sim.exchange.background import Background
from hft.sim.exchange.customers import Customer
from hft.sim.exchange.exchange import NEVER_NS, Exchange
from hft.sim.exchange.records import FeeAsset, Status
from hft.sim.exchange.view import state as exchange_state
from hft.sim.faults import ClockSkew, Disconnect, Fault, FaultError, HalfOpen, InstrumentStatus, ServerShutdown, decode_fault
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
from hft.sim.market import Market
from hft.sim.player import Player, Settings
from hft.sim.venue import MS, SECOND_NS, Close, Opcode, RefusedError, Response, json_response

PATH = "/v2"
ATTEMPTS_MAX, ATTEMPTS_WINDOW_NS = 150, 600 * SECOND_NS
FIRST_CONNECTION_ID = 15_113_583_034_416_118_705


class KrakenVenue:
    """One simulated venue."""

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
        self._settings = settings
        self._pairs: dict[str, Pair] = {symbol: PAIRS[symbol] for symbol in symbols}
        self._faults = ArmedFaults()
        self.counters: Counter[str] = Counter()
        self._delivery = Delivery(self._faults, self.counters)
        self._player = Player(make_market, settings, wall_offset_ns)
        instruments = [instrument(pair) for pair in self._pairs.values()]
        customers = customers or default_customers(assets(self._pairs.values()))
        accounts = [customer.account() for customer in customers]
        self._exchange = Exchange(instruments, accounts, fee_asset=FeeAsset.QUOTE, first_trade_id=40_000_000)
        self._background = Background(self._exchange)
        self._feed = PublicFeed(self._pairs, self._faults.wrong_checksum)
        limits = TradingLimits(settings.unlimited)
        desk = OrderDesk(self._exchange, self._pairs, limits)
        keyring = Keyring(keys_of(customers))
        private = PrivateRest(desk, self._pairs, keyring)
        self._rest = RestDesk(self._feed, self._exchange, keyring, private, self._faults, self._delivery, settings.unlimited)
        self._reporter = Reporter(self._pairs, self._exchange.accounts, limits)
        self._requests = RequestFront(
            Context(self._feed, self._exchange, keyring, TradingMethods(desk, self._pairs), self._reporter, self._faults, self._delivery)
        )
        self._sessions: list[Session] = []
        self._session_count = 0
        self._attempts_ns: deque[int] = deque(maxlen=ATTEMPTS_MAX)
        self._closing: list[tuple[int, Session]] = []
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

    def closed(self, session: Session) -> None:
        """Forget a connection that is gone."""
        if session in self._sessions:
            self._sessions.remove(session)
            self._delivery.forget(session)

    def sessions(self) -> list[Session]:
        """Return the open sessions; a driver sends their outboxes and honours `close`."""
        return list(self._sessions)

    def end(self, reason: str) -> None:
        """Ask every client to leave."""
        for session in self._sessions:
            session.close = session.close or Close(1001, reason)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a REST request; `headers` has lower-case names."""
        self.counters["requests"] += 1
        response = self._rest.answer(method, target, headers, body, self._player.utc_ns(now_ns))
        self._tell(now_ns)
        return response._replace(delay_ns=response.delay_ns + self._faults.delay_now_ns(now_ns))

    def control(self, method: str, target: str, body: bytes, now_ns: int) -> Response:
        """Answer a request on the control port: GET /state, GET /book, POST /fault, POST /rewind."""
        parts = urlsplit(target)
        route = (method, parts.path)
        if route == ("GET", "/state"):
            return json_response(self.state())
        if route == ("GET", "/book"):
            return self._control_book(dict(parse_qsl(parts.query)).get("symbol", ""))
        if route == ("POST", "/fault"):
            try:
                self.inject(decode_fault(body), now_ns)
            except FaultError as error:
                return json_response({"error": str(error)}, 400)
            return json_response({"ok": True})
        if route == ("POST", "/rewind"):
            self.rewind(now_ns)
            return json_response({"ok": True})
        known = {"/state": "GET", "/book": "GET", "/fault": "POST", "/rewind": "POST"}.get(parts.path)
        return json_response(
            {"error": f"{parts.path[:80]} takes {known}" if known else f"no such path: {parts.path[:80]}"}, 405 if known else 404
        )

    def state(self) -> dict[str, object]:
        """Return what the venue is doing, as JSON-able values."""
        clients = [
            {
                "session": session.number,
                "private": session.private,
                "topics": [":".join(topic) for topic in session.topics],
                "feeds": list(session.feeds),
            }
            for session in self._sessions
        ]
        return {
            "venue": "kraken",
            **self._player.market.describe(),
            "playing": self._player.playing,
            "finished": self._player.finished,
            "position_ns": self._player.position_ns,
            "pace_per_mille": self._settings.pace_per_mille,
            "clients": clients,
            "counters": dict(sorted(self.counters.items())),
            "exchange": exchange_state(self._exchange),
        }

    def inject(self, fault: Fault, now_ns: int) -> None:
        """Misbehave, now or when the fault's turn comes."""
        self.counters["faults"] += 1
        if isinstance(fault, Disconnect | HalfOpen):
            self._delivery.strike_sockets(fault, self._sessions, now_ns)
        elif isinstance(fault, ServerShutdown):
            for session in self._sessions:
                session.outbox.append((Opcode.TEXT, self._status("maintenance", FIRST_CONNECTION_ID + session.number)))
                self._closing.append((now_ns + fault.after_ms * MS, session))
        elif isinstance(fault, ClockSkew):
            self._player.skew_ns = fault.skew_ms * MS
        elif isinstance(fault, InstrumentStatus):
            self._set_status(fault, now_ns)
        else:
            self._faults.arm(fault, now_ns)

    def rewind(self, now_ns: int) -> None:
        """Close every connection; playback begins again with the next subscriber. Accounts keep what they have, open orders too."""
        for session in self._sessions:
            session.close = session.close or Close(1001, "playback begins again")
        self._player.load()
        self._feed.reset()
        self._load_books(now_ns)

    @property
    def finished(self) -> bool:
        """Whether everything was played."""
        return self._player.finished

    def deadline_ns(self) -> int:
        """Return when `work` is next needed; IDLE_NS if only a client can change something."""
        deadline = min(self._player.deadline_ns(self._watched()), self._delivery.deadline_ns())
        if self._closing:
            deadline = min(deadline, min(at_ns for at_ns, _ in self._closing))
        exchange_ns = self._exchange.deadline_ns()
        if exchange_ns != NEVER_NS:
            deadline = min(deadline, self._player.monotonic_ns(exchange_ns))
        return min([deadline, *(session.due_ns() for session in self._sessions if session.close is None)])

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events; return how many events were played."""
        self._run_timers(now_ns)
        playing = not self._player.finished
        events = self._player.advance(now_ns, budget, self._watched())
        utc_ns = self._player.utc_ns(now_ns)
        for event in events:
            self._background.follow(event, utc_ns)
            for frame in self._feed.follow(event, utc_ns):
                self._publish(frame, now_ns)
        self._exchange.work(utc_ns)
        self._tell(now_ns)
        if playing and self._player.finished:
            self.counters["rounds"] += 1
            if self._settings.loop:
                self.rewind(now_ns)
        return len(events)

    def _watched(self) -> bool:
        return any(session.topics and session.close is None for session in self._sessions)

    def _run_timers(self, now_ns: int) -> None:
        for session in self._sessions:
            if session.close is None:
                session.tick(now_ns)
        for at_ns, session in self._closing:
            if now_ns >= at_ns:
                session.close = session.close or Close(1001, "server shutdown")
        self._closing = [entry for entry in self._closing if now_ns < entry[0]]
        self._delivery.work(now_ns)

    def _load_books(self, now_ns: int) -> None:
        """Show accounts and subscribers the book of a market that begins."""
        for symbol in self._pairs:
            book = self._player.market.book(symbol)
            self._feed.load(symbol, book)
            self._background.load(symbol, book, self._player.utc_ns(now_ns))

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

    def _tell(self, now_ns: int) -> None:
        """Send accounts what happened to them."""
        events = self._exchange.take_events()
        if events:
            self._player.begin(now_ns)
            for event in events:
                self._requests.tell(event, [session for session in self._sessions if session.close is None], now_ns)

    def _set_status(self, fault: InstrumentStatus, now_ns: int) -> None:
        """Change the status of pairs, and tell the followers of `instrument`."""
        for symbol, pair in self._pairs.items():
            if fault.symbol in ("", symbol):
                self._exchange.instruments[symbol].status = Status(fault.status)
                data = {"assets": [], "pairs": [instrument_pair(pair, Status(fault.status))]}
                payload = msgspec.json.encode({"channel": "instrument", "type": "update", "data": data})
                self._publish(Frame(("instrument", "", 0), payload, "public"), now_ns)

    def _control_book(self, symbol: str) -> Response:
        if symbol not in self._pairs:
            return json_response({"error": f"symbol must be one of {', '.join(self._pairs)}, was {symbol[:40]!r}"}, 400)
        book = self._feed.books[symbol]
        bids = [(book.price_text(key), book.qty_text(book.bids.lots[key])) for key in reversed(book.bids.keys)]
        asks = [(book.price_text(-key), book.qty_text(book.asks.lots[key])) for key in reversed(book.asks.keys)]
        return json_response({"symbol": symbol, "checksum": book.checksum(), "bids": bids, "asks": asks})

    def _status(self, system: str, connection_id: int) -> bytes:
        data = [{"version": "2.0.10", "system": system, "api_version": "v2", "connection_id": connection_id}]
        return msgspec.json.encode({"channel": "status", "type": "update", "data": data})
