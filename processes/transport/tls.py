"""TLS under the direct transport: what kernels read and write, whether the socket is plain or not, and what Python does around it.

A connection's two words are its socket and its SSL pointer, 0 on plain TCP. Under TLS a write that the socket does not take
whole leaves a record half sent inside OpenSSL, which can only be sent whole, or the connection given up. So one write never
holds bytes of two frames, and a frame whose write was refused counts as begun.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.http_client import Url
from processes.transport.stream import ConnectFailed
from shm.external import recv, send
from shm.jit import njit
from shm.openssl import OpensslUnavailable, adopt, require, ssl_has_pending, ssl_read, ssl_write

#: Records that one read takes in, at most.
_RECORDS_MAX = 16

_EAGAIN, _EINTR = errno.EAGAIN, errno.EINTR


@njit
def read_socket(fd: int, pointer: int, data: NDArray[Any], offset: int, length: int) -> int:
    """Read what has arrived, at most `length` bytes, into `data[offset:]`: bytes, 0 at the end of the stream, or -errno."""
    if pointer == 0:
        count = recv(fd, data, offset, length)
        return -_EAGAIN if count == -_EINTR else count
    return _read_records(pointer, data, offset, length)


@njit
def write_socket(fd: int, pointer: int, data: NDArray[Any], offset: int, length: int) -> int:
    """Write what the socket takes of `data[offset:offset+length]`, under TLS one record at most: bytes, or -errno.

    After -EAGAIN under TLS the next write must begin with the same bytes and be no shorter; they may have left in part.
    """
    count = send(fd, data, offset, length) if pointer == 0 else ssl_write(pointer, data, offset, length)
    return -_EAGAIN if count == -_EINTR else count


@njit
def _read_records(pointer: int, data: NDArray[Any], offset: int, length: int) -> int:
    total: Any = np.int64(0)
    for _ in range(_RECORDS_MAX):
        count = ssl_read(pointer, data, offset + total, length - total)
        if count <= 0:
            # An error after good bytes is met again by the next read.
            return total if total > 0 else count
        total += count
        # What OpenSSL holds already must not wait for a later turn; but asking an empty socket would cost a system call.
        if total == length or not ssl_has_pending(pointer):
            break
    return total


def require_tls(url: Url) -> None:
    """Raises ConnectFailed unless kernels can speak TLS in this Python, as the URL needs."""
    try:
        require()
    except OpensslUnavailable as error:
        raise _refusal(url, error) from None


def pointer_of(url: Url, connected: socket.socket) -> int:
    """The pointer word for an open connection, which from now on is the kernels'. Raises ConnectFailed."""
    if not isinstance(connected, ssl.SSLSocket):
        return 0
    try:
        return adopt(connected)
    except OpensslUnavailable as error:
        raise _refusal(url, error) from None


def let_go(connected: socket.socket, orderly: bool) -> ssl.SSLSession | None:
    """Close a connection that kernels used; returns the TLS session, for the next one to resume.

    An `orderly` end says close_notify, without waiting for the peer's. After any other, not one more byte may leave.
    """
    session = None
    if isinstance(connected, ssl.SSLSocket):
        session = connected.session
        if orderly:
            with contextlib.suppress(OSError, ValueError):
                connected.unwrap()
    connected.close()
    return session


def _refusal(url: Url, error: OpensslUnavailable) -> ConnectFailed:
    return ConnectFailed(f"{url.label}: the direct transport cannot speak TLS here; use picows for it ({error})")
