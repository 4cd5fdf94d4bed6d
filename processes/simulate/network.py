"""Network: what lies between a simulated engine and its venues, in virtual time: bytes take time, get stuck, and are cut.

The engine's ends are real sockets, so that its own transports read and write them; a venue's end speaks HTTP and WebSocket for the
simulator. Nothing here waits: `Network.run` does what is due.
"""

from __future__ import annotations

import heapq
import itertools
import select
import socket
from collections.abc import Callable
from random import Random
from typing import Any

from hft.http_client import Url
from hft.sim.venue import Venue
from processes.simulate.server_end import ServerEnd
from processes.transport.stream import ConnectFailed, DeadlineExceeded, Stream, TransportError
from shm.virtual_clock import VirtualClock

MS = 1_000_000
#: A path never gets slower than this by itself.
_LATENCY_NS = (100_000, 3 * MS)
_BUFFER_BYTES = 1 << 20


class Place:
    """A venue and the way there."""

    def __init__(self, name: str, row: int, venue: Venue) -> None:
        self.name, self.row, self.venue = name, row, venue
        self.latency_ns = _LATENCY_NS
        self.stuck_until_ns = 0  #: until then nothing passes; what was sent arrives afterwards
        self.refuses_until_ns = 0  #: until then connections are refused
        self.ends: list[ServerEnd] = []


class Network:
    """Connections to some venues, and everything that is on its way."""

    def __init__(self, clock: VirtualClock, chance: Random, heard: Callable[[Place, ServerEnd, Any], None]) -> None:
        """`heard` is told each message as its bytes leave the engine."""
        self.clock, self.heard = clock, heard
        self.places: dict[int, Place] = {}  #: by port
        self._chance = chance
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.written = select.poll()  #: knows the venues' ends that the engine has written to, or has left

    def at(self, due_ns: int, action: Callable[[], None]) -> None:
        """Have something done when its time comes."""
        heapq.heappush(self._due, (due_ns, next(self._count), action))

    def next_ns(self) -> int:
        """When something is due next."""
        return self._due[0][0] if self._due else 2**62

    def run(self) -> int:
        """Do what is due now; how much that was."""
        done = 0
        while self._due and self._due[0][0] <= self.clock.now_ns:
            heapq.heappop(self._due)[2]()
            done += 1
        return done

    def arrival_ns(self, place: Place, not_before_ns: int) -> int:
        """When what is sent now is there, behind what was sent before it."""
        due_ns = self.clock.now_ns + self._chance.randint(*place.latency_ns)
        return max(due_ns, not_before_ns, place.stuck_until_ns)

    def carry(self) -> int:
        """Take what the engine has written and what venues say; how much that was."""
        written = {number for number, _ in self.written.poll(0)}
        done = 0
        for place in self.places.values():
            for end in list(place.ends):
                if end.number in written or end.unsent:
                    done += end.hear()
                if end.session is not None:
                    done += end.speak()
        return done

    def close(self) -> None:
        """Let go of every socket."""
        for place in self.places.values():
            for end in list(place.ends):
                end.socket.close()
            place.ends.clear()


class Access:
    """One process's way into the network: what it has open ends with it."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._streams: list[SimulatedStream] = []
        self.dead = False

    def open_stream(self, url: Url, deadline_ns: int, *_: Any) -> SimulatedStream:
        """Begin a connection; called as `Stream` is."""
        self._streams = [stream for stream in self._streams if not stream.gone]
        self._streams.append(SimulatedStream(self._network, url, deadline_ns))
        return self._streams[-1]

    def die(self) -> None:
        """The process is gone, and every socket of it."""
        for stream in self._streams:
            stream.end()
        self._streams.clear()


class SimulatedStream(Stream):
    """A connection in the making to a place, by its port."""

    def __init__(self, network: Network, url: Url, deadline_ns: int) -> None:
        self._url, self._deadline_ns, self._network = url, deadline_ns, network
        self._socket: socket.socket | None = None
        self._kept: socket.socket | None = None
        self._place = network.places[url.port]
        self._ready_ns = network.arrival_ns(self._place, 0)

    @property
    def gone(self) -> bool:
        """Whether its socket is closed."""
        return self._kept is not None and self._kept.fileno() < 0

    def poll(self, now_ns: int) -> bool:
        """See Stream."""
        if self._socket is not None:
            return True
        if now_ns >= self._deadline_ns:
            raise DeadlineExceeded(f"{self._url.label}: no TCP connection in time")
        if now_ns < self._ready_ns:
            return False
        if now_ns < self._place.refuses_until_ns:
            raise ConnectFailed(f"{self._url.label}: cannot connect: Connection refused")
        self._socket, theirs = socket.socketpair()
        self._kept = self._socket
        for end in (self._socket, theirs):
            end.setblocking(False)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._place.ends.append(ServerEnd(self._network, self._place, theirs))
        return True

    def end(self) -> None:
        """Close the socket, whoever has it by now."""
        if self._kept is not None:
            self._kept.close()


__all__ = ["Access", "Network", "Place", "SimulatedStream", "TransportError"]
