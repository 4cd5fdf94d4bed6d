"""HTTP carrier: the connections of a stage's HTTP pool, each a pair of sockets with a simulated venue at the other end; no port, no thread."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import h11

from hft.sim.venue import Ending, Response
from processes.transport.http_wire import OPEN, PHASE, HttpPhase, HttpPool, check_free, open_connection

#: (method, target, headers with lower-case names, body) -> answer
Request = Callable[[str, str, Mapping[str, str], bytes], Response]


class HttpCarrier:
    """Opens the pool's connections and opens them again when they end; answers what comes over them."""

    def __init__(self, pool: HttpPool, request: Request) -> None:
        self._pool, self._request = pool, request
        self._pairs: list[tuple[socket.socket, _VenueEnd] | None] = [None] * pool.connections.shape[0]
        self.hears = True  #: whether what the venue answers arrives
        self.arrives = True  #: whether requests reach the venue

    def open(self) -> None:
        """Open whatever is closed."""
        check_free(self._pool)
        for k, pair in enumerate(self._pairs):
            row = self._pool.connections[k]
            if row[PHASE] != HttpPhase.CLOSED or row[OPEN]:
                continue
            if pair is not None:
                pair[0].close()
                pair[1].socket.close()
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            self._pairs[k] = (ours, _VenueEnd(theirs))
            open_connection(self._pool, k, ours.fileno(), 0)

    def carry(self) -> int:
        """Give the venue what has left, and the stage what it answers; how many requests that were."""
        return sum(self._carry(pair[1]) for pair in self._pairs if pair is not None)

    def _carry(self, end: _VenueEnd) -> int:
        count = 0
        for request, body in end.requests():
            count += 1
            if not self.arrives:
                continue
            headers = {bytes(name).decode(): bytes(value).decode() for name, value in request.headers}
            response = self._request(request.method.decode(), request.target.decode(), headers, body)
            if not self.hears or response.ending is Ending.DROPPED:
                end.socket.close()
            elif response.ending is Ending.SENT:
                end.answer(response)
        return count

    def close(self) -> None:
        """End all connections."""
        for pair in self._pairs:
            if pair is not None:
                pair[0].close()
                pair[1].socket.close()


class _VenueEnd:
    """The venue's end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = b""

    def requests(self) -> list[tuple[h11.Request, bytes]]:
        """Take what has come whole."""
        whole: list[tuple[h11.Request, bytes]] = []
        try:
            self._http.receive_data(self.socket.recv(1 << 16))
        except OSError:
            return whole
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                whole.append((self._request, self._body))
            else:
                return whole

    def answer(self, response: Response) -> None:
        """Send an answer."""
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        out = self._http.send(h11.Response(status_code=response.status, headers=headers))
        self.socket.send(out + self._http.send(h11.Data(data=response.body)) + self._http.send(h11.EndOfMessage()))
        self._http.start_next_cycle()
