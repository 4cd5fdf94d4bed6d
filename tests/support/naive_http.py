"""HTTP responses read the slow way: a strict grammar in regular expressions, and h11 as the judge of all that it accepts."""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d)(?: [\t\x20-\x7e\x80-\xff]*)?")
_HEADER = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e\x80-\xff]*)?")


class Read(NamedTuple):
    """A whole response."""

    status: int
    body: bytes
    keep_alive: bool
    retry_after_s: int


class Bad(Exception):
    """Not a response."""


def naive_response(data: bytes) -> Read | None:
    """The response that `data` is, or None if more is needed to tell; raises Bad."""
    for _ in range(16):
        head, blank, rest = data.partition(b"\r\n\r\n")
        if not blank:
            return None
        first, *lines = head.split(b"\r\n")
        found = _STATUS.fullmatch(first)
        headers = [_HEADER.fullmatch(line) for line in lines]
        if not found or not all(headers) or found[1] == b"101" or len(head) + 4 > 16384:
            raise Bad(head)
        if int(found[1]) >= 200:
            return _read(int(found[1]), [(h[1].lower(), h[2]) for h in headers if h], data, rest)
        _framing(int(found[1]), [(h[1].lower(), h[2]) for h in headers if h])
        data = rest
    raise Bad("interim")


def _framing(status: int, headers: list[tuple[bytes, bytes]]) -> int | None:
    """The length of the body; None if it comes in chunks."""
    lengths = [value for name, value in headers if name == b"content-length"]
    transfers = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    encodings = [value.lower() for name, value in headers if name == b"content-encoding"]
    if len(lengths) + len(transfers) > 1 or not set(transfers) <= {b"chunked"} or not set(encodings) <= {b"", b"identity"}:
        raise Bad(headers)
    if any(not re.fullmatch(rb"\d{1,18}", length) for length in lengths):
        raise Bad(headers)
    if status in (204, 304) or status < 200:
        return 0
    if not lengths and not transfers:
        raise Bad(headers)
    return int(lengths[0]) if lengths else None


def _read(status: int, headers: list[tuple[bytes, bytes]], data: bytes, rest: bytes) -> Read | None:
    length = _framing(status, headers)
    if length is None:
        joined = _join(rest)
        if joined is None:
            return None
        body, after = joined
    elif len(rest) < length:
        return None
    else:
        body, after = rest[:length], rest[length:]
    closes = any(token.strip(b" \t").lower() == b"close" for name, value in headers if name == b"connection" for token in value.split(b","))
    waits = [value for name, value in headers if name == b"retry-after"]
    retry_after_s = int(waits[-1]) if waits and re.fullmatch(rb"\d{1,7}", waits[-1]) else 0
    read = Read(status, body, not closes and not after, retry_after_s)
    _judge(read, data, after)
    return read


def _join(rest: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        found = _CHUNK.fullmatch(line)
        if not found or len(line) > 256:
            raise Bad(line)
        size = int(found[1], 16)
        if size == 0:
            break
        if len(rest) < size + 2:
            return None
        if rest[size : size + 2] != b"\r\n":
            raise Bad(rest)
        body, rest = body + rest[:size], rest[size + 2 :]
    while True:
        line, end, rest = rest.partition(b"\r\n")
        if not end:
            return None
        if not line:
            return body, rest
        if not _HEADER.fullmatch(line):
            raise Bad(line)


def _judge(read: Read, data: bytes, after: bytes) -> None:
    """Assert that h11 reads the same."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    response, body = None, b""
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            response = event
        elif not isinstance(event, h11.InformationalResponse):
            assert isinstance(event, h11.Data), f"h11 says {event} of {data!r}"
            body += bytes(event.data)
    assert response is not None and (response.status_code, body) == (read.status, read.body), data
    assert bytes(connection.trailing_data[0]) == after, data
