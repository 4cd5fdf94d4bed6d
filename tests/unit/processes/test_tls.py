"""Reading and writing a socket from kernels, plain or under TLS: as much as is there, and never more than is good."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

from hft.http_client import parse_url
from processes.transport.stream import ConnectFailed
from processes.transport.tls import let_go, pointer_of, read_socket, write_socket
from support.tls_files import TlsFiles, make_tls_files

URL = parse_url("wss://127.0.0.1/any?token=secret", ("wss",))


class Ends(NamedTuple):
    """Both ends of a connection: ours with its two words, and the peer's."""

    ours: socket.socket
    pointer: int
    peer: socket.socket

    def read(self, data: np.ndarray, length: int | None = None) -> int:
        return int(read_socket(self.ours.fileno(), self.pointer, data, 0, data.size if length is None else length))

    def write(self, data: np.ndarray) -> int:
        return int(write_socket(self.ours.fileno(), self.pointer, data, 0, data.size))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


def secured(files: TlsFiles, near: socket.socket, far: socket.socket) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    client_context = ssl.create_default_context(cafile=str(files.authority))
    client = client_context.wrap_socket(near, server_hostname="127.0.0.1", do_handshake_on_connect=False)
    server = files.server_context().wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    left = [client, server]
    while left:
        for end in tuple(left):
            try:
                end.do_handshake()
                left.remove(end)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
    return client, server


@pytest.fixture(params=["plain", "tls"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    if request.param == "tls":
        near, far = secured(request.getfixturevalue("files"), near, far)
    made = Ends(near, pointer_of(URL, near), far)
    yield made
    near.close()
    far.close()


def test_bytes_go_both_ways(ends: Ends) -> None:
    data = np.arange(8, dtype=np.uint8)
    assert ends.write(data) == 8
    assert ends.peer.recv(64) == bytes(range(8))
    ends.peer.send(b"ab")
    assert ends.read(data) == 2 and data[:3].tobytes() == b"ab\x02"


def test_nothing_is_eagain_and_the_end_is_zero(ends: Ends) -> None:
    data = np.zeros(8, np.uint8)
    assert ends.read(data) == -errno.EAGAIN
    ends.peer.close()
    assert ends.read(data) == 0


def test_all_that_has_arrived_is_read_at_once(ends: Ends) -> None:
    for i in range(10):
        ends.peer.send(b"%d" % i * 3)
    data = np.zeros(64, np.uint8)
    assert ends.read(data) == 30
    assert data[:30].tobytes() == b"".join(b"%d" % i * 3 for i in range(10))


def test_no_more_is_read_than_was_asked_for_and_the_rest_comes_next(ends: Ends) -> None:
    ends.peer.send(b"abcdef")
    ends.peer.send(b"gh")
    data = np.zeros(64, np.uint8)
    assert ends.read(data, 7) == 7 and not data[7:].any()
    assert ends.read(data) == 1 and data[0] == ord("h")


def test_a_flood_of_tiny_records_does_not_keep_a_read_for_ever(files: TlsFiles) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    ours, peer = secured(files, near, far)
    ends = Ends(ours, pointer_of(URL, ours), peer)
    for _ in range(100):
        peer.send(b"x")
    data = np.zeros(1000, np.uint8)
    counts = [ends.read(data) for _ in range(7)]
    assert counts == [16, 16, 16, 16, 16, 16, 4]
    ours.close()
    peer.close()


def test_a_plain_socket_has_no_pointer_and_leaves_no_session() -> None:
    near, far = socket.socketpair()
    assert pointer_of(URL, near) == 0
    assert let_go(near, orderly=True) is None and near.fileno() == -1
    far.close()


def test_a_connection_whose_pointer_cannot_be_had_is_refused_with_its_url(files: TlsFiles) -> None:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    ours, peer = secured(files, near, far)
    ours.setblocking(True)
    with pytest.raises(ConnectFailed, match="wss://127.0.0.1/any: the direct transport cannot speak TLS here; use picows") as caught:
        pointer_of(URL, ours)
    assert "secret" not in str(caught.value)
    ours.close()
    peer.close()
