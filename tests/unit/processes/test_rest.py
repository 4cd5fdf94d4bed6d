"""REST requests against a scripted server, and TLS against one that is verified."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hft.http_client import BodyTooBig, MalformedResponse, Response, UnexpectedStatus, UrlError, parse_url
from processes.transport.rest import Request
from processes.transport.stream import CertificateRefused, ConnectFailed, DeadlineExceeded, Stream, TlsFailed, resolve, tls_context
from support.tls_files import TlsFiles, make_tls_files
from support.ws_peer import Peer

SECOND = 1_000_000_000


def run(request: Request, *pumps: Callable[[], None], watchdog_s: float = 20.0) -> Response:
    end = time.monotonic() + watchdog_s
    while time.monotonic() < end:
        response = request.poll(time.monotonic_ns())
        if response is not None:
            return response
        for pump in pumps:
            pump()
    raise AssertionError("gave up waiting")


def soon() -> int:
    return time.monotonic_ns() + 30 * SECOND


@pytest.fixture
def peer() -> Iterator[Peer]:
    made = Peer()
    yield made
    made.close()


def url(peer: Peer) -> str:
    return f"http://127.0.0.1:{peer.port}/api/v3/depth?symbol=BTCUSDT&signature=secret"


def test_a_get_gives_the_body(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    assert run(Request(url(peer), soon(), headers=[("X-A", "b")]), peer.pump).body == b"{}"
    assert peer.request.startswith(b"GET /api/v3/depth?symbol=BTCUSDT&signature=secret HTTP/1.1\r\n") and b"X-A: b\r\n" in peer.request


def test_a_body_of_many_megabytes_in_chunks_comes_whole(peer: Peer) -> None:
    body = bytes(range(256)) * 20_000
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(body[i : i + 99_991]), body[i : i + 99_991]) for i in range(0, len(body), 99_991))
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert run(Request(url(peer), soon()), peer.pump).body == body


def test_a_redirect_is_surfaced_and_not_followed(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n"
    with pytest.raises(UnexpectedStatus, match="status 302 to 'http://elsewhere/', expected 200"):
        run(Request(url(peer), soon()), peer.pump)
    assert peer.accepted == 1


def test_a_ban_is_surfaced_with_status_wait_and_body(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 418 Teapot\r\nRetry-After: 120\r\nContent-Length: 6\r\n\r\nbanned"
    with pytest.raises(UnexpectedStatus) as caught:
        run(Request(url(peer), soon()), peer.pump)
    assert (caught.value.response.status, caught.value.retry_after_ns, caught.value.response.body) == (418, 120 * SECOND, b"banned")
    assert "secret" not in str(caught.value)


def test_a_body_beyond_the_bound_is_refused(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2000)
    with pytest.raises(BodyTooBig):
        run(Request(url(peer), soon(), body_bytes_max=1000), peer.pump)


def test_a_server_that_hangs_up_in_the_middle_is_an_error(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"

    def pump() -> None:
        peer.pump()
        if peer.request and peer.idle:
            with contextlib.suppress(AssertionError):
                peer.hang_up()

    with pytest.raises(MalformedResponse):
        run(Request(url(peer), soon()), pump)


def test_the_deadline_holds_at_every_step(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"
    for pump in ((lambda: None), peer.pump):
        request = Request(url(peer), deadline_ns=100)
        assert request.poll(99) is None
        pump()
        with pytest.raises(DeadlineExceeded):
            request.poll(100)


def test_a_port_nobody_listens_on_is_refused_with_the_url() -> None:
    peer = Peer()
    peer.close()
    with pytest.raises(ConnectFailed, match=f"http://127.0.0.1:{peer.port}/api/v3/depth: cannot connect: Connection refused"):
        run(Request(url(peer), soon()))


def test_the_next_address_is_tried_when_one_is_refused(peer: Peer) -> None:
    gone = Peer()
    gone.close()
    addresses = [*resolve(parse_url(url(gone), ("http",))), *resolve(parse_url(url(peer), ("http",)))]
    peer.answer = lambda request: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    assert run(Request(url(peer), soon(), addresses=addresses), peer.pump).body == b"ok"


@pytest.mark.parametrize("text", ["ws://127.0.0.1/", "file:///etc/passwd", "http://u:p@127.0.0.1/"])
def test_urls_of_other_kinds_are_refused(text: str) -> None:
    with pytest.raises(UrlError):
        Request(text, soon())


def test_a_host_that_does_not_resolve_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*arguments: object, **settings: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConnectFailed, match="cannot resolve nowhere.invalid"):
        resolve(parse_url("https://nowhere.invalid/x?key=secret", ("https",)))


def test_a_stream_that_was_closed_says_so() -> None:
    peer = Peer()
    stream = Stream(parse_url(url(peer), ("http",)), soon())
    while not stream.poll(time.monotonic_ns()):
        pass
    stream.close()
    with pytest.raises(ConnectFailed, match="closed"):
        stream.write(b"x")
    peer.close()


# TLS


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    return make_tls_files(tmp_path_factory.mktemp("tls"))


class TlsServer:
    """Answers one request over TLS, in a thread."""

    def __init__(self, files: TlsFiles, answer: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context, self._answer = files.server_context(), answer
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}/x?signature=secret"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        raw, _ = self._listener.accept()
        raw.settimeout(20)
        with raw, contextlib.suppress(OSError), self._context.wrap_socket(raw, server_side=True) as stream:
            stream.recv(65536)
            stream.sendall(self._answer)

    def close(self) -> None:
        self._thread.join()
        self._listener.close()


def test_https_verifies_and_delivers(tls_files: TlsFiles) -> None:
    body = bytes(300_000)
    server = TlsServer(tls_files, b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body)
    try:
        assert run(Request(server.url, soon(), tls=tls_context(tls_files.authority))).body == body
    finally:
        server.close()


def test_https_refuses_a_certificate_of_another_authority(tls_files: TlsFiles) -> None:
    server = TlsServer(tls_files, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    try:
        with pytest.raises(CertificateRefused, match="local issuer certificate") as caught:
            run(Request(server.url, soon()))
        assert "secret" not in str(caught.value)
    finally:
        server.close()


def test_https_refuses_a_certificate_for_another_host(tmp_path: Path) -> None:
    files = make_tls_files(tmp_path, "DNS:api.example")
    server = TlsServer(files, b"")
    try:
        with pytest.raises(CertificateRefused, match="IP address mismatch"):
            run(Request(server.url, soon(), tls=tls_context(files.authority)))
    finally:
        server.close()


def test_https_refuses_a_server_that_speaks_plain_http(peer: Peer) -> None:
    peer.answer = lambda request: b"HTTP/1.1 400 Bad\r\n\r\n"

    def pump() -> None:
        peer.pump()
        if peer.accepted:
            peer.send(b"HTTP/1.1 400 Bad\r\n\r\n")

    with pytest.raises(TlsFailed):
        run(Request(url(peer).replace("http:", "https:"), soon()), pump)


@pytest.mark.parametrize("weaken", ["check_hostname", "verify_mode"])
def test_a_context_that_verifies_nothing_is_refused(weaken: str) -> None:
    context = tls_context()
    context.check_hostname = False
    if weaken == "verify_mode":
        context.verify_mode = ssl.CERT_NONE
    with pytest.raises(TlsFailed, match="verifies nothing"):
        Request("https://127.0.0.1/", soon(), tls=context)
