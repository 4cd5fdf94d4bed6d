"""A scripted WebSocket server on a raw socket: does exactly what a test says, and nothing by itself but the handshake.

Nothing blocks and no thread runs: the test calls `pump` between the steps of what it tests. Framing here is written apart from
the engine's, so that one cannot hide the other's mistakes.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import Callable
from typing import NamedTuple

_NOT_NOW = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Frame(NamedTuple):
    """A frame that the client sent."""

    fin: bool
    opcode: int
    key: bytes | None  #: masking key; None if it was not masked
    payload: bytes  #: unmasked


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, key: bytes | None = None, form: int | None = None
) -> bytes:
    """The bytes of one frame. `form` forces the length's form: 0 (7-bit), 2 or 8 bytes; by default the shortest."""
    if form is None:
        form = 0 if len(payload) < 126 else 2 if len(payload) < 65536 else 8
    masked = 0 if key is None else 0x80
    first = (0x80 if fin else 0) | reserved << 4 | opcode
    if form == 0:
        header = struct.pack("!BB", first, masked | len(payload))
    elif form == 2:
        header = struct.pack("!BBH", first, masked | 126, len(payload))
    else:
        header = struct.pack("!BBQ", first, masked | 127, len(payload))
    if key is None:
        return header + payload
    return header + key + bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    """A CLOSE frame."""
    return frame(8, b"" if code is None else struct.pack("!H", code) + reason)


def read_frame(data: bytes) -> tuple[Frame, int] | None:
    """The frame at the start of `data` and its length, or None if it is not whole."""
    if len(data) < 2:
        return None
    size, at = data[1] & 0x7F, 2
    if size == 126:
        size, at = int.from_bytes(data[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(data[2:10], "big"), 10
    key = None
    if data[1] & 0x80:
        key, at = data[at : at + 4], at + 4
    if len(data) < at + size:
        return None
    payload = data[at : at + size]
    if key is not None:
        stretched = (key * (size // 4 + 1))[:size]
        payload = (int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
    return Frame(bool(data[0] & 0x80), data[0] & 0x7F, key, payload), at + size


def switching(request: bytes) -> bytes:
    """The proper answer to an upgrade request."""
    key = next(line.split(b":", 1)[1].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"


class Peer:
    """Listens on loopback; serves one connection at a time, the newest. With a `tls` context of a server's it speaks TLS."""

    def __init__(
        self,
        answer: Callable[[bytes], bytes] = switching,
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self._shaken = tls is None
        self._listener = socket.socket()
        if receive_buffer_bytes is not None:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self._listener.setblocking(False)
        self._socket: socket.socket | None = None
        self._inbound = b""
        self._outbound = b""
        self.answer = answer
        self.request = b""  #: the upgrade request
        self.frames: list[Frame] = []  #: what the client sent
        self.reading = True
        self.client_gone = False  #: the client ended the connection
        self.accepted = 0
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{self.port}/stream?streams=a/b"

    @property
    def upgraded(self) -> bool:
        """Whether the handshake is done."""
        return bool(self.request)

    @property
    def idle(self) -> bool:
        """Whether all that was to be sent has been handed to the socket."""
        return not self._outbound

    def send(self, data: bytes) -> None:
        """Send bytes as they are, now or as soon as the socket takes them."""
        self._outbound += data
        self.pump()

    def pump(self) -> None:
        """Accept, read, write: whatever can be done now."""
        self._accept()
        if self._socket is None or not (self._shaken or self._shake()):
            return
        self._write()
        if self.reading and not self.client_gone:
            self._read()

    def reset(self) -> None:
        """End the connection by RST."""
        assert self._socket is not None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection without a word."""
        assert self._socket is not None
        self._socket.close()
        self._socket = None

    def close(self) -> None:
        """End everything."""
        if self._socket is not None:
            self._socket.close()
        self._listener.close()

    def _accept(self) -> None:
        try:
            fresh, _ = self._listener.accept()
        except BlockingIOError:
            return
        if self._socket is not None:
            self._socket.close()
        fresh.setblocking(False)
        fresh.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            fresh = self._tls.wrap_socket(fresh, server_side=True, do_handshake_on_connect=False)
            self._shaken = False
        self._socket, self._inbound, self._outbound, self.request, self.client_gone = fresh, b"", b"", b"", False
        self.frames = []
        self.accepted += 1

    def _shake(self) -> bool:
        assert isinstance(self._socket, ssl.SSLSocket)
        try:
            self._socket.do_handshake()
        except _NOT_NOW:
            return False
        except OSError:
            self.hang_up()
            return False
        self._shaken = True
        return True

    def _write(self) -> None:
        assert self._socket is not None
        while self._outbound:
            try:
                count = self._socket.send(self._outbound[:262144])
            except _NOT_NOW:
                return
            except OSError:
                self._outbound = b""
                return
            self._outbound = self._outbound[count:]

    def _read(self) -> None:
        assert self._socket is not None
        while True:
            try:
                data = self._socket.recv(1 << 20)
            except _NOT_NOW:
                break
            except OSError:
                data = b""
            if not data:
                self.client_gone = True
                break
            self._inbound += data
        if not self.request and b"\r\n\r\n" in self._inbound:
            head, self._inbound = self._inbound.split(b"\r\n\r\n", 1)
            self.request = head + b"\r\n\r\n"
            self._outbound = self.answer(self.request) + self._outbound
            self._write()
        while self.request and (found := read_frame(self._inbound)):
            self.frames.append(found[0])
            self._inbound = self._inbound[found[1] :]
