"""HTTP pool: opens and verifies the connections of an `HttpPool`, and opens them again when they end, in cold code."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from hft.http_client import Url, parse_url
from hft.reconnect import Reconnect
from processes.transport.connect import Settings
from processes.transport.http_wire import (
    ERROR,
    FD,
    OPEN,
    PHASE,
    TLS,
    HttpEnd,
    HttpPhase,
    HttpPool,
    check_free,
    claim_connection,
    end_connection,
    http_flush,
    http_poll,
    make_pool,
    next_response,
    open_connection,
    queue_request,
    release_response,
)
from processes.transport.stream import CertificateRefused, Stream, TransportError, tls_context
from processes.transport.tls import let_go, pointer_of, require_tls
from processes.transport.wire import CANCELS

_NONE, _DROPPED = int(HttpEnd.NONE), int(HttpEnd.DROPPED)


def warm() -> None:
    """Compile, or load, every kernel of a pool, on a scratch one: a first call later could take seconds."""
    pool = make_pool(1, 0)
    open_connection(pool, 0, -1, 0)
    queue_request(pool, claim_connection(pool, CANCELS), CANCELS, 0, 0, pool.out, 0, 1)
    http_flush(pool, pool.words, 0, 0)
    http_poll(pool, 0)
    release_response(pool, next_response(pool))
    check_free(pool)
    end_connection(pool, 0, _NONE, 0)


class HttpConnections:
    """The connections of a pool to one host, opened again whenever they end, until `close`.

    `tick` often, from cold code. Kernels may use any connection that is FREE meanwhile. Raises ConnectFailed where kernels
    cannot speak TLS and the URL needs it.
    """

    def __init__(self, settings: Settings, pool: HttpPool, make_retry: Callable[[], Reconnect]) -> None:
        """`settings.url` is http:// or https://, of which only the host and port count; `make_retry` is called once a connection."""
        self.url: Url = parse_url(settings.url, ("http", "https"))
        self.pool = pool
        self.error: Exception | None = None  #: the newest failure of an attempt
        self.failures = 0  #: attempts that failed
        self.resumed = 0  #: connections that resumed an earlier one's TLS session
        self.refused = False  #: whether the certificate was refused: there are no more attempts, a person must act
        self._settings = settings
        if self.url.secure:
            require_tls(self.url)
        # One context for all attempts: a session is only resumed within its own.
        self._tls = (settings.tls or tls_context()) if self.url.secure else None
        self._session: ssl.SSLSession | None = None
        self._closing = False
        count = pool.connections.shape[0]
        self._retries = [make_retry() for _ in range(count)]
        self._streams: list[Stream | None] = [None] * count
        self._sockets: list[socket.socket | None] = [None] * count

    @property
    def open_count(self) -> int:
        """Connections that are open, free or not."""
        return int(self.pool.connections[:, OPEN].sum())

    @property
    def closed(self) -> bool:
        """Whether `close` was called and all is done; outcomes may still wait to be taken."""
        return self._closing and not any(self._streams) and not any(self._sockets)

    def tick(self, now_ns: int) -> int:
        """Do what is due: notice ends, begin attempts, get on with them; returns how many connections were opened or ended.

        Never raises for the network's sake.
        """
        check_free(self.pool)
        return sum(self._tick(k, now_ns) for k in range(len(self._retries)))

    def close(self) -> None:
        """Make no more attempts, and end each connection once its request has ended. Go on ticking, polling and flushing until `closed`."""
        self._closing = True

    def drop(self) -> None:
        """End every connection at once; requests outstanding end as LOST or NOT_SENT."""
        for k, connected in enumerate(self._sockets):
            if connected is not None:
                end_connection(self.pool, k, _DROPPED, 0)

    def _tick(self, k: int, now_ns: int) -> int:
        row = self.pool.connections[k]
        if self._sockets[k] is not None:
            if self._closing and row[PHASE] == HttpPhase.FREE:
                end_connection(self.pool, k, _NONE, 0)
            if row[OPEN]:
                return 0
            self._let_go(k)
            self._retries[k].failed(now_ns)
            return 1
        if self._closing or self.refused:
            self._give_up(k)
            return 0
        if row[PHASE] != HttpPhase.CLOSED:
            return 0
        try:
            return self._advance(k, now_ns)
        except (TransportError, OSError) as error:
            self._give_up(k)
            self.error = error
            self.failures += 1
            self.refused = self.refused or isinstance(error, CertificateRefused)
            self._retries[k].failed(now_ns)
            return 0

    def _advance(self, k: int, now_ns: int) -> int:
        stream = self._streams[k]
        if stream is None:
            if not self._retries[k].due(now_ns):
                return 0
            self._retries[k].attempt(now_ns)
            deadline_ns = now_ns + self._settings.timeout_ns
            settings = self._settings
            stream = settings.network.open_stream(self.url, deadline_ns, self._tls, settings.addresses, self._session)
            self._streams[k] = stream
        if not stream.poll(now_ns):
            return 0
        connected = self._sockets[k] = stream.detach()
        self._streams[k] = None
        self.resumed += isinstance(connected, ssl.SSLSocket) and bool(connected.session_reused)
        open_connection(self.pool, k, connected.fileno(), pointer_of(self.url, connected))
        self._retries[k].opened(now_ns)
        return 1

    def _let_go(self, k: int) -> None:
        connected = self._sockets[k]
        assert connected is not None
        row = self.pool.connections[k]
        # The number of a closed socket may be another's tomorrow, and so may the address of what was TLS.
        row[FD], row[TLS] = -1, 0
        self._session = let_go(connected, orderly=bool(row[ERROR] == _NONE)) or self._session
        self._sockets[k] = None

    def _give_up(self, k: int) -> None:
        stream = self._streams[k]
        if stream is not None:
            stream.close()
            self._streams[k] = None
