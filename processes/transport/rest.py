"""REST: one HTTP or HTTPS request, driven by `poll` between bursts."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from hft.http_client import Exchange, Headers, Response, expect_ok, parse_url
from processes.transport.stream import HOST, Address, DeadlineExceeded, Network

BODY_BYTES_MAX = 64 << 20
#: One poll takes in at most this much, so that a long body does not keep a burst waiting.
_POLL_BYTES_MAX = 1 << 20


class Request:
    """A request on a connection of its own, begun at once; `poll` it until it gives the response or raises, then forget it."""

    def __init__(
        self,
        url: str,
        deadline_ns: int,
        *,
        method: str = "GET",
        headers: Headers = (),
        body: bytes = b"",
        body_bytes_max: int = BODY_BYTES_MAX,
        tls: ssl.SSLContext | None = None,
        addresses: Sequence[Address] = (),
        network: Network = HOST,
    ) -> None:
        self._url = parse_url(url, ("http", "https"))
        self._deadline_ns = deadline_ns
        self._exchange = Exchange(method, self._url, headers, body, body_bytes_max)
        self._unsent = self._exchange.request
        self._stream = network.open_stream(self._url, deadline_ns, tls, addresses)

    def poll(self, now_ns: int) -> Response | None:
        """The response, of status 200, once it is whole; None until then.

        Raises TransportError when there is no connection or the deadline passed, UnexpectedStatus (with status and the head
        of the body; redirects are not followed) and other HttpErrors. Any error ends the request.
        """
        try:
            response = self._advance(now_ns)
        except BaseException:
            self.close()
            raise
        if response is None:
            return None
        self.close()
        return expect_ok(self._url, response)

    def close(self) -> None:
        """Give the request up."""
        self._stream.close()

    def _advance(self, now_ns: int) -> Response | None:
        if now_ns >= self._deadline_ns:
            raise DeadlineExceeded(f"{self._url.label}: no whole response in time")
        if not self._stream.poll(now_ns):
            return None
        if self._unsent:
            self._unsent = self._unsent[self._stream.write(self._unsent) :]
        taken = 0
        while taken < _POLL_BYTES_MAX:
            data = self._stream.read()
            if data is None:
                return None
            taken += len(data)
            response = self._exchange.receive(data)
            if response is not None:
                return response
        return None
