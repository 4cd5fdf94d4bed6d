"""A session of the simulated Binance: what every WebSocket connection has, market streams or WebSocket API.

Nothing here touches a socket: messages come in as bytes with the time, and what is to be sent piles up in `outbox`.
"""

from __future__ import annotations

from collections import deque

from hft.sim.venue import SECOND_NS, Close, Opcode

PING_PERIOD_NS = 20 * SECOND_NS
PONG_TIMEOUT_NS = 60 * SECOND_NS
LIFE_NS = 24 * 3600 * SECOND_NS


class Session:
    """One client's connection: it is pinged, must pong, and ends at 24 hours."""

    def __init__(self, number: int, now_ns: int, private: bool) -> None:
        """Open it at `now_ns`."""
        self.number = number
        self.private = private
        #: (opcode, payload) to send, oldest first; the driver empties it.
        self.outbox: list[tuple[Opcode, bytes]] = []
        #: Set when the connection must end after the outbox is sent.
        self.close: Close | None = None
        self.stalled_until_ns = 0
        self._ends_ns = now_ns + LIFE_NS
        self._ping_due_ns = now_ns + PING_PERIOD_NS
        self._pong_by_ns = 0
        self._pings: deque[bytes] = deque(maxlen=8)

    def due_ns(self) -> int:
        """Return when `tick` has something to do."""
        return min(self._ping_due_ns, self._ends_ns, self._pong_by_ns or self._ends_ns)

    def tick(self, now_ns: int, wall_ms: int) -> None:
        """Send a ping that is due; end a session without pongs or at 24 h."""
        if now_ns >= self._ends_ns:
            self.close = self.close or Close(1001, "24 hours are over")
        elif self._pong_by_ns and now_ns >= self._pong_by_ns:
            self.close = self.close or Close(1008, "Pong timeout")
        elif now_ns >= self._ping_due_ns:
            payload = str(wall_ms).encode()
            self._pings.append(payload)
            self.outbox.append((Opcode.PING, payload))
            self._ping_due_ns = now_ns + PING_PERIOD_NS
            self._pong_by_ns = self._pong_by_ns or now_ns + PONG_TIMEOUT_NS

    def describe(self) -> dict[str, object]:
        """Return facts for people."""
        return {"session": self.number}

    def receive_control(self, opcode: int, payload: bytes) -> None:
        """Take a ping or a pong; anything else ends the session."""
        if opcode == Opcode.PING:
            self.outbox.append((Opcode.PONG, payload))
        elif opcode == Opcode.PONG:
            if payload in self._pings:
                self._pings.clear()
                self._pong_by_ns = 0
        else:
            self.close = Close(1003, "Only text is understood")
