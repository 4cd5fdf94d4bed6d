"""HTTP client: one request and its response, and the WebSocket upgrade, as bytes in and bytes out (h11).

HttpError
  UrlError            the URL cannot be used
  MalformedResponse   not HTTP/1.1, cut short, or with an encoding that was not asked for
  BodyTooBig          more than was allowed
  UnexpectedStatus    a status other than 200; redirects are never followed
    UpgradeRefused    a status other than 101
  UpgradeInvalid      101, but not the WebSocket that was asked for

Messages name the URL without its query, what was found and what was expected. Queries may hold signatures and stay out.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import h11

Headers = Sequence[tuple[str, str]]

_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_HEAD_BYTES_MAX = 65536
#: How much of an unexpected response's body is kept for people.
_BODY_HEAD_BYTES = 2048
_INTERIM_MAX = 16


class HttpError(Exception):
    """The exchange did not give what was asked for."""


class UrlError(HttpError):
    """The URL cannot be used."""


class MalformedResponse(HttpError):
    """The response is not one."""


class BodyTooBig(HttpError):
    """The body is larger than allowed."""


class UnexpectedStatus(HttpError):
    """The status is not the one that was needed; `response.body` holds the head of the body."""

    def __init__(self, message: str, response: Response) -> None:
        super().__init__(message)
        self.response = response

    @property
    def retry_after_ns(self) -> int:
        """What the server asks to wait: Retry-After in seconds, else 0."""
        seconds = self.response.header("retry-after")
        return int(seconds) * 1_000_000_000 if seconds.isascii() and seconds.isdigit() and len(seconds) <= 7 else 0


class UpgradeRefused(UnexpectedStatus):
    """The server answered the upgrade with a response of its own."""


class UpgradeInvalid(HttpError):
    """The server switched to something else."""


class Url(NamedTuple):
    """A URL in parts."""

    scheme: str
    host: str  #: without brackets
    port: int
    target: str  #: path and query, as sent
    label: str  #: for messages: without query

    @property
    def secure(self) -> bool:
        """Whether it needs TLS."""
        return self.scheme in ("https", "wss")

    @property
    def authority(self) -> str:
        """The Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Response(NamedTuple):
    """A whole response."""

    status: int
    headers: tuple[tuple[str, str], ...]  #: names in lower case
    body: bytes

    def header(self, name: str) -> str:
        """The first header of that (lower-case) name, or ""."""
        return next((value for key, value in self.headers if key == name), "")


def parse_url(text: str, schemes: Sequence[str]) -> Url:
    """Take a URL apart; raises UrlError unless its scheme is one of `schemes` and it holds no user, password or fragment."""
    label = text.split("?", 1)[0].split("#", 1)[0]
    if "@" in label:
        label = label.split(":", 1)[0] + "://..."
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UrlError(f"{label}: not a URL: {error}") from None
    if parts.scheme not in schemes:
        raise UrlError(f"{label}: the scheme must be {' or '.join(schemes)}, was {parts.scheme!r}")
    if parts.username is not None or parts.password is not None:
        raise UrlError(f"{label}: user and password do not belong into a URL")
    if not parts.hostname:
        raise UrlError(f"{label}: there is no host in it")
    if parts.fragment or not text.isascii() or any(c <= " " or c == "\x7f" for c in text):
        raise UrlError(f"{label}: fragments, spaces, control characters and non-ASCII characters are not allowed")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(parts.scheme, parts.hostname, port if port is not None else _PORTS[parts.scheme], target, label)


class Exchange:
    """One request on a connection of its own. Send `request`, then give `receive` what comes until it returns a Response."""

    def __init__(self, method: str, url: Url, headers: Headers = (), body: bytes = b"", body_bytes_max: int = 64 << 20) -> None:
        self._url = url
        self._body_bytes_max = body_bytes_max
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._response: Any = None
        self._body = bytearray()
        own = [("Host", url.authority), ("Connection", "close"), ("Accept-Encoding", "identity")]
        if body or method not in ("GET", "HEAD", "DELETE"):
            own.append(("Content-Length", str(len(body))))
        self.request = _encode(self._h11, method, url, [*own, *headers], body)

    def receive(self, data: bytes) -> Response | None:
        """Take received bytes, b"" for the end of the stream; the Response once it is whole, of whatever status."""
        for event in _events(self._h11, data, self._url):
            if isinstance(event, h11.Response):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > self._body_bytes_max:
                    raise BodyTooBig(f"{self._url.label}: the body exceeds {self._body_bytes_max} bytes")
            elif isinstance(event, h11.EndOfMessage):
                return _response(self._response, bytes(self._body))
        return None

    def _begin(self, event: Any) -> None:
        self._response = event
        response = _response(event, b"")
        encoding = response.header("content-encoding").lower()
        if encoding not in ("", "identity"):
            raise MalformedResponse(f"{self._url.label}: Content-Encoding {encoding!r}, although only identity was accepted")
        length = response.header("content-length")
        if length.isdigit() and int(length) > self._body_bytes_max:
            raise BodyTooBig(f"{self._url.label}: announced {length} bytes, at most {self._body_bytes_max} are allowed")


