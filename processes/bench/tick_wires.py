"""Tick wires: the connections of the tick-to-trade benchmark, over loopback, plain or under TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from processes.authority import Authority
from processes.bench.report import BenchError
from processes.transport.stream import tls_context
from shm.openssl import adopt

_UPGRADE_KEY = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_DEADLINE_S = 30
#: From an upgrade to the first frame.
_SETTLE_S = 0.05


class Ends(NamedTuple):
    """One side's ends."""

    market: socket.socket
    orders: tuple[socket.socket, ...]

    @property
    def fds(self) -> list[int]:
        """Descriptors: that of market data first."""
        return [self.market.fileno(), *(end.fileno() for end in self.orders)]


class Tls(NamedTuple):
    """PEM files of an authority and of a server on loopback that it vouches for."""

    ca_file: Path
    certificate: Path
    key: Path


def make_tls(folder: Path) -> Tls:
    """An authority of its own in `folder`. Raises EngineError when the folder cannot be used."""
    authority = Authority(folder)
    return Tls(authority.ca_file, folder / "server.pem", folder / "server.key")


def secured(end: socket.socket, tls: Tls) -> tuple[socket.socket, int]:
    """A client's end, once the peer has shaken hands, and its SSL pointer for kernels; `end` itself is of no use any more.

    Raises OSError for a handshake that fails, OpensslUnavailable where kernels cannot speak TLS.
    """
    end.settimeout(_DEADLINE_S)
    shaken = tls_context(tls.ca_file).wrap_socket(end, server_hostname="127.0.0.1")
    shaken.setblocking(False)
    return shaken, adopt(shaken)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    """A listener on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_DEADLINE_S)
        yield listener


@contextlib.contextmanager
def connections(for_orders: int) -> Iterator[tuple[Ends, Ends]]:
    """Both ends, ours and theirs, of a loopback TCP connection for market data and of so many for orders."""
    with contextlib.ExitStack() as stack:
        market, *orders = [stack.enter_context(_connection()) for _ in range(1 + for_orders)]
        yield Ends(market[0], tuple(ours for ours, _ in orders)), Ends(market[1], tuple(theirs for _, theirs in orders))


@contextlib.contextmanager
def _connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a loopback TCP connection, non-blocking."""
    with listening() as listener, socket.create_connection(listener.getsockname()) as ours, listener.accept()[0] as theirs:
        for end in (ours, theirs):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield ours, theirs


@contextlib.contextmanager
def upgraded(listener: socket.socket) -> Iterator[socket.socket]:
    """The next connection, after the server's half of its WebSocket upgrade."""
    with listener.accept()[0] as theirs:
        theirs.settimeout(_DEADLINE_S)
        request = b""
        while b"\r\n\r\n" not in request:
            data = theirs.recv(4096)
            if not data:
                raise BenchError(f"the engine gave its connection up after {request!r}")
            request += data
        fields = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = next(value for name, value in fields.items() if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key.strip() + _UPGRADE_KEY, usedforsecurity=False).digest())
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        time.sleep(_SETTLE_S)
        theirs.setblocking(False)
        yield theirs
