"""HTTP responses from bytes: the kernel reads what h11 reads, refuses what could be read in two ways, and never past its bytes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.http_bytes import HEAD_BYTES_MAX, HttpCode, read_response
from support.naive_http import Bad, Read, naive_response

PAD = 5


def read(data: bytes, limit: int | None = None) -> tuple[int, Read | None]:
    """(code, response): read in the middle of an array that holds other bytes on either side."""
    array = np.frombuffer(b"HTTP/"[:PAD] + data + b"\r\n\r\n0", np.uint8).copy()
    room = 1 << 40 if limit is None else PAD + limit
    code, status, start, end, keep_alive, retry_after_s = read_response(array, PAD, PAD + len(data), room)
    assert array[:PAD].tobytes() == b"HTTP/" and array[PAD + len(data) :].tobytes() == b"\r\n\r\n0"
    if code != HttpCode.WHOLE:
        assert array[PAD : PAD + len(data)].tobytes() == data, "nothing moves before the response is whole"
        return int(code), None
    return int(code), Read(int(status), array[start:end].tobytes(), bool(keep_alive), int(retry_after_s))


def chunked(rng: random.Random, body: bytes) -> bytes:
    parts, at = b"", 0
    while at < len(body):
        size = rng.randint(1, len(body) - at)
        extension = rng.choice((b"", b"", b";a=b", b'; x="y"'))
        parts += (b"%x" if rng.random() < 0.5 else b"%X") % size + extension + b"\r\n" + body[at : at + size] + b"\r\n"
        at += size
    return parts + rng.choice((b"0", b"00", b"0;last")) + b"\r\n" + rng.choice((b"", b"", b"X-Sum: 1\r\nY: \r\n")) + b"\r\n"


def response(rng: random.Random) -> bytes:
    """A seeded response, sound by construction."""
    status = rng.choice((200, 200, 200, 204, 304, 400, 401, 404, 429, 500, 503, 599))
    body = rng.randbytes(rng.choice((0, 1, 2, 40, 300))) if rng.random() < 0.5 else b'{"id":"%d","size":"0.10"}' % rng.randrange(10**9)
    headers = [(b"Date", b"Wed, 25 Nov 2026 18:00:00 GMT"), (b"x-request-id", b"%x" % rng.randrange(10**12)), (b"X-Empty", b"")]
    if rng.random() < 0.3:
        headers.append((b"Connection", rng.choice((b"close", b"Keep-Alive", b"keep-alive, CLOSE", b"upgrade"))))
    if rng.random() < 0.3:
        headers.append((b"Retry-After", rng.choice((b"0", b"7", b"3600", b"Wed, 25 Nov 2026 18:00:00 GMT", b"12345678", b"-1"))))
    if rng.random() < 0.3:
        headers.append((b"Content-Encoding", b"identity"))
    if status in (204, 304):
        if rng.random() < 0.5:
            headers.append((b"Content-Length", b"12"))
        payload = b""
    elif rng.random() < 0.5:
        headers.append((rng.choice((b"Content-Length", b"content-length", b"CONTENT-LENGTH")), b"%d" % len(body)))
        payload = body
    else:
        headers.append((b"Transfer-Encoding", rng.choice((b"chunked", b"Chunked"))))
        payload = chunked(rng, body)
    rng.shuffle(headers)
    lines = b"".join(name + b":" + rng.choice((b"", b" ", b" \t")) + value + rng.choice((b"", b" ")) + b"\r\n" for name, value in headers)
    interim = b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * rng.choice((0, 0, 0, 1, 3))
    return interim + b"HTTP/1.1 %d" % status + rng.choice((b"", b" ", b" Some Reason")) + b"\r\n" + lines + b"\r\n" + payload


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few bytes changed, dropped, repeated or put in."""
    piece = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(piece))
        kind = rng.randrange(5)
        if kind == 0:
            piece[at] = rng.choice(b"\r\n :;,\t\x00\x7f\xff0123456789abcdefXcC/")
        elif kind == 1:
            del piece[at : at + rng.randint(1, 4)]
        elif kind == 2:
            piece[at:at] = rng.choice(
                (b"\r\n", b"\n", b" ", b"Content-Length: 3\r\n", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"0")
            )
        elif kind == 3:
            piece[at:at] = piece[at : at + rng.randint(1, 30)]
        else:
            piece += rng.choice((b"x", b"HTTP/1.1 200 OK\r\n", b"\r\n"))
        if not piece:
            return b"\r\n"
    return bytes(piece)


def test_responses_are_read_as_h11_reads_them() -> None:
    for seed in range(400):
        data = response(random.Random(seed))
        expected = naive_response(data)
        assert expected is not None and read(data) == (HttpCode.WHOLE, expected), f"seed {seed}: {data!r}"


def test_every_prefix_of_a_response_needs_more() -> None:
    for seed in range(40):
        data = response(random.Random(seed))
        for size in range(len(data)):
            assert read(data[:size]) == (HttpCode.MORE, None), f"seed {seed}: {data[:size]!r}"


