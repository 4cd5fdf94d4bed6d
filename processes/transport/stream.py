"""Stream: one TCP or TLS connection, opened and used without ever blocking.

TransportError
  ConnectFailed      refused, unreachable, unknown host
  DeadlineExceeded   not done in time
  TlsFailed          the handshake
    CertificateRefused   the certificate: authority, host name or dates. No attempt will end otherwise until someone acts

Names are the exception: `resolve` asks the system's resolver, which blocks for as long as that is configured to. Call it
before trading begins, or use addresses; connections that were given addresses never call it.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hft.http_client import Url
from processes.errors import EngineError

RECV_BYTES = 65536


class TransportError(EngineError):
    """A connection cannot be had, or was lost."""


class ConnectFailed(TransportError):
    """There is no connection."""


class DeadlineExceeded(TransportError):
    """It took too long."""


class TlsFailed(TransportError):
    """The peer could not be verified, or does not speak TLS."""


class CertificateRefused(TlsFailed):
    """The peer's certificate is not one of a trusted authority for this host and this day."""


class Address(NamedTuple):
    """What `socket.connect` takes."""

    family: int
    sockaddr: Any


def resolve(url: Url) -> tuple[Address, ...]:
    """The addresses of a URL's host; blocks unless it is an address itself. Raises ConnectFailed."""
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectFailed(f"{url.label}: cannot resolve {url.host}: {error}") from None
    return tuple(Address(family, sockaddr) for family, _, _, _, sockaddr in found)


def tls_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A client context that verifies chain and host name, by the system's authorities or those in `ca_file` alone.

    TLS 1.2 or newer, and no renegotiation. Raises EngineError for a file that cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except OSError as error:  # Of `ssl` too: SSLError is one.
        raise EngineError(f"CA file {ca_file}: {error.strerror or error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


def tls_failed(url: Url, error: OSError) -> TlsFailed:
    """The exception for a handshake that failed with `error`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CertificateRefused(f"{url.label}: the certificate is refused: {error.verify_message}")
    return TlsFailed(f"{url.label}: TLS failed: {error}")


class Stream:
    """A connection in the making, then a byte stream. `poll` until it returns True, then `write` and `read`.

    A TLS `session` of an earlier connection with the same context is resumed, if the peer agrees.
    """

    def __init__(
        self,
        url: Url,
        deadline_ns: int,
        tls: ssl.SSLContext | None = None,
        addresses: Sequence[Address] = (),
        session: ssl.SSLSession | None = None,
    ) -> None:
        if url.secure and tls is not None and (tls.verify_mode != ssl.CERT_REQUIRED or not tls.check_hostname):
            raise TlsFailed(f"{url.label}: the TLS context verifies nothing")
        self._url = url
        self._deadline_ns = deadline_ns
        self._tls = (tls or tls_context()) if url.secure else None
        self._session = session
        self._addresses = list(addresses or resolve(url))
        self._refusals: list[str] = []
        self._socket: socket.socket | None = None
        self._connected = False
        self._shaken = not url.secure

    def poll(self, now_ns: int) -> bool:
        """Get on with opening; True once bytes may flow. Raises TransportError."""
        if self._connected and self._shaken:
            return True
        if now_ns >= self._deadline_ns:
            step = "TLS handshake" if self._connected else "TCP connection"
            raise DeadlineExceeded(f"{self._url.label}: no {step} in time; before that: {'; '.join(self._refusals) or 'nothing'}")
        if not self._connected and not self._connect():
            return False
        return self._shaken or self._shake()

    def write(self, data: bytes) -> int:
        """Hand over what the socket takes now; returns how many bytes. Raises ConnectFailed."""
        try:
            return self._open_socket().send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise ConnectFailed(f"{self._url.label}: the connection was lost while sending: {error}") from None

    def read(self) -> bytes | None:
        """Bytes that have arrived, b"" at the end of the stream, None when there is nothing. Raises ConnectFailed."""
        try:
            return self._open_socket().recv(RECV_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLEOFError:
            return b""
        except OSError as error:
            raise ConnectFailed(f"{self._url.label}: the connection was lost while receiving: {error}") from None

    def detach(self) -> socket.socket:
        """Give the open socket away; the stream is of no use afterwards."""
        taken = self._open_socket()
        self._socket = None
        return taken

    def close(self) -> None:
        """Let go of the socket, whatever its state."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise ConnectFailed(f"{self._url.label}: the connection is closed")
        return self._socket

    def _connect(self) -> bool:
        if self._socket is None:
            if not self._addresses:
                raise ConnectFailed(f"{self._url.label}: {'; '.join(self._refusals) or 'no address'}")
            self._begin(self._addresses.pop(0))
            if self._socket is None:
                return False
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        if not poller.poll(0):
            return False
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._refused(OSError(code, os.strerror(code)))
            return False
        self._connected = True
        return True

    def _begin(self, address: Address) -> None:
        self._socket = socket.socket(address.family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        # An order is one small segment, and waiting for company is the one thing it must not do.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.connect(address.sockaddr)
        except BlockingIOError:
            pass
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        self._refusals.append(f"cannot connect: {error.strerror}")
        self.close()

    def _shake(self) -> bool:
        assert self._tls is not None
        raw = self._open_socket()
        try:
            if not isinstance(raw, ssl.SSLSocket):
                raw = self._tls.wrap_socket(raw, server_hostname=self._url.host, do_handshake_on_connect=False, session=self._session)
                self._socket = raw
            raw.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as error:
            raise tls_failed(self._url, error) from None
        self._shaken = True
        return True


class Network(NamedTuple):
    """What connections are made of: sockets and the system's entropy, unless a simulation gives others."""

    open_stream: Callable[..., Stream] = Stream  #: called as `Stream` is
    entropy: Callable[[int], bytes] = os.urandom


HOST = Network()
