"""Server end: a venue's end of one connection: HTTP requests, or a WebSocket once it was asked for, between bytes and the simulator."""

from __future__ import annotations

import base64
import hashlib
import select
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

from hft.sim.venue import Ending, Opcode, RefusedError, Response, VenueSession, frame_bytes

if TYPE_CHECKING:
    from processes.simulate.network import Network, Place

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Request(NamedTuple):
    """An HTTP request."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Frame(NamedTuple):
    """A whole WebSocket message."""

    opcode: int
    payload: bytes


class ServerEnd:
    """One connection."""

    def __init__(self, network: Network, place: Place, theirs: socket.socket) -> None:
        self.network, self.place, self.socket = network, place, theirs
        self.number = theirs.fileno()
        network.written.register(theirs, select.POLLIN)
        self.session: Any = None
        self.open = True  #: whether the engine's end can still hear
        self.listening = True  #: whether what is on its way to the venue still arrives
        self._http = h11.Connection(h11.SERVER)
        self._asked: h11.Request | None = None
        self._body = b""
        self._upgraded = False
        self._bytes = b""
        self._up_ns = self._down_ns = 0
        self.unsent = b""  #: what the socket has not taken yet

    @property
    def now_ns(self) -> int:
        """Virtual time."""
        return self.network.clock.now_ns

    def hear(self) -> int:
        """Take what the engine has written; it arrives later. How many messages."""
        if not self.open:
            return 0
        self._send()
        try:
            data = self.socket.recv(1 << 20)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""
        if not data:
            self._engine_left()
            return 1
        messages = self._frames(data) if self._upgraded else self._requests(data)
        for message in messages:
            self.network.heard(self.place, self, message)
            self._later(message)
        return len(messages)

    def speak(self) -> int:
        """Take what the venue says; it arrives later. How many frames."""
        session: VenueSession | None = self.session
        if session is None or self.now_ns < session.stalled_until_ns:
            return 0
        if session.close is not None and session.close.code == 0:
            self.cut(arrives=False)
            return 1
        count = len(session.outbox)
        if count:
            self.say(b"".join([frame_bytes(opcode, payload) for opcode, payload in session.outbox]))
            session.outbox.clear()
        if session.close is not None:
            self.say(frame_bytes(Opcode.CLOSE, session.close.code.to_bytes(2, "big")))
            self._down(self._hang_up)
            self._forget()
        return count

    def say(self, data: bytes) -> None:
        """Bytes for the engine."""
        self._down(lambda: self._send(data))

    def cut(self, arrives: bool) -> None:
        """The connection breaks; `arrives` is whether the venue still gets what is on its way."""
        self.listening = arrives
        self.network.at(self.network.arrival_ns(self.place, self._up_ns), self._forget)
        self._hang_up()

    def _hang_up(self) -> None:
        if self.open:
            self.network.written.unregister(self.socket)
        self.open = False
        self.socket.close()
        if self.session is None and self in self.place.ends:
            self.place.ends.remove(self)

    def _engine_left(self) -> None:
        self._hang_up()
        self._up_ns = self.network.arrival_ns(self.place, self._up_ns)
        self.network.at(self._up_ns, self._forget)

    def _forget(self) -> None:
        self.listening = False
        if self.session is not None:
            self.place.venue.closed(self.session)
            self.session = None
        if not self.open and self in self.place.ends:
            self.place.ends.remove(self)

    def _later(self, message: Request | Frame) -> None:
        self._up_ns = self.network.arrival_ns(self.place, self._up_ns)
        self.network.at(self._up_ns, lambda: self._arrive(message))

    def _down(self, action: Callable[[], None]) -> None:
        self._down_ns = self.network.arrival_ns(self.place, self._down_ns)
        self.network.at(self._down_ns, action)

    def _arrive(self, message: Request | Frame) -> None:
        if not self.listening:
            return
        if isinstance(message, Request):
            if "upgrade" in message.headers:
                self._upgrade(message)
                return
            self._answer(self.place.venue.request(*message, self.now_ns))
        elif self.session is not None:
            if self.now_ns < self.session.stalled_until_ns:
                self.network.at(self.session.stalled_until_ns, lambda: self._arrive(message))
            elif message.opcode == Opcode.CLOSE:
                self.say(frame_bytes(Opcode.CLOSE, message.payload[:2]))
                self._down(self._hang_up)
                self._forget()
            else:
                self.place.venue.receive(self.session, message.opcode, message.payload, self.now_ns)

    def _answer(self, response: Response) -> None:
        if response.ending is Ending.DROPPED:
            self.cut(arrives=False)
        elif response.ending is Ending.SENT:
            self.network.at(self.now_ns + response.delay_ns, lambda: self._say_answer(response))

    def _say_answer(self, response: Response) -> None:
        if not self.open or self._http.our_state is not h11.SEND_RESPONSE:
            return
        headers = [*response.headers, ("Content-Length", str(len(response.body)))]
        out = self._http.send(h11.Response(status_code=response.status, headers=headers))
        out += self._http.send(h11.Data(data=response.body)) + self._http.send(h11.EndOfMessage())
        self.say(out)
        if self._http.our_state is h11.MUST_CLOSE:
            self._down(self._hang_up)
        else:
            self._http.start_next_cycle()

    def _upgrade(self, request: Request) -> None:
        venue = self.place.venue
        try:
            target = venue.admit(request.target, request.headers, self.now_ns)
        except RefusedError as error:
            self._answer(Response(error.status, (), str(error).encode()))
            return
        accept = base64.b64encode(hashlib.sha1(request.headers["sec-websocket-key"].encode() + _GUID).digest()).decode()
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        self.say(head.encode())
        self.session = venue.open(target, self.now_ns)

    def _requests(self, data: bytes) -> list[Request | Frame]:
        found: list[Request | Frame] = []
        self._http.receive_data(data)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._asked, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self._asked is not None
                headers = {bytes(name).decode(): bytes(value).decode() for name, value in self._asked.headers}
                found.append(Request(self._asked.method.decode(), self._asked.target.decode(), headers, self._body))
                self._upgraded = "upgrade" in headers
            else:
                return found

    def _frames(self, data: bytes) -> list[Request | Frame]:
        """Masked frames, whole ones; the engine never fragments."""
        found: list[Request | Frame] = []
        self._bytes += data
        while len(self._bytes) >= 6:
            length, at = self._bytes[1] & 0x7F, 2
            if length >= 126:
                at += 2 if length == 126 else 8
                length = int.from_bytes(self._bytes[2:at], "big")
            if len(self._bytes) < at + 4 + length:
                break
            key, body = self._bytes[at : at + 4], self._bytes[at + 4 : at + 4 + length]
            mask = (key * (length // 4 + 1))[:length]
            payload = (int.from_bytes(body, "big") ^ int.from_bytes(mask, "big")).to_bytes(length, "big")
            found.append(Frame(self._bytes[0] & 0x0F, payload))
            self._bytes = self._bytes[at + 4 + length :]
        return found

    def _send(self, data: bytes = b"") -> None:
        self.unsent += data
        if self.open and self.unsent:
            try:
                self.unsent = self.unsent[self.socket.send(self.unsent) :]
            except BlockingIOError:
                return
            except OSError:
                self._engine_left()
