"""HTTP listener: serves a request-answering function over asyncio, with h11 for the protocol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus

import h11

from hft.sim.venue import Ending, Response

BODY_BYTES_MAX = 64 * 1024
REASONS = {status.value: status.phrase for status in HTTPStatus}

#: (method, target, headers with lower-case names, body) -> answer
Answer = Callable[[str, str, Mapping[str, str], bytes], Response]


class HttpListener(asyncio.Protocol):
    """One client's connection: requests are answered one after another, also when they arrive together."""

    def __init__(self, answer: Answer) -> None:
        """Answer each whole request with `answer`."""
        self._answer = answer
        self._http = h11.Connection(h11.SERVER)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._later: asyncio.TimerHandle | None = None
        self._held = False  # no answer will ever come on this connection
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Drop an answer that is still held."""
        self._transport = None
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        """Take bytes of requests."""
        self._http.receive_data(data)
        self._advance()

    def eof_received(self) -> bool | None:
        """Note that the client sends no more; answers still go out."""
        self._http.receive_data(b"")
        self._advance()
        return None

    def _advance(self) -> None:
        """Take what has arrived until more bytes, or the answer's time, are needed."""
        while self._transport is not None and self._later is None and not self._held:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                self._refuse(error.error_status_hint, str(error))
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._request, self._body = event, bytearray()
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > BODY_BYTES_MAX:
                    self._refuse(413, f"a body may have {BODY_BYTES_MAX} bytes")
                    return
            elif isinstance(event, h11.EndOfMessage):
                self._respond()
            elif isinstance(event, h11.ConnectionClosed):
                self._transport.close()
                return

    def _respond(self) -> None:
        assert self._request is not None
        request = self._request
        headers = {bytes(name).decode("latin-1"): bytes(value).decode("latin-1") for name, value in request.headers}
        response = self._answer(request.method.decode("ascii"), request.target.decode("latin-1"), headers, bytes(self._body))
        if response.ending is Ending.DROPPED:
            assert self._transport is not None
            self._transport.abort()
        elif response.ending is Ending.HELD:
            self._held = True
        elif response.delay_ns:
            self._later = asyncio.get_running_loop().call_later(response.delay_ns / 1e9, self._send_later, response)
        else:
            self._send(response)

    def _send_later(self, response: Response) -> None:
        self._later = None
        self._send(response)
        self._advance()

    def _send(self, response: Response) -> None:
        assert self._transport is not None and self._request is not None
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        reason = REASONS.get(response.status, "")
        out = self._http.send(h11.Response(status_code=response.status, headers=headers, reason=reason.encode()))
        if self._request.method != b"HEAD":
            out += self._http.send(h11.Data(data=response.body))
        self._transport.write(out + self._http.send(h11.EndOfMessage()))
        if self._http.our_state is h11.MUST_CLOSE:
            self._transport.close()
        else:
            self._http.start_next_cycle()

    def _refuse(self, status: int, reason: str) -> None:
        """Say what is wrong with a request, if it can still be said, and hang up."""
        assert self._transport is not None
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = reason.encode()
            headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(body))), ("Connection", "close")]
            out = self._http.send(h11.Response(status_code=status, headers=headers))
            self._transport.write(out + self._http.send(h11.Data(data=body)) + self._http.send(h11.EndOfMessage()))
        self._transport.close()
