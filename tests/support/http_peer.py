"""A scripted HTTP/1.1 server on loopback: h11 reads the requests, a test says what is answered, and nothing blocks.

No thread runs: the test calls `pump` between the steps of what it tests.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import h11

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Asked(NamedTuple):
    """A request that came whole."""

    method: str
    target: str
    headers: dict[str, str]  #: names in lower case
    body: bytes
    connection: Conversation


def answer_ok(asked: Asked) -> bytes:
    """Say 200 and repeat the body."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(asked.body), asked.body)


class HttpPeer:
    """Listens, serves any number of connections; `answer` gives the bytes for a request, b"" to say nothing."""

    def __init__(
        self, answer: Callable[[Asked], bytes] = answer_ok, tls: ssl.SSLContext | None = None, receive_buffer_bytes: int | None = None
    ) -> None:
        self._listener = socket.socket()
        if receive_buffer_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        self._tls = tls
        self.answer = answer
        self.reading = True
        self.accepted = 0
        self.asked: list[Asked] = []  #: every request that came whole
        self.connections: list[Conversation] = []  #: those that are open
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}/"

    def pump(self) -> None:
        """Accept, read, answer: whatever can be done now."""
        try:
            fresh, _ = self._listener.accept()
        except BlockingIOError:
            pass
        else:
            fresh.setblocking(False)
            fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                fresh = self._tls.wrap_socket(fresh, server_side=True, do_handshake_on_connect=False)
            self.accepted += 1
            self.connections.append(Conversation(self, fresh))
        for connection in tuple(self.connections):
            connection.pump()

    def close(self) -> None:
        """End everything."""
        for connection in tuple(self.connections):
            connection.hang_up()
        self._listener.close()


class Conversation:
    """One accepted connection."""

    def __init__(self, peer: HttpPeer, accepted: socket.socket) -> None:
        self._peer = peer
        self._socket = accepted
        self._h11: Any = h11.Connection(h11.SERVER)
        self._head: Any = None
        self._body = b""
        self._outbound = b""

    @property
    def _open(self) -> bool:
        return self in self._peer.connections

    def send(self, data: bytes) -> None:
        """Send bytes as they are, now or as soon as the socket takes them."""
        self._outbound += data
        try:
            while self._outbound and self._open:
                self._outbound = self._outbound[self._socket.send(self._outbound) :]
        except _NOT_NOW:
            pass

    def hang_up(self) -> None:
        """End the connection without a word, if it has not ended."""
        if self._open:
            self._socket.close()
            self._peer.connections.remove(self)

    def reset(self) -> None:
        """End the connection by RST, if it has not ended."""
        if self._open:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def pump(self) -> None:
        """Read and answer."""
        try:
            self.send(b"")
            while self._peer.reading and self._open:
                data = self._socket.recv(65536)
                if not data:
                    self.hang_up()
                    return
                self._h11.receive_data(data)
                self._take()
        except _NOT_NOW:
            pass
        except OSError:
            self.hang_up()

    def _take(self) -> None:
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Request):
                self._head, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:
                return

    def _answer(self) -> None:
        head = self._head
        headers = {name.decode(): value.decode() for name, value in head.headers}
        asked = Asked(head.method.decode(), head.target.decode(), headers, self._body, self)
        self._peer.asked.append(asked)
        # What is answered is the test's affair: h11 is told of an answer so that it goes on to the next request.
        self._h11.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
        self._h11.send(h11.EndOfMessage())
        self._h11.start_next_cycle()
        self.send(self._peer.answer(asked))
