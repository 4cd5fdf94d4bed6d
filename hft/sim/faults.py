"""A fault makes the simulated venue misbehave as real ones do; this module holds the vocabulary and what is armed.

`POST /fault` on the control port takes one of these as JSON, such as `{"kind":"drop_depth","symbol":"BTCUSDT","count":2}`.
An empty symbol means any. Faults on frames strike what a subscriber would have been sent; the simulator's own book is
always right.
"""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec

from hft.sim.market import BookText, DepthUpdate, Event, EventKind, decode_depth, depth_body

MS = 1_000_000


class DropDepth(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="drop_depth"):
    """Leave out the next depth frames, so that update ids have a gap."""

    symbol: str = ""
    count: int = 1


class Duplicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="duplicate"):
    """Send the next depth frames twice."""

    symbol: str = ""
    count: int = 1


class Corrupt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="corrupt"):
    """Damage the next frames."""

    symbol: str = ""
    count: int = 1
    how: Literal["truncate", "not_json", "not_utf8", "empty", "bad_number"] = "truncate"


class Crossed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="crossed"):
    """Add to the next depth frames a bid above the best ask."""

    symbol: str = ""
    count: int = 1


class Silence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="silence"):
    """Send no data for a while; pings go on, and what was not sent is lost."""

    for_ms: int = 5000


class Slow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="slow"):
    """Delay every frame and every REST answer for a while."""

    delay_ms: int = 500
    for_ms: int = 5000


class Disconnect(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="disconnect"):
    """Drop every connection without a close frame."""


class ServerShutdown(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="server_shutdown"):
    """Announce a shutdown, then close every connection."""

    after_ms: int = 1000


class StaleSnapshot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stale_snapshot"):
    """Answer the next REST depth requests with an update id from before the stream."""

    symbol: str = ""
    count: int = 1
    behind: int = 1_000_000


class RestError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="rest_error"):
    """Answer the next REST requests with an error; `html` is what a proxy in front of the venue says."""

    status: int = 503
    count: int = 1
    html: bool = False
    retry_after_s: int = 1


Fault = DropDepth | Duplicate | Corrupt | Crossed | Silence | Slow | Disconnect | ServerShutdown | StaleSnapshot | RestError
FrameFault = DropDepth | Duplicate | Corrupt | Crossed
F = TypeVar("F")

_decode = msgspec.json.Decoder(Fault).decode


class FaultError(ValueError):
    """A fault request is not valid; the message says where."""


def decode_fault(body: bytes) -> Fault:
    """Return the fault that a request asks for. Raises FaultError."""
    try:
        fault: Fault = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FaultError(str(error)) from error
    for name in ("count", "for_ms", "delay_ms", "after_ms", "behind", "retry_after_s"):
        if getattr(fault, name, 1) < 0:
            raise FaultError(f"{name} must not be negative")
    if isinstance(fault, RestError) and not 400 <= fault.status <= 599:
        raise FaultError(f"status must be within 400 .. 599, was {fault.status}")
    return fault


class ArmedFaults:
    """The faults that wait for a frame or a request, and the periods that run."""

    def __init__(self) -> None:
        self.silent_until_ns = 0
        self.slow_until_ns = 0
        self.delay_ns = 0
        self._frames: list[tuple[FrameFault, int]] = []
        self._stale: list[tuple[StaleSnapshot, int]] = []
        self._rest: list[tuple[RestError, int]] = []

    def arm(self, fault: Fault, now_ns: int) -> None:
        """Take a fault that acts later; connection faults are the venue's own."""
        if isinstance(fault, Silence):
            self.silent_until_ns = now_ns + fault.for_ms * MS
        elif isinstance(fault, Slow):
            self.slow_until_ns = now_ns + fault.for_ms * MS
            self.delay_ns = fault.delay_ms * MS
        elif isinstance(fault, StaleSnapshot):
            self._stale.append((fault, fault.count))
        elif isinstance(fault, RestError):
            self._rest.append((fault, fault.count))
        elif isinstance(fault, DropDepth | Duplicate | Corrupt | Crossed):
            self._frames.append((fault, fault.count))

    def delay_now_ns(self, now_ns: int) -> int:
        """Return how long to hold what is sent now."""
        return self.delay_ns if now_ns < self.slow_until_ns else 0

    def frames(self, event: Event, book: BookText | None) -> list[bytes]:
        """Return what to send instead of an event. `book` gives the price at which to cross."""
        for place, (fault, left) in enumerate(self._frames):
            if fault.symbol in ("", event.symbol) and (event.kind == EventKind.DEPTH or isinstance(fault, Corrupt)):
                _spend(self._frames, place, fault, left)
                return _strike(fault, event, book)
        return [event.body]

    @property
    def waiting_for_frames(self) -> bool:
        """Whether `frames` may change anything."""
        return bool(self._frames)

    def rest_error(self) -> RestError | None:
        """Return the error to answer the next request with, if any."""
        if not self._rest:
            return None
        fault, left = self._rest[0]
        _spend(self._rest, 0, fault, left)
        return fault

    def stale_by(self, symbol: str) -> int:
        """Return by how much to age the id of the next snapshot; 0 if not at all."""
        for place, (fault, left) in enumerate(self._stale):
            if fault.symbol in ("", symbol):
                _spend(self._stale, place, fault, left)
                return fault.behind
        return 0


def _spend(armed: list[tuple[F, int]], place: int, fault: F, left: int) -> None:
    """Use an armed fault once; take it off the list after its last use."""
    if left > 1:
        armed[place] = (fault, left - 1)
    else:
        del armed[place]


def _strike(fault: FrameFault, event: Event, book: BookText | None) -> list[bytes]:
    if isinstance(fault, DropDepth):
        return []
    if isinstance(fault, Duplicate):
        return [event.body, event.body]
    if isinstance(fault, Corrupt):
        return [_damaged(fault.how, event.body)]
    return [_crossed(decode_depth(event.body), book)]


def _damaged(how: str, body: bytes) -> bytes:
    if how == "truncate":
        return body[: len(body) * 2 // 3]
    if how == "not_json":
        return b"<html>502 Bad Gateway</html>"
    if how == "not_utf8":
        return body.replace(b'"s":"', b'"s":"\xff\xfe', 1)
    if how == "bad_number":
        return body.replace(b".", b".x", 1)
    return b""


def _crossed(update: DepthUpdate, book: BookText | None) -> bytes:
    """Return the diff with a bid at the second-best ask, and without any change to that ask."""
    asks = [level for level in (book.asks if book else [])]
    price = asks[min(1, len(asks) - 1)][0] if asks else "1000000.00000000"
    best = asks[0][0] if asks else price
    kept = [level for level in update.a if level[0] not in (price, best)]
    return depth_body(update.E, update.s, update.U, update.u, [(price, "1.00000000"), *update.b], [*kept, *asks[:2]])
