"""Picows: moves frames between an asyncio WebSocket (picows) and a wire, for wss and for hosts without a core to spin on.

picows reads the socket and cuts frames; their payloads are copied into the wire, where fragments, pings and closes are handled
by the same kernels as on the direct transport. Outbound, whole frames from the lanes go to the asyncio transport one at a time,
and only while it holds nothing back: so a full socket fills the lanes, and a kill finds at most one frame partly sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, cast

import numpy as np
from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from hft.http_client import Response, UpgradeInvalid, UpgradeRefused
from hft.reconnect import Reconnect
from hft.websocket import CONTROL_BYTES_MAX, FIN, CloseCode, FrameCode
from processes.transport import connect
from processes.transport.connect import Kills, Link, LinkEvent, Settings
from processes.transport.picows_kernels import outbound, take_frame, take_pinned
from processes.transport.stream import ConnectFailed, DeadlineExceeded, Stream, tls_context, tls_failed
from processes.transport.wire import (
    CLOSE_DEADLINE_NS,
    FRAME_TAIL,
    MESSAGE_BYTES_MAX,
    OPENED,
    STATE,
    Wire,
    WireError,
    WireState,
    end,
    fail,
    make_wire,
    open_wire,
)
from shm.pinned import pin, resolved

_CLOSED = int(WireState.CLOSED)
_OVERRUN = int(WireError.OVERRUN)
_CLOSING = int(WireState.CLOSING)
_TEXT = WSMsgType.TEXT

#: What picows has to say about a connection reaches people as the link's error.
_LOG = logging.getLogger("hft.picows")
_LOG.addHandler(logging.NullHandler())
_LOG.propagate = False


def warm() -> None:
    """Compile, or load, all that a PicowsLink calls, on a scratch wire."""
    connect.warm()
    wire = make_wire(message_bytes_max=128, messages_max=1)
    landing = np.zeros(128, np.uint8)
    open_wire(wire, -1, 1)
    pinned = pin((wire, landing, wire.words))
    take_pinned(pinned.cell, 1, 1, 0)
    take_frame(wire, landing, FIN | 1, 1, 0)
    fail(wire, _OVERRUN, 0)
    outbound(pinned.cell, 0, OPENED, OPENED)


class PicowsLink(Link):
    """A link on an event loop, which someone else runs (see `Turns`), with ticks and flushes in between.

    `on_messages` is called when messages have been queued, at the end of each read; it must take them all. After it the lanes
    are flushed. What it raises comes out of the next `tick`.
    """

    def __init__(
        self,
        settings: Settings,
        wire: Wire,
        retry: Reconnect,
        kills: Kills,
        loop: asyncio.AbstractEventLoop,
        on_messages: Callable[[], object],
    ) -> None:
        super().__init__(settings, wire, retry, kills)
        self._loop = loop
        self._on_messages = on_messages
        # Where picows' payloads are copied to; numba cannot look into picows' own buffer.
        self._landing = np.zeros(max(int(wire.words[MESSAGE_BYTES_MAX]), CONTROL_BYTES_MAX), np.uint8)
        self._landing_bytes = memoryview(cast(Any, self._landing))
        self._pinned = pin((wire, self._landing, kills.words))
        self._cell = self._pinned.cell
        self._take_whole = resolved(take_pinned, self._cell, 1, 1, 1)
        self._outbound = resolved(outbound, self._cell, 0, 0, 0)
        self._lanes = [memoryview(cast(Any, lane)) for lane in (wire.out, wire.cancel_out, wire.control_out)]
        self._tls = (settings.tls or tls_context()) if self.url.secure else None
        self._stream: Stream | None = None
        self._connected: socket.socket | None = None  # picows owns it, once the task has begun
        self._task: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()  # whatever of ours still runs on the loop
        self._transport: WSTransport | None = None
        self._write: Callable[[bytes], None] = _nowhere
        self._held: Callable[[], int] = _nothing
        self._is_closing: Callable[[], bool] = _never
        self._deadline_ns = 0
        self._seen = 0  # messages that `poll` has reported
        self._crash: BaseException | None = None

    @property
    def closed(self) -> bool:
        """See `Link.closed`; the loop must go on running until then."""
        return super().closed and not self._tasks

    def tick(self, now_ns: int) -> LinkEvent:
        """See `Link.tick`; raises what `on_messages` raised."""
        if self._crash is not None:
            crash, self._crash = self._crash, None
            raise crash
        return super().tick(now_ns)

    def poll(self, now_ns: int) -> int:
        """Judge the closing deadline; the loop does the reading. Returns how many messages became complete since the last call."""
        words = self.wire.words
        if words[STATE] == _CLOSING and now_ns >= words[CLOSE_DEADLINE_NS]:
            end(self.wire, int(WireError.CLOSE_TIMED_OUT), 0)
        tail = int(words[FRAME_TAIL])
        new, self._seen = max(tail - self._seen, 0), tail
        return new

    def flush(self) -> int:
        """Hand over what is queued; returns the bytes, or -WireError when the connection ended here."""
        transport = self._transport
        if transport is None:
            return 0
        if transport.is_close_frame_sent:
            self._refused_by_parser(transport)
            return 0
        if self._is_closing():
            # What it held is gone, and was not sent.
            end(self.wire, int(WireError.LOST), 0)
            return 0
        cell, next_frame, total = self._cell, self._outbound, 0
        _, firm, venue = self.kills
        while True:
            lane, at, length = next_frame(cell, self._held(), firm, venue)
            if lane < 0:
                break
            # A copy: the lane is written to again while asyncio may still hold the bytes.
            self._write(bytes(self._lanes[lane][at : at + length]))
            total += length
        if self.wire.words[STATE] == _CLOSED:
            self._abort()
            return -int(WireError.KILLED_HALF_SENT)
        return total

    def connected(self, transport: WSTransport, connection: socket.socket) -> None:
        """The upgrade is done; frames may follow at once."""
        if connection is not self._connected:
            transport.disconnect(graceful=False)
            return
        self._transport = transport
        self._write = transport.underlying_transport.write
        self._held = transport.underlying_transport.get_write_buffer_size
        self._is_closing = transport.underlying_transport.is_closing
        self._seen = 0
        open_wire(self.wire, -1, int.from_bytes(self.settings.network.entropy(8), "little") >> 1)

    def take(self, transport: WSTransport, frame: WSFrame) -> None:
        """One frame came in."""
        if transport is not self._transport:
            return
        received_ns = time.monotonic_ns()
        size, kind = frame.payload_size, frame.msg_type
        self._landing_bytes[:size] = frame.get_payload_as_memoryview()
        waiting = -1
        if kind is _TEXT and frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
            waiting = self._take_whole(self._cell, 1, size, received_ns)
        if waiting < 0:
            waiting = self._take_frame(frame, received_ns)
        if waiting > 0 and frame.last_in_buffer and self.open:
            self._step()

    def _take_frame(self, frame: WSFrame, received_ns: int) -> int:
        reserved = frame.rsv1 << 6 | frame.rsv2 << 5 | frame.rsv3 << 4
        first = int(frame.msg_type) | (FIN if frame.fin else 0) | reserved  # type: ignore[call-overload]
        waiting = take_frame(self.wire, self._landing, first, frame.payload_size, received_ns)
        if waiting < 0 and self.open:
            self._step()
            waiting = take_frame(self.wire, self._landing, first, frame.payload_size, received_ns)
        if waiting < 0:
            fail(self.wire, _OVERRUN, received_ns)
        return int(waiting)

    def lost(self, transport: WSTransport) -> None:
        """The connection is gone."""
        if transport is not self._transport:
            return
        if transport.is_close_frame_sent:
            self._refused_by_parser(transport)
        else:
            end(self.wire, int(WireError.LOST), 0)

    def _step(self) -> None:
        try:
            self._on_messages()
            self.flush()
        except BaseException as error:  # noqa: BLE001
            # picows would log it and go on.
            self._crash = error
            self.drop()

    def _refused_by_parser(self, transport: WSTransport) -> None:
        sent = transport.close_handshake.sent if transport.close_handshake is not None else None
        too_big = sent is not None and int(sent.code) == CloseCode.TOO_BIG  # type: ignore[call-overload]
        end(self.wire, int(FrameCode.TOO_BIG if too_big else WireError.REFUSED_BY_PARSER), 0)

    def _begin(self, now_ns: int) -> None:
        self._deadline_ns = now_ns + self.settings.timeout_ns
        # TCP is opened by the same code as for the direct transport; picows adds TLS and the upgrade.
        plain = self.url._replace(scheme="ws")
        self._stream = Stream(plain, self._deadline_ns, addresses=self.settings.addresses)

    def _advance(self, now_ns: int) -> bool:
        if self._stream is not None:
            if not self._stream.poll(now_ns):
                return False
            self._connected = self._stream.detach()
            self._stream = None
            self._task = self._begin_task(self._upgrade(self._connected))
        assert self._task is not None
        if not self._task.done():
            if now_ns >= self._deadline_ns and self._transport is None:
                raise DeadlineExceeded(f"{self.url.label}: no WebSocket upgrade in time")
            return False
        task, self._task = self._task, None
        task.result()
        return True

    async def _upgrade(self, connected: socket.socket) -> None:
        settings = self.settings
        if self._connected is not connected:
            connected.close()
            raise ConnectFailed(f"{self.url.label}: given up")
        try:
            transport, _ = await ws_connect(
                lambda: _Listener(self, connected),
                settings.url,
                ssl_context=self._tls,
                websocket_handshake_timeout=None,
                enable_auto_pong=False,
                max_frame_size=int(self.wire.words[MESSAGE_BYTES_MAX]),
                max_redirects=0,
                extra_headers=list(settings.headers),
                socket_factory=lambda _: connected,
                logger_name=_LOG,
            )
        except WSHandshakeError as error:
            raise self._refusal(error) from None
        except ssl.SSLError as error:
            raise tls_failed(self.url, error) from None
        except (WSError, OSError) as error:
            raise ConnectFailed(f"{self.url.label}: no WebSocket upgrade: {error}") from None
        self._begin_task(_wait_disconnected(transport))

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[Any]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _refusal(self, error: WSHandshakeError) -> Exception:
        if error.response is None or int(error.response.status) == 101:
            return UpgradeInvalid(f"{self.url.label}: {error}")
        headers = tuple((name.lower(), value) for name, value in error.response.headers.items())
        body = bytes(error.raw_body or b"")[:2048]
        response = Response(int(error.response.status), headers, body)
        return UpgradeRefused(
            f"{self.url.label}: status {response.status}, expected 101 Switching Protocols; body begins {body[:200]!r}", response
        )

    def _let_go(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        if self._task is not None:
            self._task.add_done_callback(_forget)
            self._task = None
            # Cancelled, picows would leave its asyncio transport open; at the end of the stream it closes it.
            if self._connected is not None:
                with contextlib.suppress(OSError):
                    self._connected.shutdown(socket.SHUT_RDWR)
        self._connected = None
        if self._transport is not None:
            end(self.wire, int(WireError.DROPPED), 0)
        self._abort()
        self._transport = None
        self._write, self._held, self._is_closing = _nowhere, _nothing, _never

    def _abort(self) -> None:
        if self._transport is not None and not self._transport.is_disconnected:
            self._transport.disconnect(graceful=False)


class _Listener(WSListener):
    def __init__(self, link: PicowsLink, connection: socket.socket) -> None:
        super().__init__()
        self._link = link
        self._connection = connection
        # The link's own method: one call less for each frame.
        self.on_ws_frame = link.take  # type: ignore[method-assign]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._link.connected(transport, self._connection)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._link.lost(transport)

    def pause_writing(self) -> None:
        """Nothing to do: `flush` asks how much is held."""

    def resume_writing(self) -> None:
        """Nothing to do."""


async def _wait_disconnected(transport: WSTransport) -> None:
    """Take the outcome, which asyncio would otherwise complain that nobody did."""
    try:
        await transport.wait_disconnected()
    except WSError:
        return


def _forget(task: asyncio.Task[Any]) -> None:
    """Take the outcome of an attempt that was given up."""
    if not task.cancelled():
        task.exception()


def _nowhere(data: bytes) -> None:
    return None


def _nothing() -> int:
    return 0


def _never() -> bool:
    return False
