"""Armed faults wait for a frame or a request to strike; a venue asks here before it sends or answers."""

from __future__ import annotations

from collections.abc import Callable

from hft.sim.faults import (
    Action,
    Channel,
    ClockSkew,
    Corrupt,
    Crossed,
    Delay,
    Disconnect,
    Drop,
    DropDepth,
    Duplicate,
    Fault,
    FrameFault,
    HalfOpen,
    InstrumentStatus,
    LoseAck,
    OrderError,
    RefuseOrder,
    Reorder,
    RestError,
    ServerShutdown,
    Silence,
    Slow,
    StaleSnapshot,
    WrongChecksum,
)

MS = 1_000_000


class ArmedFaults:
    """The faults that wait, and the periods that run."""

    def __init__(self) -> None:
        self.slow_until_ns = 0
        self.delay_ns = 0
        self._calm_from_ns = 0
        self._silent: list[tuple[Channel, int]] = []
        self._waiting: list[tuple[Fault, int]] = []

    def arm(self, fault: Fault, now_ns: int) -> None:
        """Take a fault that acts later; connection faults, the clock and statuses are the venue's own."""
        if isinstance(fault, Silence):
            self._silent = [period for period in self._silent if period[1] > now_ns]
            self._silent.append((fault.channel, now_ns + fault.for_ms * MS))
            self._calm_from_ns = max(self._calm_from_ns, now_ns + fault.for_ms * MS)
        elif isinstance(fault, Slow):
            self.slow_until_ns = now_ns + fault.for_ms * MS
            self.delay_ns = fault.delay_ms * MS
            self._calm_from_ns = max(self._calm_from_ns, self.slow_until_ns)
        elif not isinstance(fault, Disconnect | HalfOpen | ServerShutdown | ClockSkew | InstrumentStatus) and fault.count:
            self._waiting.append((fault, fault.count))

    def disarm(self) -> None:
        """Forget what waits, and end what runs."""
        self._waiting.clear()
        self._silent.clear()
        self.slow_until_ns = self._calm_from_ns = 0

    @property
    def waiting(self) -> bool:
        """Whether any fault waits for something to strike."""
        return bool(self._waiting)

    def calm(self, now_ns: int) -> bool:
        """Return whether no fault waits and no period runs."""
        return not self._waiting and now_ns >= self._calm_from_ns

    def pending(self, now_ns: int) -> dict[str, int]:
        """Return how many strikes wait, and how long the last period still runs, in milliseconds."""
        return {"waiting": sum(left for _, left in self._waiting), "runs_ms": -(-max(0, self._calm_from_ns - now_ns) // MS)}

    def silent(self, channel: Channel, now_ns: int) -> bool:
        """Return whether a channel is silenced now."""
        return any(now_ns < until_ns and _covers(silenced, channel) for silenced, until_ns in self._silent)

    def delay_now_ns(self, now_ns: int) -> int:
        """Return how long to hold what is sent now."""
        return self.delay_ns if now_ns < self.slow_until_ns else 0

    def frame_fault(self, channel: Channel, symbol: str, crossable: bool = False) -> FrameFault | None:
        """Return the fault that strikes the next frame, used up; `crossable` is whether a crossing level can be added to it."""
        kinds = (Drop, DropDepth, Duplicate, Corrupt, Crossed) if crossable else (Drop, DropDepth, Duplicate, Corrupt)
        fault = self._spend(lambda fault: isinstance(fault, kinds) and _hits(fault, channel, symbol))
        return fault if isinstance(fault, Drop | DropDepth | Duplicate | Corrupt | Crossed) else None

    def strike(self, channel: Channel, symbol: str, payload: bytes, cross: Callable[[bytes], bytes] | None = None) -> list[bytes]:
        """Return what to send instead of a frame: nothing, it twice, or something else. `cross` adds a crossing level."""
        return struck(self.frame_fault(channel, symbol, cross is not None), payload, cross)

    def lateness(self, channel: Channel, symbol: str) -> Delay | Reorder | None:
        """Return whether the next frame is to come late, or behind the one after it."""
        fault = self._spend(lambda fault: isinstance(fault, Delay | Reorder) and _hits(fault, channel, symbol))
        return fault if isinstance(fault, Delay | Reorder) else None

    def wrong_checksum(self, symbol: str) -> bool:
        """Return whether the next book frame's checksum is to be wrong."""
        return self._spend(lambda fault: isinstance(fault, WrongChecksum) and fault.symbol in ("", symbol)) is not None

    def rest_error(self) -> RestError | None:
        """Return the error to answer the next request with, unexecuted, if any."""
        fault = self._spend(lambda fault: isinstance(fault, RestError))
        return fault if isinstance(fault, RestError) else None

    def refusal(self, action: Action) -> RefuseOrder | None:
        """Return how to refuse the next request of the order path, unexecuted, if at all."""
        fault = self._spend(lambda fault: isinstance(fault, RefuseOrder) and fault.action in ("any", action))
        return fault if isinstance(fault, RefuseOrder) else None

    def fate(self, action: Action) -> LoseAck | OrderError | None:
        """Return what becomes of the answer to a request of the order path that was carried out."""
        fault = self._spend(lambda fault: isinstance(fault, LoseAck | OrderError) and fault.action in ("any", action))
        return fault if isinstance(fault, LoseAck | OrderError) else None

    def stale_by(self, symbol: str) -> int:
        """Return by how much to age the id of the next snapshot; 0 if not at all."""
        fault = self._spend(lambda fault: isinstance(fault, StaleSnapshot) and fault.symbol in ("", symbol))
        return fault.behind if isinstance(fault, StaleSnapshot) else 0

    def _spend(self, hits: Callable[[Fault], bool]) -> Fault | None:
        """Use the first armed fault that hits; it leaves after its last use."""
        for place, (fault, left) in enumerate(self._waiting):
            if hits(fault):
                if left > 1:
                    self._waiting[place] = (fault, left - 1)
                else:
                    del self._waiting[place]
                return fault
        return None


def struck(fault: FrameFault | None, payload: bytes, cross: Callable[[bytes], bytes] | None = None) -> list[bytes]:
    """Return what a fault makes of a frame; `cross` adds a crossing level."""
    if isinstance(fault, Drop | DropDepth):
        return []
    if isinstance(fault, Duplicate):
        return [payload, payload]
    if isinstance(fault, Corrupt):
        return [_damaged(fault.how, payload)]
    return [payload if fault is None or cross is None else cross(payload)]


def _covers(wanted: Channel, channel: Channel) -> bool:
    return wanted in (channel, "any") or wanted == "public" and channel == "book"


def _hits(fault: FrameFault, channel: Channel, symbol: str) -> bool:
    return _covers(fault.channel, channel) and fault.symbol in ("", symbol)


def _damaged(how: str, body: bytes) -> bytes:
    if how == "truncate":
        return body[: len(body) * 2 // 3]
    if how == "not_json":
        return b"<html>502 Bad Gateway</html>"
    if how == "not_utf8":
        opening = b'"s":"' if b'"s":"' in body else b'"'
        return body.replace(opening, opening + b"\xff\xfe", 1)
    if how == "bad_number":
        return body.replace(b".", b".x", 1)
    return b""
