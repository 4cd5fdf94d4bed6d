"""Venue server: a simulated venue on three loopback ports, WebSocket, REST and control, for any client."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from hft.sim.venue import RefusedError, Response, Venue, VenueSession, frame_bytes
from processes.errors import EngineError
from processes.http_listener import HttpListener

LOOPBACK = "127.0.0.1"
#: Events played before the loop looks at its sockets again.
TURN_EVENTS = 256
MESSAGE_BYTES_MAX = 64 * 1024
#: A client that lets this much pile up is dropped; at pace `max` it is waited for instead.
BACKLOG_BYTES_MAX = 64 * 1024 * 1024
#: Bounds how far playback at pace `max` runs ahead of what a client has read.
SEND_BUFFER_BYTES = 256 * 1024
PORTS_TRIED = 100
#: How often to run timers while a client is waited for; its reading ends the wait at once.
BLOCKED_S = 0.1


class _Client(WSListener):
    """One WebSocket connection."""

    def __init__(self, simulator: Simulator, target: object) -> None:
        self._simulator = simulator
        self._target = target
        self._parts = bytearray()
        self._kind = WSMsgType.TEXT
        self.transport: WSTransport | None = None
        self.session: VenueSession | None = None
        self.paused = False
        self.stalled = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        transport.underlying_transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self.session = self._simulator.venue.open(self._target, time.monotonic_ns())
        self._simulator.clients.append(self)
        self._simulator.kick()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        assert self.session is not None
        kind = frame.msg_type
        if kind == WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), b"")
            transport.disconnect()
            return
        payload = frame.get_payload_as_bytes()
        if kind in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            if kind != WSMsgType.CONTINUATION:
                self._kind, self._parts = kind, bytearray()
            self._parts += payload
            if len(self._parts) > MESSAGE_BYTES_MAX:
                transport.send_close(WSCloseCode.MESSAGE_TOO_BIG, b"")
                transport.disconnect()
                return
            if not frame.fin:
                return
            kind, payload = self._kind, bytes(self._parts)
        self._simulator.venue.receive(self.session, kind.value, payload, time.monotonic_ns())
        self._simulator.kick()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._simulator.forget(self)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._simulator.kick()

    def flush(self) -> None:
        """Send what the session has, and end the connection if it is to end; do nothing while it is stalled."""
        assert self.session is not None and self.transport is not None
        transport, session = self.transport, self.session
        if session.close is not None and session.close.code == 0:
            transport.underlying_transport.abort()
            return
        if session.stalled_until_ns:
            if time.monotonic_ns() < session.stalled_until_ns:
                if not self.stalled:
                    self.stalled = True
                    transport.underlying_transport.pause_reading()
                return
            session.stalled_until_ns, self.stalled = 0, False
            transport.underlying_transport.resume_reading()
        if session.outbox:
            # One write for all: a system call a frame would be what limits a burst of replies.
            transport.underlying_transport.write(b"".join([frame_bytes(opcode, payload) for opcode, payload in session.outbox]))
            session.outbox.clear()
        if session.close is not None and not transport.is_close_frame_sent:
            transport.send_close(WSCloseCode(session.close.code), session.close.reason.encode())
            transport.disconnect()

    @property
    def stalled_until_ns(self) -> int:
        """When a stalled connection goes on."""
        return self.session.stalled_until_ns if self.session is not None else 0

    def backlog_bytes(self) -> int:
        """Return how much waits for the client to read."""
        return self.transport.underlying_transport.get_write_buffer_size() if self.transport is not None else 0


class Simulator:
    """A venue on three loopback ports: WebSocket, REST and control."""

    def __init__(self, venue: Venue, waits_for_clients: bool, tls: ssl.SSLContext | None = None) -> None:
        """Serve `venue`; `waits_for_clients` is pace `max`: play on only while every client keeps up.

        With `tls` the WebSocket and REST ports speak TLS; the control port never does.
        """
        self.venue = venue
        self._tls = tls
        self.clients: list[_Client] = []
        self._waits_for_clients = waits_for_clients
        self._servers: list[asyncio.Server] = []
        self._turn_handle: asyncio.Handle | None = None
        self._wake_handle: asyncio.TimerHandle | None = None
        self._stopping = False

    async def start(self, port: int) -> dict[str, object]:
        """Listen; return the line that says where. Raises EngineError when a port is taken."""
        loop = asyncio.get_running_loop()
        ws_port = await self._listen(
            lambda at: ws_create_server(self._accept, LOOPBACK, at, enable_auto_pong=False, ssl=self._tls), port, 1
        )
        next_port = ws_port + 1 if port else 0
        rest_port = await self._listen(
            lambda at: loop.create_server(lambda: HttpListener(self._rest), LOOPBACK, at, ssl=self._tls), next_port, PORTS_TRIED
        )
        next_port = rest_port + 1 if port else 0
        control_port = await self._listen(
            lambda at: loop.create_server(lambda: HttpListener(self._control), LOOPBACK, at), next_port, PORTS_TRIED
        )
        secure = "s" if self._tls else ""
        return {
            "ready": True,
            "http": f"http{secure}://{LOOPBACK}:{rest_port}",
            "ws": f"ws{secure}://{LOOPBACK}:{ws_port}",
            "control": f"http://{LOOPBACK}:{control_port}",
        }

    async def stop(self) -> None:
        """Close every connection and port."""
        self._stopping = True
        self.venue.end("the simulator stops")
        for client in list(self.clients):
            client.flush()
        for handle in (self._turn_handle, self._wake_handle):
            if handle is not None:
                handle.cancel()
        for server in self._servers:
            server.close()
        for _ in range(50):
            if not self.clients:
                break
            await asyncio.sleep(0.01)
        for client in self.clients:
            if client.transport is not None:
                client.transport.underlying_transport.abort()

    def kick(self) -> None:
        """Take a turn soon: something happened."""
        if self._turn_handle is None and not self._stopping:
            self._turn_handle = asyncio.get_running_loop().call_soon(self._turn)

    def forget(self, client: _Client) -> None:
        """Drop a connection that is gone."""
        if client in self.clients:
            self.clients.remove(client)
        if client.session is not None:
            self.venue.closed(client.session)
        if not self._stopping:
            self.kick()

    async def _listen(self, listen: Callable[[int], Any], port: int, tries: int) -> int:
        for at in range(port, min(port + tries, 65536)):
            try:
                server: asyncio.Server = await listen(at)
            except OSError as error:
                problem = error
                continue
            self._servers.append(server)
            bound: int = server.sockets[0].getsockname()[1]
            return bound
        raise EngineError(f"no free port from {port}: {problem.strerror}")

    def _accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            return _Client(self, self.venue.admit(request.path.decode("latin-1"), headers, time.monotonic_ns()))
        except RefusedError as error:
            return WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(error.status, str(error).encode()), None)

    def _rest(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        response = self.venue.request(method, target, headers, body, time.monotonic_ns())
        self.kick()
        return response

    def _control(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        response = self.venue.control(method, target, body, time.monotonic_ns())
        self.kick()
        return response

    def _turn(self) -> None:
        """Play what is due, send it, and see when to be back."""
        self._turn_handle = None
        if self._wake_handle is not None:
            self._wake_handle.cancel()
            self._wake_handle = None
        blocked = self._waits_for_clients and any(client.paused for client in self.clients)
        played = self.venue.work(time.monotonic_ns(), 0 if blocked else TURN_EVENTS)
        for client in list(self.clients):
            client.flush()
            if not self._waits_for_clients and client.paused and client.backlog_bytes() > BACKLOG_BYTES_MAX:
                self.venue.counters["slow_clients"] += 1
                assert client.transport is not None
                client.transport.underlying_transport.abort()
        if played and not blocked:
            self.kick()
            return
        deadline_ns = min([self.venue.deadline_ns(), *(client.stalled_until_ns for client in self.clients if client.stalled)])
        wait_s = max((deadline_ns - time.monotonic_ns()) / 1e9, BLOCKED_S if blocked else 0.0)
        if wait_s < 3600:
            self._wake_handle = asyncio.get_running_loop().call_later(wait_s, self.kick)
