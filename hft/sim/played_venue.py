"""A venue that plays a market to sessions with subscriptions: playback, faults, the control port, and whom to tell.

What is a venue's own is what its subclass adds: which books it publishes and how, what it says of accounts, and its requests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

from hft.sim.armed_faults import ArmedFaults
from hft.sim.delivery import Delivery
from hft.sim.exchange.background import Background
from hft.sim.exchange.exchange import NEVER_NS, Exchange
from hft.sim.exchange.records import Account, FeeAsset, Instrument, Status
from hft.sim.exchange.records import Event as AccountEvent
from hft.sim.exchange.view import account_now
from hft.sim.exchange.view import state as exchange_state
from hft.sim.faults import ClockSkew, Disconnect, Fault, FaultError, HalfOpen, InstrumentStatus, ServerShutdown, decode_fault
from hft.sim.market import BookText, Event, Level, Market
from hft.sim.player import Player, Settings
from hft.sim.venue import IDLE_NS, MS, Close, Opcode, Response, VenueSession, json_response

ROUTES: Mapping[str, str] = {"/state": "GET", "/account": "GET", "/book": "GET", "/fault": "POST", "/rewind": "POST"}


def account_page(exchange: Exchange, faults: ArmedFaults, query: str, now_ns: int) -> Response:
    """Return what `GET /account?name=` says: one account as it is now, and the faults that wait or run."""
    name = dict(parse_qsl(query)).get("name", "")
    found = account_now(exchange, name)
    if found is None:
        return json_response({"error": f"name must be one of {', '.join(exchange.accounts)}, was {name[:40]!r}"}, 400)
    return json_response({"account": found, "faults": faults.pending(now_ns)})


def heal(faults: ArmedFaults, player: Player, sessions: Iterable[VenueSession], exchange: Exchange) -> None:
    """End whatever faults still wait or last."""
    faults.disarm()
    player.skew_ns = 0
    for session in sessions:
        session.stalled_until_ns = 0
    for instrument in exchange.instruments.values():
        instrument.status = Status.TRADING


class PlayedSession(VenueSession, Protocol):
    """A client's connection with subscriptions."""

    number: int

    @property
    def watches(self) -> bool:
        """Whether it subscribes to anything that the market moves."""

    def due_ns(self) -> int:
        """Return when `tick` has something to do."""

    def tick(self, now_ns: int) -> None:
        """Say what is due by time alone; end a connection whose time is over."""

    def summary(self) -> dict[str, object]:
        """Return what it subscribes to, for people."""


class PlayedFeed(Protocol):
    """The public side of a market's symbols."""

    def reset(self) -> None:
        """Begin with empty books."""

    def load(self, symbol: str, book: BookText) -> None:
        """Begin with a book."""


