"""Connect: opens WebSocket connections and keeps them open, in cold code, for either transport.

A link owns a wire and its connection's life: it waits until an attempt is due, connects, verifies, upgrades, and begins again
when the connection ended. `tick` does all of it in small steps that never block; the hot path never calls it.
"""

from __future__ import annotations

import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.http_client import Headers, HttpError, UnexpectedStatus, Upgrade, Url, parse_url
from hft.reconnect import Reconnect
from hft.websocket import CloseCode
from processes.transport.direct import direct_flush, direct_poll
from processes.transport.stream import (
    HOST,
    Address,
    CertificateRefused,
    DeadlineExceeded,
    Network,
    Stream,
    TransportError,
    tls_context,
)
from processes.transport.tls import let_go, pointer_of, require_tls
from processes.transport.wire import (
    CLOSE_CODE,
    CONTROL,
    ERRNO,
    ERROR,
    FD,
    OPENED,
    STATE,
    TLS,
    Wire,
    WireError,
    WireState,
    end,
    error_name,
    make_wire,
    open_wire,
    start_close,
    unsent_bytes,
)


def warm() -> None:
    """Compile, or load, every kernel that links call from Python, on a scratch wire: a first call later could take seconds."""
    wire = make_wire(message_bytes_max=128, messages_max=1)
    open_wire(wire, -1, 1)
    direct_poll(wire, 0)
    open_wire(wire, -1, 1)
    direct_flush(wire, wire.words, OPENED, OPENED)
    start_close(wire, int(CloseCode.NORMAL), 0)
    unsent_bytes(wire, CONTROL)
    end(wire, int(WireError.DROPPED), 0)


class LinkEvent(IntEnum):
    """What a tick brought."""

    NOTHING = 0
    OPENED = 1  #: the wire is OPEN on a new connection
    ENDED = 2  #: the connection ended; `error` says why
    FAILED = 3  #: an attempt failed; `error` says why
    REFUSED = 4  #: the peer's certificate is refused, and there will be no more attempts; `error` says why


class LinkEnded(TransportError):
    """The connection was open and ended."""


_CLOSING = int(WireState.CLOSING)
_CLOSED = int(WireState.CLOSED)


class Kills(NamedTuple):
    """The kill words that hold for a connection's orders."""

    words: NDArray[Any]
    firm: int  #: index of the firm's word
    venue: int  #: index of the venue's word


class Settings(NamedTuple):
    """How to connect."""

    url: str  #: ws:// or wss://
    headers: Headers = ()
    timeout_ns: int = 5_000_000_000  #: for TCP, TLS and the upgrade together
    tls: ssl.SSLContext | None = None  #: of `tls_context`; None: the system's authorities
    addresses: Sequence[Address] = ()  #: of `resolve`; empty: resolved, which may block, at each attempt
    network: Network = HOST


class _Phase(Enum):
    WAITING = "waiting"
    CONNECTING = "connecting"
    OPEN = "open"


