"""The Binance venue serves a market to any number of clients: market streams, public REST and the control port."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from urllib.parse import parse_qsl, urlsplit

from hft.sim.armed_faults import ArmedFaults, struck
from hft.sim.binance.api import CONNECT_WEIGHT, ApiFront, ApiSession, ApiTarget, parse_api_target
from hft.sim.binance.desk import Desk
from hft.sim.binance.errors import ApiError
from hft.sim.binance.keys import default_customers
from hft.sim.binance.rest import RestFront
from hft.sim.binance.sbe import Encoder, stream_key
from hft.sim.binance.session import Session
from hft.sim.binance.streams import StreamSession, Target, TargetError, parse_target
from hft.sim.delivery import Delivery
from hft.sim.exchange.background import Background
from hft.sim.exchange.customers import Customer
from hft.sim.exchange.exchange import NEVER_NS, Exchange
from hft.sim.exchange.records import Status
from hft.sim.exchange.view import state as exchange_state
from hft.sim.faults import Channel, ClockSkew, Disconnect, Fault, FaultError, HalfOpen, InstrumentStatus, ServerShutdown, decode_fault
from hft.sim.market import BookText, Event, EventKind, Market, decode_depth, depth_body
from hft.sim.played_venue import ROUTES, account_page, heal
from hft.sim.player import Player, Settings
from hft.sim.venue import MS, SECOND_NS, Close, Opcode, RefusedError, Response, json_response

ATTEMPTS_MAX, ATTEMPTS_WINDOW_NS = 300, 300 * SECOND_NS
MILLISECOND_STAMP = re.compile(rb'("[ET]"\s*:\s*\d{13})(?!\d)')


class BinanceVenue:
    """One simulated venue."""

    def __init__(
        self, make_market: Callable[[], Market], settings: Settings, wall_offset_ns: int, customers: Sequence[Customer] = ()
    ) -> None:
        """Play what `make_market` returns, anew for each round; UTC is monotonic plus `wall_offset_ns`.

        Without `customers` there are those of `hft.sim.binance.keys`.
        """
        self._settings = settings
        self._faults = ArmedFaults()
        self.counters: Counter[str] = Counter()
        self._delivery = Delivery(self._faults, self.counters)
        self._player = Player(make_market, settings, wall_offset_ns, self._wait_for_snapshot)
        self._sessions: list[Session] = []
        self._session_count = 0
        self._subscribers: dict[str, list[StreamSession]] = {}
        self._attempts_ns: deque[int] = deque(maxlen=ATTEMPTS_MAX)
        self._closing: list[tuple[int, Session]] = []
        symbols = self._player.market.symbols()
        assets = [asset for info in symbols.values() for asset in (info.base, info.quote)]
        self._desk = Desk(symbols, customers or default_customers(assets), self._faults, settings.unlimited)
        self._rest = RestFront(self._desk, self._delivery)
        self._encoders = {symbol: Encoder(info) for symbol, info in symbols.items()}
        self._api = ApiFront(self._desk, self._delivery)
        self._background = Background(self._desk.exchange)
        self._load_background()

    def admit(self, target: str, headers: Mapping[str, str], now_ns: int) -> Target | ApiTarget:
        """Judge a WebSocket handshake for a URL path with query. Raises RefusedError."""
        attempts = self._attempts_ns
        if not self._settings.unlimited and len(attempts) == ATTEMPTS_MAX and now_ns - attempts[0] < ATTEMPTS_WINDOW_NS:
            raise RefusedError(429, f"more than {ATTEMPTS_MAX} connection attempts in 5 minutes")
        attempts.append(now_ns)
        api = parse_api_target(target)
        if api is not None:
            try:
                self._desk.address.charge(CONNECT_WEIGHT, self._player.utc_ns(now_ns))
            except ApiError as error:
                raise RefusedError(error.status, error.text) from error
            return api
        try:
            found = parse_target(target)
        except TargetError as error:
            raise RefusedError(404, str(error)) from error
        api_key = headers.get("x-mbx-apikey")
        return found if api_key is None else found._replace(binary=self._may_read_binary(api_key))

    def open(self, target: Target | ApiTarget, now_ns: int) -> Session:
        """Open a session for a client whose handshake is done."""
        self._session_count += 1
        self.counters["connections"] += 1
        session: Session
        if isinstance(target, ApiTarget):
            session = ApiSession(self._session_count, now_ns, self._player.utc_ns(now_ns), target)
        else:
            session = StreamSession(self._session_count, target, now_ns, self._settings.unlimited)
        self._sessions.append(session)
        self._index(now_ns)
        return session

    def receive(self, session: Session, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message of a client."""
        self.counters["messages"] += 1
        if isinstance(session, StreamSession):
            session.receive(opcode, payload, now_ns)
            if opcode == Opcode.TEXT:
                self._index(now_ns)
        elif opcode != Opcode.TEXT:
            session.receive_control(opcode, payload)
        elif isinstance(session, ApiSession) and session.close is None:
            self._api.receive(session, payload, self._player.market, now_ns, self._player.utc_ns(now_ns))
            self._tell(now_ns)

    def closed(self, session: Session) -> None:
        """Forget a connection that is gone."""
        if session in self._sessions:
            self._sessions.remove(session)
            self._delivery.forget(session)
            self._api.forget(session)
        self._index(None)

    def sessions(self) -> list[Session]:
        """Return the open sessions; a driver sends their outboxes and honours `close`."""
        return list(self._sessions)

    def end(self, reason: str) -> None:
        """Ask every client to leave."""
        for session in self._sessions:
            session.close = session.close or Close(1001, reason)
        self._index(None)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a REST request; `headers` has lower-case names."""
        self.counters["requests"] += 1
        response = self._rest.answer(self._player.market, method, target, headers, body, now_ns, self._player.utc_ns(now_ns))
        self._tell(now_ns)
        return response

    def control(self, method: str, target: str, body: bytes, now_ns: int) -> Response:
        """Answer a request on the control port: GET /state, GET /account, GET /book, POST /fault, POST /rewind."""
        parts = urlsplit(target)
        route = (method, parts.path)
        if route == ("GET", "/state"):
            return json_response(self.state(now_ns))
        if route == ("GET", "/account"):
            return account_page(self._desk.exchange, self._faults, parts.query, now_ns)
        if route == ("GET", "/book"):
            symbol = dict(parse_qsl(parts.query)).get("symbol", "")
            if symbol not in self._player.market.symbols():
                return json_response(
                    {"error": f"symbol must be one of {', '.join(self._player.market.symbols())}, was {symbol[:40]!r}"}, 400
                )
            book = self._player.market.book(symbol)
            return json_response({"symbol": symbol, "lastUpdateId": book.last_update_id, "bids": book.bids, "asks": book.asks})
        if route == ("POST", "/fault"):
            try:
                self.inject(decode_fault(body), now_ns)
            except FaultError as error:
                return json_response({"error": str(error)}, 400)
            return json_response({"ok": True})
        if route == ("POST", "/rewind"):
            self.rewind()
            return json_response({"ok": True})
        known = ROUTES.get(parts.path)
        return json_response(
            {"error": f"{parts.path[:80]} takes {known}" if known else f"no such path: {parts.path[:80]}"}, 405 if known else 404
        )

    def state(self, now_ns: int) -> dict[str, object]:
        """Return what the venue is doing, as JSON-able values."""
        return {
            "venue": "binance",
            **self._player.market.describe(),
            "playing": self._player.playing,
            "finished": self._player.finished,
            "position_ns": self._player.position_ns,
            "pace_per_mille": self._settings.pace_per_mille,
            "clients": [session.describe() for session in self._sessions],
            "weight_used": self._desk.address.weight.used,
            "counters": dict(sorted(self.counters.items())),
            "last_update_ids": {symbol: self._player.market.last_update_id(symbol) for symbol in self._player.market.symbols()},
            "exchange": exchange_state(self._desk.exchange),
        }

    def inject(self, fault: Fault, now_ns: int) -> None:
        """Misbehave, now or when the fault's turn comes."""
        self.counters["faults"] += 1
        if isinstance(fault, Disconnect | HalfOpen):
            self._delivery.strike_sockets(fault, self._sessions, now_ns)
            self._index(None)
        elif isinstance(fault, ServerShutdown):
            notice = f'{{"e":"serverShutdown","E":{self._player.utc_ns(now_ns) // MS}}}'.encode()
            for session in self._sessions:
                session.outbox.append((Opcode.TEXT, _shutdown(session, notice)))
                self._closing.append((now_ns + fault.after_ms * MS, session))
        elif isinstance(fault, ClockSkew):
            self._player.skew_ns = fault.skew_ms * MS
        elif isinstance(fault, InstrumentStatus):
            for symbol, pair in self._desk.pairs.items():
                if fault.symbol in ("", symbol):
                    pair.instrument.status = Status(fault.status)
        else:
            self._faults.arm(fault, now_ns)

    def rewind(self) -> None:
        """Close every connection; playback begins again with the next subscriber."""
        for session in self._sessions:
            session.close = session.close or Close(1001, "playback begins again")
        self._player.load()
        self._desk.public.clear()
        self._load_background()
        self._index(None)

    def heal(self) -> None:
        """Stop misbehaving: whatever faults still wait or last, end."""
        heal(self._faults, self._player, self._sessions, self.exchange)

    @property
    def exchange(self) -> Exchange:
        """The books and accounts behind the venue."""
        return self._desk.exchange

    @property
    def finished(self) -> bool:
        """Whether everything was played."""
        return self._player.finished

    def deadline_ns(self) -> int:
        """Return when `work` is next needed; IDLE_NS if only a client can change something."""
        deadline = min(self._player.deadline_ns(bool(self._subscribers)), self._delivery.deadline_ns())
        if self._closing:
            deadline = min(deadline, self._closing[0][0])
        exchange_ns = self._desk.exchange.deadline_ns()
        if exchange_ns != NEVER_NS:
            deadline = min(deadline, self._player.monotonic_ns(exchange_ns))
        return min([deadline, *(session.due_ns() for session in self._sessions)])

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events; return how many events were played."""
        self._run_timers(now_ns)
        playing = not self._player.finished
        events = self._player.advance(now_ns, budget, bool(self._subscribers))
        utc_ns = self._player.utc_ns(now_ns)
        for event in events:
            if event.kind == EventKind.BOOK:
                # The book at the end of these events: the events after this one change nothing that it does not have.
                self._background.load(event.symbol, self._player.market.book(event.symbol), utc_ns)
            else:
                self._background.follow(event, utc_ns)
                self._publish(event, now_ns)
        self._desk.exchange.work(utc_ns)
        self._tell(now_ns)
        if playing and self._player.finished:
            self.counters["rounds"] += 1
            if self._settings.loop:
                self.rewind()
        return len(events)

    def _may_read_binary(self, api_key: str) -> bool:
        """Return True: SBE streams are for those who name an Ed25519 key, and only they send one. Raises RefusedError."""
        try:
            if self._desk.keys.find(api_key).public is None:
                raise RefusedError(403, "SBE market streams need an Ed25519 API key")
        except ApiError as error:
            raise RefusedError(error.status, error.text) from error
        return True

    def _wait_for_snapshot(self, symbol: str) -> bool:
        """Whether a subscriber may still ask for the recorded snapshot that comes next."""
        if symbol in self._desk.public.depth_given or self._player.waited_long:
            return False
        prefix = f"{symbol.lower()}@depth"
        return any(stream.removeprefix("sbe:").startswith(prefix) for stream in self._subscribers)

    def _run_timers(self, now_ns: int) -> None:
        for session in self._sessions:
            if now_ns >= session.due_ns():
                session.tick(now_ns, self._player.utc_ns(now_ns) // MS)
        while self._closing and now_ns >= self._closing[0][0]:
            session = self._closing.pop(0)[1]
            session.close = session.close or Close(1001, "server shutdown")
        self._delivery.work(now_ns)

    def _index(self, now_ns: int | None) -> None:
        """Rebuild stream -> sessions; the first subscription sets the time at which playback begins."""
        subscribers: dict[str, list[StreamSession]] = {}
        for session in self._sessions:
            if isinstance(session, StreamSession) and session.close is None:
                for stream in session.streams:
                    subscribers.setdefault(stream_key(stream) if session.binary else stream, []).append(session)
        self._subscribers = subscribers
        if now_ns is not None and subscribers:
            self._player.begin(now_ns)

    def _publish(self, event: Event, now_ns: int) -> None:
        if event.kind == EventKind.TRADE:
            self._desk.public.trades[event.symbol].append(event.body)
            self._desk.pairs[event.symbol].reference_ticks = self._background.last_ticks(event.symbol)
        channel: Channel = "book" if event.kind == EventKind.DEPTH else "public"
        plain, binary = self._subscribers.get(event.stream), self._subscribers.get(f"sbe:{event.stream}")
        if event.kind == EventKind.DEPTH:
            self._publish_snapshot(event, now_ns)
        if plain is None and binary is None:
            return
        fault, cross = None, partial(_crossed, None)
        if self._faults.waiting:
            fault = self._faults.frame_fault(channel, event.symbol, event.kind == EventKind.DEPTH)
            cross = partial(_crossed, self._book(event.symbol))
        for body in struck(fault, event.body, cross) if plain else ():
            for session in plain or ():
                self._send(session, event, body, channel, now_ns)
        if binary:
            encoder = self._encoders[event.symbol]
            frame = encoder.event(event, self._stamp_us(event))
            assert frame is not None
            for body in struck(fault, frame, lambda _: encoder.diff(cross(event.body))):
                for session in binary:
                    self._delivery.push(session, body, channel, now_ns, event.symbol, Opcode.BINARY)

    def _publish_snapshot(self, event: Event, now_ns: int) -> None:
        """Send the best levels to SBE subscribers with each diff."""
        sessions = self._subscribers.get(f"sbe:{event.symbol.lower()}@depth20")
        if sessions is None or not event.stream.endswith("@100ms"):
            return
        frame = self._encoders[event.symbol].snapshot(self._player.market.book(event.symbol), self._stamp_us(event))
        self._delivery.send(sessions, frame, "public", now_ns, event.symbol, Opcode.BINARY)

    def _stamp_us(self, event: Event) -> int:
        return self._player.stamp(event.at_ns) // 1000

    def _load_background(self) -> None:
        """Let accounts trade against the book of a market that begins."""
        for symbol in self._player.market.symbols():
            self._background.load(symbol, self._player.market.book(symbol), 0)

    def _tell(self, now_ns: int) -> None:
        """Send accounts what happened to them."""
        events = self._desk.exchange.take_events()
        if events:
            self._player.begin(now_ns)
            self._api.publish(events, now_ns)

    def _book(self, symbol: str) -> BookText | None:
        market = self._player.market
        return market.book(symbol) if symbol in market.symbols() else None

    def _send(self, session: StreamSession, event: Event, body: bytes, channel: Channel, now_ns: int) -> None:
        if session.microseconds and not self._settings.untouched:
            body = MILLISECOND_STAMP.sub(rb"\g<1>000", body)
        session.sent_count += 1
        self._delivery.push(session, _wrapped(event.stream, body) if session.combined else body, channel, now_ns, event.symbol)


def _crossed(book: BookText | None, body: bytes) -> bytes:
    """Return a diff with a bid at the second-best ask, and without any change to that ask."""
    update = decode_depth(body)
    asks = [level for level in (book.asks if book else [])]
    price = asks[min(1, len(asks) - 1)][0] if asks else "1000000.00000000"
    best = asks[0][0] if asks else price
    kept = [level for level in update.a if level[0] not in (price, best)]
    return depth_body(update.E, update.s, update.U, update.u, [(price, "1.00000000"), *update.b], [*kept, *asks[:2]])


def _shutdown(session: Session, notice: bytes) -> bytes:
    """Return the notice as a session's protocol has it."""
    if isinstance(session, StreamSession):
        return _wrapped("!serverShutdown", notice) if session.combined else notice
    return b'{"event":' + notice + b"}"


def _wrapped(stream: str, body: bytes) -> bytes:
    """Return a message as the combined stream carries it."""
    return b'{"stream":"' + stream.encode() + b'","data":' + body + b"}"
