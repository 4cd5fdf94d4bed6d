"""Delivery puts frames into the outboxes of sessions, or lets the armed faults lose, repeat, damage, delay and reorder them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable

from hft.sim.armed_faults import ArmedFaults
from hft.sim.faults import Action, Channel, Disconnect, HalfOpen, OrderError, Reorder, Sockets
from hft.sim.venue import IDLE_NS, MS, Close, Ending, Opcode, Response, VenueSession


class Delivery:
    """Delivers for one venue."""

    def __init__(self, faults: ArmedFaults, counters: Counter[str]) -> None:
        self._faults = faults
        self._counters = counters
        self._count = 0
        #: (due, number, session, opcode, payload)
        self._delayed: list[tuple[int, int, VenueSession, Opcode, bytes]] = []
        #: Until then frames queue behind those that `slow` holds.
        self._slow_until_ns = 0
        self._behind: dict[VenueSession, list[tuple[Opcode, bytes]]] = {}

    def send(
        self,
        sessions: Iterable[VenueSession],
        payload: bytes,
        channel: Channel,
        now_ns: int,
        symbol: str = "",
        opcode: Opcode = Opcode.TEXT,
    ) -> None:
        """Send one frame to each session; a fault on frames strikes once, for all of them."""
        if self._calm(now_ns):
            for session in sessions:
                session.outbox.append((opcode, payload))
                self._counters["frames"] += 1
            return
        for body in self._faults.strike(channel, symbol, payload):
            for session in sessions:
                self.push(session, body, channel, now_ns, symbol, opcode)

    def push(
        self, session: VenueSession, payload: bytes, channel: Channel, now_ns: int, symbol: str = "", opcode: Opcode = Opcode.TEXT
    ) -> None:
        """Send a frame that was struck already: it may still be silenced, delayed or reordered."""
        faults = self._faults
        if self._calm(now_ns):
            self._counters["frames"] += 1
            session.outbox.append((opcode, payload))
            return
        if faults.silent(channel, now_ns):
            self._counters["silenced"] += 1
            return
        self._counters["frames"] += 1
        late = faults.lateness(channel, symbol)
        if isinstance(late, Reorder):
            self._behind.setdefault(session, []).append((opcode, payload))
            return
        delay_ns = late.delay_ms * MS if late is not None else 0
        slow_ns = faults.delay_now_ns(now_ns)
        if slow_ns or now_ns < self._slow_until_ns:
            self._slow_until_ns = max(now_ns + slow_ns, self._slow_until_ns)
            delay_ns += self._slow_until_ns - now_ns
        if delay_ns:
            self._count += 1
            heapq.heappush(self._delayed, (now_ns + delay_ns, self._count, session, opcode, payload))
            return
        session.outbox.append((opcode, payload))
        if self._behind:
            session.outbox += self._behind.pop(session, [])

    def answer(self, response: Response, action: Action) -> Response:
        """Return what becomes of the REST answer to an order request that was carried out; a 5xx is the venue's to word."""
        fate = self._faults.fate(action) if self._faults.waiting else None
        if fate is None:
            return response
        if not isinstance(fate, OrderError):
            return response._replace(ending=Ending.DROPPED if fate.hang_up else Ending.HELD)
        if fate.html:
            return proxy_page(fate.status)
        return Response(fate.status, (("Content-Type", "text/plain"),), b"upstream request timeout")

    def reply(self, session: VenueSession, payload: bytes, action: Action, failed: bytes, now_ns: int) -> None:
        """Answer an order request that came on a socket and was carried out; `failed` is how the venue words an unknown outcome."""
        if self._calm(now_ns):
            self._counters["frames"] += 1
            session.outbox.append((Opcode.TEXT, payload))
            return
        fate = self._faults.fate(action) if self._faults.waiting else None
        if fate is None:
            self.send((session,), payload, "reply", now_ns)
        elif isinstance(fate, OrderError):
            self.send((session,), proxy_page(fate.status).body if fate.html else failed, "reply", now_ns)
        elif fate.hang_up:
            session.close = Close(0, "injected")

    def _calm(self, now_ns: int) -> bool:
        """Whether no fault can touch what is sent now."""
        return self._faults.calm(now_ns) and now_ns >= self._slow_until_ns and not self._behind

    def strike_sockets(self, fault: Disconnect | HalfOpen, sessions: Iterable[VenueSession], now_ns: int) -> None:
        """Drop or stall the connections that a fault means."""
        for session in sessions:
            if not _means(fault.sockets, session):
                continue
            if isinstance(fault, Disconnect):
                session.close = Close(fault.code, "injected")
            else:
                session.stalled_until_ns = now_ns + fault.for_ms * MS

    def deadline_ns(self) -> int:
        """Return when `work` has something to do."""
        return self._delayed[0][0] if self._delayed else IDLE_NS

    def work(self, now_ns: int) -> None:
        """Send what was delayed until now."""
        while self._delayed and self._delayed[0][0] <= now_ns:
            _, _, session, opcode, payload = heapq.heappop(self._delayed)
            session.outbox.append((opcode, payload))

    def forget(self, session: VenueSession) -> None:
        """Drop what waits for a connection that is gone."""
        self._behind.pop(session, None)
        self._delayed = [entry for entry in self._delayed if entry[2] is not session]
        heapq.heapify(self._delayed)


def proxy_page(status: int) -> Response:
    """Return what a proxy in front of a venue says."""
    body = f"<html><head><title>{status}</title></head><body><h1>{status} error</h1></body></html>".encode()
    return Response(status, (("Content-Type", "text/html"),), body)


def _means(sockets: Sockets, session: VenueSession) -> bool:
    return sockets == "any" or session.private == (sockets == "private")
