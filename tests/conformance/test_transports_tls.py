"""TLS under both transports: who is refused, and how connections of the direct one are resumed and ended."""

from __future__ import annotations

import os
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from hft.websocket import CloseCode
from processes.transport.connect import DirectLink, LinkEvent
from processes.transport.stream import tls_context
from processes.transport.wire import (
    CANCELS,
    CLOSE_CODE,
    ERROR,
    FD,
    LEFT,
    NOT_SENT,
    ORDERS,
    QUEUED,
    SENT,
    STATE,
    TLS,
    UNKNOWN,
    WireError,
    WireState,
    lane_count,
    make_wire,
)
from shm import openssl
from support.tls_files import TlsFiles, expire, make_tls_files
from support.ws_drivers import TRANSPORTS, Driver, payloads
from support.ws_peer import Peer, close_frame, frame

TEXT = 1


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def peer(files: TlsFiles) -> Iterator[Peer]:
    made = Peer(tls=files.server_context())
    yield made
    made.close()


@pytest.fixture
def driver(files: TlsFiles, peer: Peer) -> Iterator[Driver]:
    made = Driver("direct", peer.url, tls=tls_context(files.authority))
    made.until(lambda: LinkEvent.OPENED in made.events, peer.pump)
    yield made
    made.close()


def link_of(driver: Driver) -> DirectLink:
    assert isinstance(driver.link, DirectLink)
    return driver.link


def secured(peer: Peer) -> ssl.SSLSocket:
    assert isinstance(peer._socket, ssl.SSLSocket)
    return peer._socket


def waiting_bytes(peer: Peer) -> bytes:
    """What the client sent and nobody read yet, encrypted."""
    with socket.socket(fileno=os.dup(secured(peer).fileno())) as raw:
        return raw.recv(65536, socket.MSG_PEEK)


def refused(transport: str, peer: Peer, tls: ssl.SSLContext) -> str:
    """What the link says; asserts that it ends there."""
    driver = Driver(transport, peer.url, tls=tls)
    try:
        driver.until(lambda: bool(driver.events), peer.pump)
        for _ in range(200):
            driver.step()
            peer.pump()
        assert driver.events == [LinkEvent.REFUSED] and driver.link.refused and peer.accepted == 1
        assert type(driver.link.error).__name__ == "CertificateRefused"
        assert driver.wire.words[STATE] == WireState.IDLE
        return str(driver.link.error)
    finally:
        driver.close()
        peer.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_of_another_authority_is_refused_once_and_for_all(transport: str, files: TlsFiles) -> None:
    text = refused(transport, Peer(tls=files.server_context()), tls_context())
    assert "local issuer certificate" in text and text.startswith("wss://127.0.0.1:") and "streams=" not in text


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_certificate_for_another_host_is_refused_once_and_for_all(transport: str, tmp_path: Path) -> None:
    other = make_tls_files(tmp_path, "DNS:api.example")
    assert "IP address mismatch" in refused(transport, Peer(tls=other.server_context()), tls_context(other.authority))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_expired_certificate_is_refused_once_and_for_all(transport: str, tmp_path: Path) -> None:
    old = make_tls_files(tmp_path)
    expire(old)
    assert "certificate has expired" in refused(transport, Peer(tls=old.server_context()), tls_context(old.authority))


def test_a_peer_of_an_old_tls_version_is_a_failed_attempt(files: TlsFiles) -> None:
    context = files.server_context()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    peer = Peer(tls=context)
    driver = Driver("direct", peer.url, tls=tls_context(files.authority))
    driver.until(lambda: LinkEvent.FAILED in driver.events, peer.pump)
    assert type(driver.link.error).__name__ == "TlsFailed" and not driver.link.refused
    driver.close()
    peer.close()


def test_the_context_takes_no_renegotiation_and_nothing_below_tls_1_2() -> None:
    context = tls_context()
    assert context.options & ssl.OP_NO_RENEGOTIATION and context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_connection_after_the_first_resumes_its_session(files: TlsFiles, version: str) -> None:
    server = files.server_context()
    server.maximum_version = ssl.TLSVersion[version]
    peer = Peer(tls=server)
    driver = Driver("direct", peer.url, tls=tls_context(files.authority))
    for connection in (1, 2, 3):
        driver.until(lambda connection=connection: driver.events.count(LinkEvent.OPENED) == connection, peer.pump)
        peer.send(frame(TEXT, b"%d" % connection))
        driver.until(lambda connection=connection: len(driver.messages) == connection, peer.pump)
        peer.hang_up()
    assert payloads(driver.messages) == [b"1", b"2", b"3"]
    assert link_of(driver).resumed == 2
    driver.close()
    peer.close()


