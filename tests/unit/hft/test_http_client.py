"""HTTP exchanges as bytes in and bytes out."""

from __future__ import annotations

import pytest

from hft.http_client import (
    BodyTooBig,
    Exchange,
    HttpError,
    MalformedResponse,
    Response,
    UnexpectedStatus,
    Upgrade,
    UpgradeInvalid,
    UpgradeRefused,
    UrlError,
    accept_key,
    expect_ok,
    parse_url,
)

URL = parse_url("http://127.0.0.1:8080/api/v3/depth?symbol=BTCUSDT&signature=secret", ("http",))
WS = parse_url("ws://127.0.0.1:9000/stream?token=secret", ("ws",))
NONCE = bytes(range(16))


def whole(data: bytes, step: int = 1 << 30, **settings: int) -> Response | None:
    exchange = Exchange("GET", URL, **settings)
    for at in range(0, len(data), step):
        response = exchange.receive(data[at : at + step])
        if response is not None:
            return response
    return exchange.receive(b"")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("http://h/", ("http", "h", 80, "/", "http://h/")),
        ("https://h", ("https", "h", 443, "/", "https://h")),
        ("http://h:81/a/b?c=d&e=f", ("http", "h", 81, "/a/b?c=d&e=f", "http://h:81/a/b")),
        ("http://[::1]:81/a", ("http", "::1", 81, "/a", "http://[::1]:81/a")),
        ("https://h?x=1", ("https", "h", 443, "/?x=1", "https://h")),
    ],
)
def test_parse_url_takes_a_url_apart(text: str, parts: tuple[object, ...]) -> None:
    assert parse_url(text, ("http", "https")) == parts


@pytest.mark.parametrize(
    "text",
    ["", "h", "/a", "ftp://h/", "http://", "http:///a", "http://h:0x50/", "http://h:99999/", "http://u:p@h/", "http://h/#f", "http://h/a b"]
    + ["http://h/\r\nX: y", "http://h/é", "http://[::1/", "http://u@h/?q"],
)
def test_parse_url_refuses_what_it_cannot_use(text: str) -> None:
    with pytest.raises(UrlError):
        parse_url(text, ("http", "https"))


def test_parse_url_never_repeats_secrets() -> None:
    for text in ("ftp://user:hunter2@h/?key=hunter2", "http://user:hunter2@h/", "http://h:x/?key=hunter2", "http://h/?key=hunter2#f"):
        with pytest.raises(UrlError) as caught:
            parse_url(text, ("http",))
        assert "hunter2" not in str(caught.value)


def test_the_host_header_names_the_port_only_when_it_is_unusual() -> None:
    assert URL.authority == "127.0.0.1:8080"
    assert parse_url("https://h/", ("https",)).authority == "h"
    assert parse_url("https://[::1]:8443/", ("https",)).authority == "[::1]:8443"


def test_a_get_is_sent_as_written() -> None:
    lines = Exchange("GET", URL, headers=[("X-MBX-APIKEY", "k")]).request.decode().split("\r\n")
    assert lines[0] == "GET /api/v3/depth?symbol=BTCUSDT&signature=secret HTTP/1.1"
    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in lines[1:] if line}
    assert headers == {"host": "127.0.0.1:8080", "connection": "close", "accept-encoding": "identity", "x-mbx-apikey": "k"}


def test_a_post_carries_its_length_and_body() -> None:
    request = Exchange("POST", URL, body=b"a=1&b=2").request
    assert b"ontent-Length: 7\r\n" in request and request.endswith(b"\r\n\r\na=1&b=2")


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(UrlError):
        Exchange("GET", URL, headers=[("X", "a\r\nY: b")])


@pytest.mark.parametrize("step", [1, 2, 7, 1 << 30])
@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: b\r\nConnection: close\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    ],
    ids=["length", "chunked", "until_close", "interim"],
)
def test_a_body_is_whole_however_it_is_framed_and_chopped(data: bytes, step: int) -> None:
    response = whole(data, step)
    assert response is not None and (response.status, response.body, response.header("x-a")) == (200, b"hello", "b")
    assert expect_ok(URL, response) is response


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhe\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
    ],
)
def test_a_response_that_is_not_whole_or_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedResponse) as caught:
        whole(data)
    assert "http://127.0.0.1:8080/api/v3/depth" in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "fits"), [(99, True), (100, True), (101, False)])
