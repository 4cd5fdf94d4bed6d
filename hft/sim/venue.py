"""What a simulated venue is to the driver that serves it: sessions with outboxes, requests with answers, and deadlines.

A venue is sans-I/O: the driver hands it handshakes, messages, requests and the time (CLOCK_MONOTONIC in ns), sends what
sessions have in their outboxes and calls `work` when `deadline_ns` comes. The same object runs on sockets, inside a test, or in
virtual time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum
from typing import Any, NamedTuple, Protocol

import msgspec

from hft.sim.exchange.exchange import Exchange

MS = 1_000_000
SECOND_NS = 1_000_000_000
IDLE_NS = 2**62


class Opcode(IntEnum):
    """WebSocket frame types."""

    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Close(NamedTuple):
    """How to end a connection; code 0 means without a close frame."""

    code: int
    reason: str


class Ending(Enum):
    """What becomes of an HTTP answer."""

    SENT = "sent"
    HELD = "held"  #: never sent; the connection stays open until the client gives up
    DROPPED = "dropped"  #: never sent; the connection is closed


class Response(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    delay_ns: int = 0  #: how long the driver holds it
    ending: Ending = Ending.SENT


class RefusedError(Exception):
    """A handshake is refused with an HTTP status."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class VenueSession(Protocol):
    """One client's WebSocket connection."""

    #: (opcode, payload) to send, oldest first; the driver empties it.
    outbox: list[tuple[Opcode, bytes]]
    #: Set when the connection must end after the outbox is sent.
    close: Close | None
    #: Until then the driver neither reads nor writes the connection, and leaves it open.
    stalled_until_ns: int
    #: Whether orders or private events go over it.
    private: bool


class Venue(Protocol):
    """A simulated venue. Targets and sessions are its own; the driver gives back what it was given."""

    counters: Counter[str]

    @property
    def exchange(self) -> Exchange:
        """The books and accounts behind the venue."""

    def admit(self, target: str, headers: Mapping[str, str], now_ns: int) -> Any:
        """Judge a WebSocket handshake for a URL path with query; `headers` has lower-case names. Raises RefusedError."""

    def open(self, target: Any, now_ns: int) -> Any:
        """Open a session for a client whose handshake is done."""

    def receive(self, session: Any, opcode: int, payload: bytes, now_ns: int) -> None:
        """Take one whole message of a client."""

    def closed(self, session: Any) -> None:
        """Forget a connection that is gone."""

    def sessions(self) -> Sequence[VenueSession]:
        """Return the open sessions."""

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a REST request; `headers` has lower-case names."""

    def control(self, method: str, target: str, body: bytes, now_ns: int) -> Response:
        """Answer a request on the control port."""

    def heal(self) -> None:
        """Stop misbehaving: whatever faults still wait or last, end."""

    def deadline_ns(self) -> int:
        """Return when `work` is next needed; IDLE_NS if only a client can change something."""

    def work(self, now_ns: int, budget: int) -> int:
        """Do what is due: timers, then up to about `budget` events of the market; return how many were played.

        At unbounded pace every call plays `budget` events, so the driver calls only while clients keep up.
        """

    def end(self, reason: str) -> None:
        """Ask every client to leave."""


def json_response(value: object, status: int = 200, headers: tuple[tuple[str, str], ...] = (), delay_ns: int = 0) -> Response:
    """Return a JSON answer."""
    return Response(status, (("Content-Type", "application/json;charset=UTF-8"), *headers), msgspec.json.encode(value), delay_ns)


def frame_bytes(opcode: int, payload: bytes) -> bytes:
    """Return a whole, unmasked WebSocket frame."""
    length = len(payload)
    if length < 126:
        return bytes((0x80 | opcode, length)) + payload
    if length < 65536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big") + payload
