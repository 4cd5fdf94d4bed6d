"""The Binance venue serves a market to any number of clients: market streams, public REST and the control port.

It is sans-I/O: a driver hands it handshakes, messages, requests and the time, sends what sessions have in their outboxes
and calls `work` when `deadline_ns` comes. The same object runs on sockets, inside a test, or in virtual time.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from hft.sim.binance_rest import Response, RestDesk, json_response
from hft.sim.binance_session import Close, Opcode, Session, Target, TargetError, parse_target
from hft.sim.faults import ArmedFaults, Disconnect, Fault, FaultError, ServerShutdown, decode_fault
from hft.sim.market import Event, EventKind, Market
from hft.sim.timeline import Timeline

MS = 1_000_000
SECOND_NS = 1_000_000_000
#: Playback begins this long after the first subscription, so that a client may subscribe in several steps.
START_GRACE_NS = 50 * MS
#: A client that wants a recorded snapshot has this long to ask for it before playback passes its place.
SNAPSHOT_WAIT_NS = 2 * SECOND_NS
ATTEMPTS_MAX, ATTEMPTS_WINDOW_NS = 300, 300 * SECOND_NS
IDLE_NS = 2**62
MILLISECOND_STAMP = re.compile(rb'("[ET]"\s*:\s*\d{13})(?!\d)')


class Settings(NamedTuple):
    """How a venue plays its market."""

    pace_per_mille: int = 1000  #: 0 is as fast as clients read
    loop: bool = False  #: at the end, close every connection and begin again with the next subscriber
    unlimited: bool = False  #: no limits on messages, request weight and connections
    untouched: bool = False  #: bodies are sent byte for byte, even to clients that asked for microseconds


class RefusedError(Exception):
    """A handshake is refused with an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class BinanceVenue:
    """One simulated venue."""

    def __init__(self, make_market: Callable[[], Market], settings: Settings, wall_offset_ns: int) -> None:
        """Play what `make_market` returns, anew for each round; UTC is monotonic plus `wall_offset_ns`."""
        self._make_market = make_market
        self._settings = settings
        self._wall_offset_ns = wall_offset_ns
        self._faults = ArmedFaults()
        self._sessions: list[Session] = []
        self._session_count = 0
        self._subscribers: dict[str, list[Session]] = {}
        self._attempts_ns: deque[int] = deque(maxlen=ATTEMPTS_MAX)
        self._delayed: deque[tuple[int, Session, bytes]] = deque()
        self._closing: list[tuple[int, Session]] = []
        self.counters: Counter[str] = Counter()
        self._load()

    def admit(self, target: str, now_ns: int) -> Target:
        """Judge a WebSocket handshake for a URL path with query. Raises RefusedError."""
        attempts = self._attempts_ns
        if not self._settings.unlimited and len(attempts) == ATTEMPTS_MAX and now_ns - attempts[0] < ATTEMPTS_WINDOW_NS:
            raise RefusedError(429, f"more than {ATTEMPTS_MAX} connection attempts in 5 minutes")
        attempts.append(now_ns)
        try:
            return parse_target(target)
        except TargetError as error:
            raise RefusedError(404, str(error)) from error

    def open(self, target: Target, now_ns: int) -> Session:
        """Open a session for a client whose handshake is done."""
        self._session_count += 1
        self.counters["connections"] += 1
        session = Session(self._session_count, target, now_ns, self._settings.unlimited)
        self._sessions.append(session)
        self._index(now_ns)
        return session

    def receive(self, session: Session, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message of a client."""
        self.counters["messages"] += 1
        session.receive(opcode, payload, now_ns)
        if opcode == Opcode.TEXT:
            self._index(now_ns)

    def closed(self, session: Session) -> None:
        """Forget a connection that is gone."""
        if session in self._sessions:
            self._sessions.remove(session)
        self._index(None)

    def sessions(self) -> list[Session]:
        """Return the open sessions; a driver sends their outboxes and honours `close`."""
        return list(self._sessions)

    def end(self, reason: str) -> None:
        """Ask every client to leave."""
        for session in self._sessions:
            session.close = session.close or Close(1001, reason)
        self._index(None)

    def request(self, method: str, target: str, headers: Mapping[str, str], now_ns: int) -> Response:
        """Answer a REST request; `headers` has lower-case names."""
        self.counters["requests"] += 1
        return self._rest.answer(self._market, method, target, headers, now_ns, self._timeline.wall_ns(now_ns))

    def control(self, method: str, target: str, body: bytes, now_ns: int) -> Response:
        """Answer a request on the control port: GET /state, GET /book, POST /fault, POST /rewind."""
        parts = urlsplit(target)
        route = (method, parts.path)
        if route == ("GET", "/state"):
            return json_response(self.state(now_ns))
        if route == ("GET", "/book"):
            symbol = dict(parse_qsl(parts.query)).get("symbol", "")
            if symbol not in self._market.symbols():
                return json_response({"error": f"symbol must be one of {', '.join(self._market.symbols())}, was {symbol[:40]!r}"}, 400)
            book = self._market.book(symbol)
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
        known = {"/state": "GET", "/book": "GET", "/fault": "POST", "/rewind": "POST"}.get(parts.path)
        return json_response(
            {"error": f"{parts.path[:80]} takes {known}" if known else f"no such path: {parts.path[:80]}"}, 405 if known else 404
        )

    def state(self, now_ns: int) -> dict[str, object]:
        """Return what the venue is doing, as JSON-able values."""
        clients = [
            {"session": session.number, "combined": session.combined, "streams": list(session.streams), "frames": session.sent_count}
            for session in self._sessions
        ]
        return {
            "venue": "binance",
            **self._market.describe(),
            "playing": self._timeline.running and not self.finished,
            "finished": self.finished,
            "position_ns": self._position_ns,
            "pace_per_mille": self._settings.pace_per_mille,
            "clients": clients,
            "weight_used": self._rest.weight_used,
            "counters": dict(sorted(self.counters.items())),
            "last_update_ids": {symbol: self._market.last_update_id(symbol) for symbol in self._market.symbols()},
        }

    def inject(self, fault: Fault, now_ns: int) -> None:
        """Misbehave, now or when the fault's turn comes."""
        self.counters["faults"] += 1
        if isinstance(fault, Disconnect):
            for session in self._sessions:
                session.close = Close(0, "injected")
            self._index(None)
        elif isinstance(fault, ServerShutdown):
            notice = f'{{"e":"serverShutdown","E":{self._timeline.wall_ns(now_ns) // MS}}}'.encode()
            for session in self._sessions:
                session.outbox.append((Opcode.TEXT, _wrapped("!serverShutdown", notice) if session.combined else notice))
                self._closing.append((now_ns + fault.after_ms * MS, session))
        else:
            self._faults.arm(fault, now_ns)

    def rewind(self) -> None:
        """Close every connection; playback begins again with the next subscriber."""
        for session in self._sessions:
            session.close = session.close or Close(1001, "playback begins again")
        self._load()
        self._index(None)

    @property
    def finished(self) -> bool:
        """Whether everything was played."""
        return self._due_ns is None

    def deadline_ns(self) -> int:
        """Return when `work` is next needed; IDLE_NS if only a client can change something."""
        deadline = min((session.due_ns() for session in self._sessions), default=IDLE_NS)
        if self._delayed:
            deadline = min(deadline, self._delayed[0][0])
        if self._closing:
            deadline = min(deadline, self._closing[0][0])
        if not self._timeline.running:
            return min(deadline, self._begin_ns)
        if self._held:
            return min(deadline, self._hold_until_ns)
        if self._due_ns is None or self._timeline.unbounded and not self._subscribers:
            return deadline
        return min(deadline, self._timeline.when(self._due_ns))

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events; return how many events were played.

        At unbounded pace every call plays `budget` events, so the driver calls only while clients keep up.
        """
        self._run_timers(now_ns)
        if not self._timeline.running:
            if now_ns < self._begin_ns:
                return 0
            self._timeline.start(now_ns)
            self._market.begin(self._timeline.stamp, self._wait_for_snapshot)
        if self._due_ns is None or self._timeline.unbounded and not self._subscribers:
            return 0
        self._now_ns = now_ns
        if self._held:
            self._timeline.hold(self._due_ns, now_ns)
        events = self._market.advance(self._timeline.position(now_ns), budget)
        for event in events:
            self._publish(event, now_ns)
        if events:
            self._position_ns = events[-1].at_ns
        self._after_advance(now_ns)
        return len(events)

    def _load(self) -> None:
        """Put a new round's market in place, to begin with the first subscriber."""
        self._market = self._make_market()
        self._rest = RestDesk(self._faults, self._settings.unlimited)
        self._timeline = Timeline(self._settings.pace_per_mille, self._wall_offset_ns)
        self._begin_ns = IDLE_NS
        self._due_ns = self._market.due_ns()
        self._position_ns = 0
        self._now_ns = 0
        self._held: bool = False
        self._hold_until_ns = 0

    def _after_advance(self, now_ns: int) -> None:
        self._due_ns = self._market.due_ns()
        held = self._market.held()
        if held and not self._held:
            self._hold_until_ns = now_ns + SNAPSHOT_WAIT_NS
        self._held = held
        if self._due_ns is None:
            self.counters["rounds"] += 1
            if self._settings.loop:
                self.rewind()

    def _wait_for_snapshot(self, symbol: str) -> bool:
        """Whether a subscriber may still ask for the recorded snapshot that comes next."""
        if symbol in self._rest.depth_given or self._held and self._now_ns >= self._hold_until_ns:
            return False
        prefix = f"{symbol.lower()}@depth"
        return any(stream.startswith(prefix) for stream in self._subscribers)

    def _run_timers(self, now_ns: int) -> None:
        for session in self._sessions:
            if now_ns >= session.due_ns():
                session.tick(now_ns, self._timeline.wall_ns(now_ns) // MS)
        while self._closing and now_ns >= self._closing[0][0]:
            session = self._closing.pop(0)[1]
            session.close = session.close or Close(1001, "server shutdown")
        while self._delayed and now_ns >= self._delayed[0][0]:
            _, session, payload = self._delayed.popleft()
            session.outbox.append((Opcode.TEXT, payload))

    def _index(self, now_ns: int | None) -> None:
        """Rebuild stream -> sessions; the first subscription sets the time at which playback begins."""
        subscribers: dict[str, list[Session]] = {}
        for session in self._sessions:
            if session.close is None:
                for stream in session.streams:
                    subscribers.setdefault(stream, []).append(session)
        self._subscribers = subscribers
        if now_ns is not None and subscribers and self._begin_ns == IDLE_NS:
            self._begin_ns = now_ns + START_GRACE_NS

    def _publish(self, event: Event, now_ns: int) -> None:
        if event.kind == EventKind.TRADE:
            self._rest.trades[event.symbol].append(event.body)
        sessions = self._subscribers.get(event.stream)
        if sessions is None:
            return
        bodies = [event.body]
        if self._faults.waiting_for_frames:
            bodies = self._faults.frames(event, self._market.book(event.symbol) if event.symbol in self._market.symbols() else None)
        if now_ns < self._faults.silent_until_ns:
            self.counters["silenced"] += len(bodies)
            return
        for body in bodies:
            for session in sessions:
                self._send(session, event.stream, body, now_ns)

    def _send(self, session: Session, stream: str, body: bytes, now_ns: int) -> None:
        if session.microseconds and not self._settings.untouched:
            body = MILLISECOND_STAMP.sub(rb"\g<1>000", body)
        payload = _wrapped(stream, body) if session.combined else body
        session.sent_count += 1
        self.counters["frames"] += 1
        delay_ns = self._faults.delay_now_ns(now_ns)
        if delay_ns or self._delayed:
            due_ns = max(now_ns + delay_ns, self._delayed[-1][0] if self._delayed else 0)
            self._delayed.append((due_ns, session, payload))
        else:
            session.outbox.append((Opcode.TEXT, payload))


def _wrapped(stream: str, body: bytes) -> bytes:
    """Return a message as the combined stream carries it."""
    return b'{"stream":"' + stream.encode() + b'","data":' + body + b"}"