def test_the_size_bound_holds_on_both_sides(size: int, fits: bool, chunked: bool) -> None:
    body = b"x" * size
    head = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size if chunked else b"Content-Length: %d\r\n\r\n" % size
    data = b"HTTP/1.1 200 OK\r\n" + head + body + (b"\r\n0\r\n\r\n" if chunked else b"")
    if fits:
        response = whole(data, body_bytes_max=100)
        assert response is not None and response.body == body
    else:
        with pytest.raises(BodyTooBig, match="100 bytes|at most 100"):
            whole(data, body_bytes_max=100)


@pytest.mark.parametrize("status", [204, 301, 302, 307, 400, 404, 418, 429, 500, 503])
def test_any_status_but_200_is_surfaced_with_the_head_of_the_body(status: int) -> None:
    body = b"" if status == 204 else b'{"code":-1003}' + b" " * 5000
    data = b"HTTP/1.1 %d Why\r\nLocation: http://elsewhere/?key=hunter2\r\nRetry-After: 7\r\nContent-Length: %d\r\n\r\n" % (
        status,
        len(body),
    )
    response = whole(data + body)
    assert response is not None
    with pytest.raises(UnexpectedStatus) as caught:
        expect_ok(URL, response)
    assert caught.value.response.status == status and len(caught.value.response.body) <= 2048
    assert caught.value.retry_after_ns == 7_000_000_000
    assert str(status) in str(caught.value) and "expected 200" in str(caught.value)
    assert "secret" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "99999999", "١٢"])
def test_a_retry_after_that_is_not_seconds_is_no_wait(value: str) -> None:
    assert UnexpectedStatus("", Response(429, (("retry-after", value),), b"")).retry_after_ns == 0


def switching(upgrade: Upgrade, extra: bytes = b"", accept: bytes | None = None) -> bytes:
    key = next(line for line in upgrade.request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split(b": ")[1]
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
    return head + b"Sec-WebSocket-Accept: " + (accept_key(key) if accept is None else accept) + b"\r\n" + extra + b"\r\n"


def test_accept_key_gives_the_rfcs_example() -> None:
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("step", [1, 1 << 30])
@pytest.mark.parametrize("leftover", [b"", b"\x81\x02hi\x81"])
def test_an_upgrade_hands_back_what_came_behind_it(step: int, leftover: bytes) -> None:
    upgrade = Upgrade(WS, NONCE)
    data = switching(upgrade)
    got = None
    for at in range(0, len(data), step):
        last = at + step >= len(data)
        got = upgrade.receive(data[at : at + step] + (leftover if last else b""))
        assert (got is not None) == last
    assert got == leftover


@pytest.mark.parametrize(
    ("extra", "accept"),
    [
        (b"", b""),
        (b"", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        (b"Sec-WebSocket-Extensions: permessage-deflate\r\n", None),
        (b"Sec-WebSocket-Protocol: chat\r\n", None),
    ],
)
def test_an_upgrade_to_something_else_is_refused(extra: bytes, accept: bytes | None) -> None:
    upgrade = Upgrade(WS, NONCE)
    with pytest.raises(UpgradeInvalid) as caught:
        upgrade.receive(switching(upgrade, extra, accept))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("header", [b"Upgrade: WebSocket", b"Connection: keep-alive, Upgrade"])
def test_an_upgrade_without_its_headers_is_refused(header: bytes) -> None:
    upgrade = Upgrade(WS, NONCE)
    with pytest.raises(UpgradeInvalid):
        upgrade.receive(switching(upgrade).replace(header, b"X-Other: y"))


def test_a_refused_upgrade_carries_status_and_body() -> None:
    with pytest.raises(UpgradeRefused) as caught:
        Upgrade(WS, NONCE).receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nbanned")
    assert (caught.value.response.status, caught.value.response.body) == (403, b"banned")
    assert "banned" in str(caught.value) and "secret" not in str(caught.value)


def test_an_endless_refusal_is_cut() -> None:
    upgrade = Upgrade(WS, NONCE)
    with pytest.raises(UpgradeRefused) as caught:
        for _ in range(1000):
            upgrade.receive(b"HTTP/1.1 403 Forbidden\r\n\r\n" if _ == 0 else b"x" * 100)
    assert len(caught.value.response.body) <= 2048


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhel", b"SSH-2.0\r\n\r\n"])
def test_an_upgrade_cut_short_is_an_error(data: bytes) -> None:
    upgrade = Upgrade(WS, NONCE)
    with pytest.raises(HttpError):
        if data:
            upgrade.receive(data)
        upgrade.receive(b"")


def test_the_nonce_must_be_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="16"):
        Upgrade(WS, b"short")