class Link(ABC):
    """A connection that is opened again whenever it ends, until `close`.

    `tick` often, from cold code. Between OPENED and ENDED the wire is live: `poll` and `flush` move its bytes.
    """

    def __init__(self, settings: Settings, wire: Wire, retry: Reconnect, kills: Kills) -> None:
        self.url: Url = parse_url(settings.url, ("ws", "wss"))
        self.wire = wire
        self.error: Exception | None = None  #: the newest failure
        self.refused = False  #: whether the certificate was refused; a person must act, then begin with a new link
        self.settings = settings
        self.kills = kills
        self._retry = retry
        self._phase = _Phase.WAITING
        self._closing = False

    @property
    def open(self) -> bool:
        """Whether there is a connection, OPEN or CLOSING."""
        return self._phase is _Phase.OPEN

    @property
    def closed(self) -> bool:
        """Whether `close` was called and all is done."""
        return self._closing and self._phase is _Phase.WAITING

    def tick(self, now_ns: int) -> LinkEvent:
        """Do what is due: begin an attempt, get on with it, notice the end. Never raises for the network's sake."""
        if self._phase is _Phase.OPEN:
            return self._watch(now_ns)
        if self._phase is _Phase.WAITING and (self._closing or self.refused or not self._retry.due(now_ns)):
            return LinkEvent.NOTHING
        try:
            if self._phase is _Phase.WAITING:
                self._retry.attempt(now_ns)
                self._phase = _Phase.CONNECTING
                self._begin(now_ns)
            if not self._advance(now_ns):
                return LinkEvent.NOTHING
        except (TransportError, HttpError, OSError) as error:
            self._let_go()
            self._phase = _Phase.WAITING
            self.error = error
            self._retry.failed(now_ns, error.retry_after_ns if isinstance(error, UnexpectedStatus) else 0)
            self.refused = isinstance(error, CertificateRefused)
            return LinkEvent.REFUSED if self.refused else LinkEvent.FAILED
        self._retry.opened(now_ns)
        self._phase = _Phase.OPEN
        return LinkEvent.OPENED

    def close(self, now_ns: int, code: CloseCode = CloseCode.NORMAL) -> None:
        """Make no more attempts; say CLOSE behind whatever is queued. Go on ticking, polling and flushing until `closed`."""
        self._closing = True
        if self._phase is _Phase.OPEN:
            start_close(self.wire, int(code), now_ns)
        else:
            self._let_go()
            self._phase = _Phase.WAITING

    def drop(self) -> None:
        """End the connection at once, without a CLOSE; the next tick says ENDED."""
        if self._phase is _Phase.OPEN:
            end(self.wire, int(WireError.DROPPED), 0)

    @abstractmethod
    def poll(self, now_ns: int) -> int:
        """Read what has arrived, when no burst does; returns how many messages became complete."""

    @abstractmethod
    def flush(self) -> int:
        """Write what is queued, when no burst does; returns the bytes handed over, or -WireError when the connection ended here."""

    @abstractmethod
    def _begin(self, now_ns: int) -> None:
        """Begin an attempt."""

    @abstractmethod
    def _advance(self, now_ns: int) -> bool:
        """Get on with the attempt; True once the wire is OPEN."""

    @abstractmethod
    def _let_go(self) -> None:
        """Free whatever the attempt or the connection holds."""

    def _watch(self, now_ns: int) -> LinkEvent:
        words = self.wire.words
        if words[STATE] == _CLOSING and words[ERROR] != 0 and unsent_bytes(self.wire, CONTROL) == 0:
            # The peer broke the protocol and was told; its answer is of no interest.
            end(self.wire, int(words[ERROR]), 0)
        if words[STATE] != _CLOSED:
            return LinkEvent.NOTHING
        self._let_go()
        self._phase = _Phase.WAITING
        self.error = self._ending()
        self._retry.failed(now_ns)
        return LinkEvent.ENDED

    def _ending(self) -> Exception:
        words = self.wire.words
        code, errno, close_code = int(words[ERROR]), int(words[ERRNO]), int(words[CLOSE_CODE])
        why = "closed" if code == WireError.NONE else error_name(code)
        details = [f"close code {close_code}"] if close_code else []
        details += [os.strerror(errno)] if errno else []
        return LinkEnded(f"{self.url.label}: {why}" + (f" ({', '.join(details)})" if details else ""))


class DirectLink(Link):
    """A link whose wire is read and written by `direct_poll` and `direct_flush`, in a burst or by `poll` and `flush`.

    For wss it opens, verifies and upgrades with Python's ssl, then gives the connection to the kernels. Raises ConnectFailed
    where kernels cannot speak TLS.
    """

    def __init__(self, settings: Settings, wire: Wire, retry: Reconnect, kills: Kills) -> None:
        super().__init__(settings, wire, retry, kills)
        if self.url.secure:
            require_tls(self.url)
        # One context for all attempts: a session is only resumed within its own.
        self._tls = (settings.tls or tls_context()) if self.url.secure else None
        self._session: ssl.SSLSession | None = None
        self.resumed = 0  #: connections that resumed an earlier one's TLS session
        self._stream: Stream | None = None
        self._upgrade: Upgrade | None = None
        self._unsent = b""
        self._deadline_ns = 0
        self._socket: Any = None

    def poll(self, now_ns: int) -> int:
        """See `direct_poll`."""
        return direct_poll(self.wire, now_ns)

    def flush(self) -> int:
        """See `direct_flush`."""
        return direct_flush(self.wire, self.kills.words, self.kills.firm, self.kills.venue)

    def _begin(self, now_ns: int) -> None:
        self._deadline_ns = now_ns + self.settings.timeout_ns
        self._upgrade = Upgrade(self.url, self.settings.network.entropy(16), self.settings.headers)
        self._unsent = self._upgrade.request
        self._stream = self.settings.network.open_stream(self.url, self._deadline_ns, self._tls, self.settings.addresses, self._session)

    def _advance(self, now_ns: int) -> bool:
        assert self._stream is not None and self._upgrade is not None
        if not self._stream.poll(now_ns):
            return False
        if now_ns >= self._deadline_ns:
            raise DeadlineExceeded(f"{self.url.label}: no WebSocket upgrade in time")
        if self._unsent:
            self._unsent = self._unsent[self._stream.write(self._unsent) :]
        data = self._stream.read()
        leftover = None if data is None else self._upgrade.receive(data)
        if leftover is None:
            return False
        self._socket = self._stream.detach()
        self._stream = None
        pointer = pointer_of(self.url, self._socket)
        self.resumed += isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.session_reused)
        seed = int.from_bytes(self.settings.network.entropy(8), "little") >> 1
        open_wire(self.wire, self._socket.fileno(), seed, leftover, now_ns)
        self.wire.words[TLS] = pointer
        return True

    def _let_go(self) -> None:
        # The number of a closed socket may be another's tomorrow, and so may the address of what was TLS.
        self.wire.words[FD] = -1
        self.wire.words[TLS] = 0
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._socket is not None:
            self._session = let_go(self._socket, orderly=self.wire.words[ERROR] == WireError.NONE) or self._session
            self._socket = None