def expect_ok(url: Url, response: Response) -> Response:
    """The response if its status is 200; else raises UnexpectedStatus, redirects included."""
    if response.status == 200:
        return response
    raise UnexpectedStatus(_describe(url, "200", response), response._replace(body=response.body[:_BODY_HEAD_BYTES]))


class Upgrade:
    """The WebSocket handshake of a client. Send `request`, then give `receive` what comes until it returns the bytes left over."""

    def __init__(self, url: Url, nonce: bytes, headers: Headers = ()) -> None:
        if len(nonce) != 16:
            raise ValueError(f"nonce must be 16 bytes, was {len(nonce)}")
        self._url = url
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=_HEAD_BYTES_MAX)
        self._refusal: Any = None
        self._body = bytearray()
        key = base64.b64encode(nonce)
        self._accept = accept_key(key).decode()
        own = [("Host", url.authority), ("Upgrade", "websocket"), ("Connection", "Upgrade")]
        own += [("Sec-WebSocket-Key", key.decode()), ("Sec-WebSocket-Version", "13")]
        self.request = _encode(self._h11, "GET", url, [*own, *headers], b"")

    def receive(self, data: bytes) -> bytes | None:
        """Take received bytes, b"" for the end of the stream; once upgraded, the bytes of frames that came behind it."""
        for event in _events(self._h11, data, self._url):
            if isinstance(event, h11.InformationalResponse) and event.status_code == 101:
                self._verify(_response(event, b""))
                return bytes(self._h11.trailing_data[0])
            if isinstance(event, h11.Response):
                self._refusal = event
            elif isinstance(event, h11.Data):
                self._body += event.data
            if self._refusal is not None and (isinstance(event, h11.EndOfMessage) or len(self._body) >= _BODY_HEAD_BYTES):
                self._refuse()
        return None

    def _refuse(self) -> None:
        response = _response(self._refusal, bytes(self._body[:_BODY_HEAD_BYTES]))
        raise UpgradeRefused(_describe(self._url, "101 Switching Protocols", response), response)

    def _verify(self, response: Response) -> None:
        upgrade = response.header("upgrade")
        connection = [token.strip().lower() for token in response.header("connection").split(",")]
        accept = response.header("sec-websocket-accept")
        if upgrade.lower() != "websocket" or "upgrade" not in connection:
            raise UpgradeInvalid(
                f"{self._url.label}: 101 with Upgrade {upgrade!r} and Connection {connection}, expected websocket, upgrade"
            )
        if accept != self._accept:
            raise UpgradeInvalid(f"{self._url.label}: Sec-WebSocket-Accept is {accept!r}, expected {self._accept!r}")
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            if response.header(name):
                raise UpgradeInvalid(f"{self._url.label}: {name} is {response.header(name)!r}, although none was offered")


def accept_key(key: bytes) -> bytes:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    return base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID).digest())


def _encode(connection: Any, method: str, url: Url, headers: Headers, body: bytes) -> bytes:
    try:
        request = h11.Request(method=method, target=url.target, headers=headers)
        parts = [connection.send(request), connection.send(h11.Data(data=body)) if body else b"", connection.send(h11.EndOfMessage())]
    except h11.LocalProtocolError as error:
        raise UrlError(f"{url.label}: cannot be asked for: {error}") from None
    return b"".join(parts)


def _events(connection: Any, data: bytes, url: Url) -> Any:
    interim = 0
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.ConnectionClosed):
                raise MalformedResponse(f"{url.label}: the server ended the connection before the response was whole")
            if isinstance(event, h11.InformationalResponse):
                interim += 1
                if interim > _INTERIM_MAX:
                    raise MalformedResponse(f"{url.label}: more than {_INTERIM_MAX} interim responses")
            yield event
            if isinstance(event, h11.EndOfMessage):
                return
    except h11.RemoteProtocolError as error:
        raise MalformedResponse(f"{url.label}: not an HTTP response: {error}") from None


def _response(event: Any, body: bytes) -> Response:
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers)
    return Response(event.status_code, headers, body)


def _describe(url: Url, expected: str, response: Response) -> str:
    location = response.header("location").split("?", 1)[0]
    moved = f" to {location!r}" if location else ""
    return f"{url.label}: status {response.status}{moved}, expected {expected}; body begins {response.body[:200]!r}"