def test_close_notify_follows_the_websockets_close(driver: Driver, peer: Peer) -> None:
    driver.link.close(time.monotonic_ns())
    driver.until(lambda: bool(peer.frames), peer.pump)
    peer.send(close_frame(CloseCode.NORMAL))
    driver.until(lambda: driver.wire.words[CLOSE_CODE] == CloseCode.NORMAL)
    secure = secured(peer)
    with pytest.raises(ssl.SSLWantReadError):
        # Says close_notify, and finds that ours has not come yet.
        secure.unwrap()
    driver.until(lambda: driver.link.closed)
    assert driver.wire.words[ERROR] == WireError.NONE
    secure.unwrap()


def test_a_connection_that_is_dropped_says_no_close_notify(driver: Driver, peer: Peer) -> None:
    driver.link.drop()
    driver.step()
    assert waiting_bytes(peer) == b""


def test_the_pointer_is_gone_as_soon_as_the_connection_is(driver: Driver, peer: Peer) -> None:
    assert driver.wire.words[TLS] != 0
    peer.hang_up()
    driver.until(lambda: LinkEvent.ENDED in driver.events)
    assert (driver.wire.words[TLS], driver.wire.words[FD]) == (0, -1)


def test_bytes_that_are_no_tls_end_the_connection(driver: Driver, peer: Peer) -> None:
    os.write(secured(peer).fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
    driver.until(lambda: LinkEvent.ENDED in driver.events)
    assert "LOST (Protocol error)" in str(driver.link.error) and driver.messages == []


def test_each_frame_leaves_in_a_record_of_its_own(driver: Driver, peer: Peer) -> None:
    for body in (b"one", b"two", b"three"):
        assert driver.queue(ORDERS, body) == 1
    driver.link.flush()
    data, records = waiting_bytes(peer), 0
    while data:
        assert data[0] == 23, "application data"
        data = data[5 + int.from_bytes(data[3:5], "big") :]
        records += 1
    assert records == 3
    driver.until(lambda: [sent.payload for sent in peer.frames] == [b"one", b"two", b"three"], peer.pump)


def hold_back(driver: Driver, peer: Peer) -> None:
    """Let the socket take a part of the first frame's record only, and nothing of the second frame."""
    peer.reading = False
    connected = link_of(driver)._socket
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    while lane_count(driver.wire, ORDERS, QUEUED) - lane_count(driver.wire, ORDERS, SENT) < 2:
        assert driver.queue(ORDERS, bytes(16_000)) == 1
        driver.link.flush()
    assert driver.wire.words[LEFT] > 16_000, "not one byte of the frame counts as sent"


@pytest.fixture
def narrow(files: TlsFiles) -> Iterator[tuple[Driver, Peer]]:
    peer = Peer(tls=files.server_context(), receive_buffer_bytes=4096)
    driver = Driver("direct", peer.url, make_wire(out_bytes=1 << 17), tls=tls_context(files.authority))
    driver.until(lambda: LinkEvent.OPENED in driver.events, peer.pump)
    yield driver, peer
    driver.close()
    peer.close()


def test_a_frame_that_openssl_holds_a_part_of_ends_the_connection_on_a_kill(narrow: tuple[Driver, Peer]) -> None:
    driver, peer = narrow
    hold_back(driver, peer)
    sent, queued = lane_count(driver.wire, ORDERS, SENT), lane_count(driver.wire, ORDERS, QUEUED)
    driver.kill_words[1] = 1
    assert driver.queue(CANCELS, b"cancel") == 1
    assert driver.link.flush() == -WireError.KILLED_HALF_SENT
    assert [lane_count(driver.wire, ORDERS, counter) for counter in (SENT, UNKNOWN, NOT_SENT)] == [sent, 1, queued - sent - 1]
    driver.step()
    peer.reading = True
    while not peer.client_gone:
        peer.pump()
    assert len(peer.frames) == sent


def test_a_frame_that_openssl_holds_a_part_of_is_finished_before_a_cancel(narrow: tuple[Driver, Peer]) -> None:
    driver, peer = narrow
    hold_back(driver, peer)
    queued = lane_count(driver.wire, ORDERS, QUEUED)
    assert driver.queue(CANCELS, b"cancel") == 1
    peer.reading = True
    driver.until(lambda: len(peer.frames) == queued + 1, peer.pump)
    assert peer.frames[queued - 1].payload == b"cancel", "behind the frame held back, before the one that waited"
    assert all(sent.payload == bytes(16_000) for i, sent in enumerate(peer.frames) if i != queued - 1)
    assert lane_count(driver.wire, ORDERS, SENT) == queued


def test_where_kernels_cannot_speak_tls_direct_says_to_use_picows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openssl, "_LIBRARY", None)
    monkeypatch.setattr(openssl, "_WHY_NOT", "undefined symbol: SSL_read")
    with pytest.raises(Exception, match=r"wss://127.0.0.1:1/any: .*use picows for it.*undefined symbol: SSL_read") as caught:
        Driver("direct", "wss://127.0.0.1:1/any?token=secret")
    assert "secret" not in str(caught.value)