def test_mutated_responses_are_refused_or_read_as_the_twin_reads_them() -> None:
    outcomes = {"whole": 0, "more": 0, "bad": 0}
    for seed in range(4000):
        rng = random.Random(seed)
        data = mutated(rng, response(rng))
        code, found = read(data)
        try:
            expected = naive_response(data)
        except Bad:
            assert code >= HttpCode.NOT_HTTP, f"seed {seed}: {data!r} is {found}"
            outcomes["bad"] += 1
            continue
        if expected is None:
            # The kernel may know already that it can only become worse.
            assert code == HttpCode.MORE or code >= HttpCode.NOT_HTTP, f"seed {seed}: {data!r} is {found}"
            outcomes["more"] += 1
        else:
            assert (code, found) == (HttpCode.WHOLE, expected), f"seed {seed}: {data!r}"
            outcomes["whole"] += 1
    assert min(outcomes.values()) > 100, outcomes


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", HttpCode.NOT_HTTP),
        (b"HTTP/2 200\r\n\r\n", HttpCode.NOT_HTTP),
        (b"SSH-2.0-OpenSSH\r\n", HttpCode.NOT_HTTP),
        (b"<html>", HttpCode.NOT_HTTP),
        (b"HTTP/1.1 20x OK\r\n", HttpCode.NOT_HTTP),
        (b"HTTP/1.1 2000 OK\r\n", HttpCode.NOT_HTTP),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", HttpCode.NOT_HTTP),
        (b"HTTP/1.1 099 Low\r\n\r\n", HttpCode.BAD_STATUS),
        (b"HTTP/1.1 600 High\r\n\r\n", HttpCode.BAD_STATUS),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", HttpCode.BAD_STATUS),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 17, HttpCode.BAD_STATUS),
        (OK + b"Content-Length : 0\r\n\r\n", HttpCode.BAD_HEADER),
        (OK + b"X: a\r\n folded\r\n\r\n", HttpCode.BAD_HEADER),
        (OK + b": nameless\r\n\r\n", HttpCode.BAD_HEADER),
        (OK + b"X: a\x00b\r\n\r\n", HttpCode.BAD_HEADER),
        (OK + b"X: a\rb\r\n\r\n", HttpCode.BAD_HEADER),
        (OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HttpCode.BAD_LENGTH),
        (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n", HttpCode.BAD_LENGTH),
        (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: \r\n\r\n", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: +1\r\n\r\nx", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: 1, 1\r\n\r\nx", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: 0x1\r\n\r\nx", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: 9999999999999999999\r\n\r\n", HttpCode.BAD_LENGTH),
        (OK + b"Content-Length: 999999999999999999\r\n\r\n", HttpCode.TOO_BIG),
        (OK + b"\r\nbody until the end", HttpCode.NO_LENGTH),
        (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", HttpCode.ENCODED),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", HttpCode.ENCODED),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", HttpCode.BAD_CHUNK),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", HttpCode.BAD_CHUNK),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1 \r\n", HttpCode.BAD_CHUNK),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n123456789\r\n", HttpCode.BAD_CHUNK),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", HttpCode.BAD_CHUNK),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", HttpCode.TOO_BIG),
        (OK + b"X: " + b"y" * HEAD_BYTES_MAX + b"\r\n\r\n", HttpCode.HEAD_TOO_BIG),
        (OK + b"X: " + b"y" * HEAD_BYTES_MAX, HttpCode.HEAD_TOO_BIG),
        (b"HTTP/1.1 200 " + b"y" * HEAD_BYTES_MAX, HttpCode.HEAD_TOO_BIG),
        (OK + b"X: y\r\n" * (HEAD_BYTES_MAX // 6), HttpCode.HEAD_TOO_BIG),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * (HEAD_BYTES_MAX // 6 + 1), HttpCode.HEAD_TOO_BIG),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, code: HttpCode) -> None:
    assert read(data, limit=1_000_000) == (code, None), data[:60]


@pytest.mark.parametrize(("limit", "code"), [(43, HttpCode.TOO_BIG), (44, HttpCode.WHOLE)])
def test_a_response_fits_its_buffer_to_the_byte(limit: int, code: HttpCode) -> None:
    data = OK + b"Content-Length: 6\r\n\r\nabcdef"
    assert len(data) == 44
    assert read(data[:limit], limit)[0] == code


def test_a_buffer_full_of_a_response_that_is_not_whole_is_too_big() -> None:
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    assert read(data)[0] == HttpCode.MORE
    assert read(data, len(data))[0] == HttpCode.TOO_BIG


def test_bytes_behind_a_response_end_the_use_of_the_connection() -> None:
    whole = OK + b"Content-Length: 2\r\n\r\n{}"
    assert read(whole) == (HttpCode.WHOLE, Read(200, b"{}", True, 0))
    assert read(whole + b"H") == (HttpCode.WHOLE, Read(200, b"{}", False, 0))
