"""Opening the HTTP pool's connections: backoff, certificates, resumed sessions, and an orderly end."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hft.http_client import UrlError
from hft.reconnect import AttemptWindow, Backoff, Reconnect
from processes.transport.connect import Settings
from processes.transport.http_pool import HttpConnections
from processes.transport.http_wire import (
    FD,
    OUTCOME,
    PHASE,
    TLS,
    HttpPhase,
    HttpPool,
    Outcome,
    http_flush,
    http_poll,
    make_pool,
    queue_request,
    release_response,
)
from processes.transport.stream import ConnectFailed, tls_context
from processes.transport.wire import ORDERS
from shm import openssl
from support.http_peer import HttpPeer
from support.tls_files import TlsFiles, expire, make_tls_files

#: A watchdog, not an expectation.
DEADLINE_S = 30.0
MS = 1_000_000


def connections(pool: HttpPool, url: str, tls: ssl.SSLContext | None = None, **backoff: int) -> HttpConnections:
    window = AttemptWindow(1000)
    steps = Backoff(**({"first_ns": MS, "max_ns": 2 * MS} | backoff))
    return HttpConnections(Settings(url, tls=tls), pool, lambda: Reconnect(random.Random(1), steps, window))


def until(links: HttpConnections, condition: Callable[[], bool], *pumps: Callable[[], None]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting: {links.error!r}, {links.pool.connections}"
        links.tick(time.monotonic_ns())
        for pump in pumps:
            pump()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def peer() -> Iterator[HttpPeer]:
    made = HttpPeer()
    yield made
    made.close()


def finish(links: HttpConnections, peer: HttpPeer) -> None:
    links.close()
    links.drop()
    until(links, lambda: links.closed, peer.pump)
    peer.close()


def refused(peer: HttpPeer, trust: ssl.SSLContext) -> str:
    """What the pool says; asserts that it makes no more attempts."""
    links = connections(make_pool(2, 1), peer.url, trust)
    until(links, lambda: links.refused, peer.pump)
    for _ in range(50):
        links.tick(time.monotonic_ns())
        peer.pump()
    accepted = peer.accepted
    for _ in range(200):
        links.tick(time.monotonic_ns())
        peer.pump()
    assert peer.accepted == accepted <= 2 and links.open_count == 0 and type(links.error).__name__ == "CertificateRefused"
    finish(links, peer)
    return str(links.error)


def test_certificates_of_another_authority_are_refused_for_good(files: TlsFiles) -> None:
    assert "local issuer" in refused(HttpPeer(tls=files.server_context()), tls_context())


def test_certificates_for_another_host_are_refused_for_good(tmp_path: Path) -> None:
    other = make_tls_files(tmp_path, "DNS:api.example")
    assert "IP address mismatch" in refused(HttpPeer(tls=other.server_context()), tls_context(other.authority))


def test_expired_certificates_are_refused_for_good(tmp_path: Path) -> None:
    old = make_tls_files(tmp_path)
    expire(old)
    assert "expired" in refused(HttpPeer(tls=old.server_context()), tls_context(old.authority))


def test_connections_after_the_first_resume_its_session(files: TlsFiles) -> None:
    peer = HttpPeer(tls=files.server_context())
    links = connections(make_pool(1, 0), peer.url, tls_context(files.authority))
    for count in (1, 2, 3):
        until(links, lambda count=count: peer.accepted == count and links.open_count == 1, peer.pump)
        # The session's ticket comes behind the handshake, and is read while the connection is free.
        for _ in range(5):
            links.tick(time.monotonic_ns())
            peer.pump()
        peer.connections[0].hang_up()
        until(links, lambda: links.open_count == 0)
    assert links.resumed == 2
    finish(links, peer)


def test_a_free_connection_is_closed_with_close_notify(files: TlsFiles) -> None:
    peer = HttpPeer(tls=files.server_context())
    links = connections(make_pool(1, 0), peer.url, tls_context(files.authority))
    until(links, lambda: len(peer.connections) == links.open_count == 1, peer.pump)
    secure = peer.connections[0]._socket
    links.close()
    links.tick(time.monotonic_ns())
    assert links.closed and links.open_count == 0
    assert isinstance(secure, ssl.SSLSocket) and secure.unwrap() is not None
    peer.close()


def test_a_port_nobody_listens_on_is_tried_again_with_backoff() -> None:
    gone = HttpPeer()
    gone.close()
    pool = make_pool(1, 0)
    links = connections(pool, gone.url, first_ns=1000, max_ns=1000)
    now_ns = 0
    for expected in (1, 2, 3):
        while links.failures < expected:
            links.tick(now_ns)
        links.tick(now_ns)
        assert links.failures == expected, "not before the delay is over"
        now_ns += 1000
    assert type(links.error).__name__ == "ConnectFailed" and "refused" in str(links.error)
    assert pool.connections[0, PHASE] == HttpPhase.CLOSED


def test_a_connection_that_ended_is_not_opened_again_before_its_backoff(peer: HttpPeer) -> None:
    links = connections(make_pool(1, 0), peer.url, first_ns=1000, max_ns=1000)
    until(links, lambda: links.open_count == len(peer.connections) == 1, peer.pump)
    peer.connections[0].hang_up()
    now_ns = time.monotonic_ns()
    while links.open_count:
        links.tick(now_ns)
    for _ in range(20):
        links.tick(now_ns)
        peer.pump()
    assert peer.accepted == 1
    until(links, lambda: peer.accepted == 2, peer.pump)
    finish(links, peer)


def test_closing_waits_for_the_request_that_is_outstanding(peer: HttpPeer) -> None:
    pool = make_pool(1, 0)
    links = connections(pool, peer.url)
    until(links, lambda: links.open_count == len(peer.connections) == 1, peer.pump)
    data = np.frombuffer(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", np.uint8)
    assert queue_request(pool, 0, ORDERS, 1, 1 << 62, data, 0, data.size) == 1
    links.close()
    for _ in range(5):
        links.tick(time.monotonic_ns())
    assert not links.closed and links.open_count == 1
    http_flush(pool, np.zeros(2, np.int64), 0, 1)
    until(links, lambda: http_poll(pool, 0) == 1, peer.pump)
    assert pool.connections[0, OUTCOME] == Outcome.RESPONSE
    release_response(pool, 0)
    until(links, lambda: links.closed, peer.pump)
    assert peer.connections == []


def test_the_pointer_and_the_descriptor_are_gone_as_soon_as_the_connection_is(files: TlsFiles) -> None:
    peer = HttpPeer(tls=files.server_context())
    pool = make_pool(1, 0)
    links = connections(pool, peer.url, tls_context(files.authority))
    until(links, lambda: links.open_count == len(peer.connections) == 1, peer.pump)
    assert pool.connections[0, TLS] != 0 and pool.connections[0, FD] >= 0
    links.close()
    links.drop()
    until(links, lambda: links.closed)
    assert (pool.connections[0, TLS], pool.connections[0, FD]) == (0, -1)
    peer.close()


def test_a_url_of_another_kind_is_refused() -> None:
    with pytest.raises(UrlError):
        connections(make_pool(1, 0), "wss://127.0.0.1/")


def test_where_kernels_cannot_speak_tls_https_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_LIBRARY", None)
    with pytest.raises(ConnectFailed, match="cannot speak TLS here"):
        connections(make_pool(1, 0), "https://127.0.0.1/")