class PlayedRest(Protocol):
    """The venue's REST side."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, utc_ns: int) -> Response:
        """Answer a request; `headers` has lower-case names."""


S = TypeVar("S", bound=PlayedSession)


class PlayedVenue(ABC, Generic[S]):
    """The parts that such venues have in common."""

    name: str
    _feed: PlayedFeed
    _rest: PlayedRest

    def __init__(
        self,
        make_market: Callable[[], Market],
        settings: Settings,
        wall_offset_ns: int,
        instruments: Iterable[Instrument],
        accounts: Iterable[Account],
        first_trade_id: int,
    ) -> None:
        """Play what `make_market` returns, anew for each round; UTC is monotonic plus `wall_offset_ns`."""
        self._settings = settings
        self._faults = ArmedFaults()
        self.counters: Counter[str] = Counter()
        self._delivery = Delivery(self._faults, self.counters)
        self._player = Player(make_market, settings, wall_offset_ns)
        self._exchange = Exchange(instruments, accounts, fee_asset=FeeAsset.QUOTE, first_trade_id=first_trade_id)
        self._background = Background(self._exchange)
        self._sessions: list[S] = []
        self._session_count = 0
        self._closing: list[tuple[int, S]] = []

    def heal(self) -> None:
        """Stop misbehaving: whatever faults still wait or last, end."""
        heal(self._faults, self._player, self._sessions, self.exchange)

    @property
    def exchange(self) -> Exchange:
        """The books and accounts behind the venue."""
        return self._exchange

    @abstractmethod
    def _follow(self, event: Event, now_ns: int) -> None:
        """Publish what an event of the market makes the venue say."""

    @abstractmethod
    def _tell_accounts(self, events: Iterable[AccountEvent], now_ns: int) -> None:
        """Send accounts what happened to them."""

    @abstractmethod
    def _book_state(self, symbol: str) -> dict[str, object]:
        """Return what the control port says of a book beside its levels."""

    @abstractmethod
    def _book_levels(self, symbol: str) -> tuple[list[Level], list[Level]]:
        """Return the true public book."""

    @abstractmethod
    def _tell_statuses(self, symbols: Sequence[str], now_ns: int) -> None:
        """Tell that the statuses of symbols have changed."""

    def _shutdown_notice(self, session: PlayedSession) -> bytes:
        """Return what is said before a shutdown; nothing by default."""
        return b""

    def closed(self, session: S) -> None:
        """Forget a connection that is gone."""
        if session in self._sessions:
            self._sessions.remove(session)
            self._delivery.forget(session)

    def sessions(self) -> list[S]:
        """Return the open sessions; a driver sends their outboxes and honours `close`."""
        return list(self._sessions)

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a REST request; `headers` has lower-case names."""
        self.counters["requests"] += 1
        response = self._rest.answer(method, target, headers, body, self._player.utc_ns(now_ns))
        self._tell(now_ns)
        return response._replace(delay_ns=response.delay_ns + self._faults.delay_now_ns(now_ns))

    def end(self, reason: str) -> None:
        """Ask every client to leave."""
        for session in self._sessions:
            session.close = session.close or Close(1001, reason)

    def control(self, method: str, target: str, body: bytes, now_ns: int) -> Response:
        """Answer a request on the control port: GET /state, GET /account, GET /book, POST /fault, POST /rewind."""
        parts = urlsplit(target)
        route = (method, parts.path)
        if route == ("GET", "/state"):
            return json_response(self.state())
        if route == ("GET", "/account"):
            return account_page(self._exchange, self._faults, parts.query, now_ns)
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
        known = ROUTES.get(parts.path)
        return json_response(
            {"error": f"{parts.path[:80]} takes {known}" if known else f"no such path: {parts.path[:80]}"}, 405 if known else 404
        )

    def state(self) -> dict[str, object]:
        """Return what the venue is doing, as JSON-able values."""
        sessions = self._sessions
        return {
            "venue": self.name,
            **self._player.market.describe(),
            "playing": self._player.playing,
            "finished": self._player.finished,
            "position_ns": self._player.position_ns,
            "pace_per_mille": self._settings.pace_per_mille,
            "clients": [{"session": session.number, "private": session.private, **session.summary()} for session in sessions],
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
                notice = self._shutdown_notice(session)
                session.outbox += [(Opcode.TEXT, notice)] if notice else []
                self._closing.append((now_ns + fault.after_ms * MS, session))
        elif isinstance(fault, ClockSkew):
            self._player.skew_ns = fault.skew_ms * MS
        elif isinstance(fault, InstrumentStatus):
            symbols = [symbol for symbol in self._exchange.instruments if fault.symbol in ("", symbol)]
            for symbol in symbols:
                self._exchange.instruments[symbol].status = Status(fault.status)
            self._tell_statuses(symbols, now_ns)
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
        deadlines = [self._player.deadline_ns(self._watched()), self._delivery.deadline_ns()]
        deadlines += [at_ns for at_ns, _ in self._closing]
        exchange_ns = self._exchange.deadline_ns()
        if exchange_ns != NEVER_NS:
            deadlines.append(self._player.monotonic_ns(exchange_ns))
        deadlines += [session.due_ns() for session in self._sessions if session.close is None]
        return min(deadlines, default=IDLE_NS)

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events; return how many events were played."""
        self._run_timers(now_ns)
        playing = not self._player.finished
        events = self._player.advance(now_ns, budget, self._watched())
        utc_ns = self._player.utc_ns(now_ns)
        for event in events:
            self._background.follow(event, utc_ns)
            self._follow(event, now_ns)
        self._exchange.work(utc_ns)
        self._tell(now_ns)
        if playing and self._player.finished:
            self.counters["rounds"] += 1
            if self._settings.loop:
                self.rewind(now_ns)
        return len(events)

    def _watched(self) -> bool:
        return any(session.watches and session.close is None for session in self._sessions)

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
        for symbol in self._exchange.instruments:
            book = self._player.market.book(symbol)
            self._feed.load(symbol, book)
            self._background.load(symbol, book, self._player.utc_ns(now_ns))

    def _tell(self, now_ns: int) -> None:
        """Send accounts what happened to them."""
        events = self._exchange.take_events()
        if events:
            self._player.begin(now_ns)
            self._tell_accounts(events, now_ns)

    def _control_book(self, symbol: str) -> Response:
        instruments = self._exchange.instruments
        if symbol not in instruments:
            return json_response({"error": f"symbol must be one of {', '.join(instruments)}, was {symbol[:40]!r}"}, 400)
        bids, asks = self._book_levels(symbol)
        return json_response({"symbol": symbol, **self._book_state(symbol), "bids": bids, "asks": asks})
