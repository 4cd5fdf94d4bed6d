"""Orders reference: what the simulated Binance takes from a client that does nothing but write prepared requests and count replies."""

from __future__ import annotations

import cProfile
import json
import socket
import time
from collections.abc import Iterator
from types import CodeType
from urllib.parse import urlsplit

from hft.sim.binance.venue import BinanceVenue
from hft.sim.venue import Opcode
from hft.venues.binance.signing import Ed25519Signer
from processes.simulated_keys import simulated_credentials
from processes.venue_sim import Options, make_venue

_PATH = "/ws-api/v3"
#: What every reply to an order has, and no event of the private stream.
_REPLY = b'"status":200,'
#: Requests prepared, sent in a circle: an order that has ended leaves its client id free.
_PREPARED = 256
_TOP_FUNCTIONS = 12
_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 30.0


def session_requests() -> list[bytes]:
    """Log on as the simulator's customer, and subscribe to its private stream."""
    credentials = simulated_credentials("binance")
    stamp = time.time_ns() // 1_000_000
    signature = Ed25519Signer(credentials.secret).sign(f"apiKey={credentials.key}&timestamp={stamp}".encode())
    params = {"apiKey": credentials.key, "timestamp": stamp, "signature": signature}
    requests = [{"id": "1", "method": "session.logon", "params": params}, {"id": "2", "method": "userDataStream.subscribe"}]
    return [json.dumps(request).encode() for request in requests]


def order_requests(count: int) -> list[bytes]:
    """Orders as the engine words them: bids far from the market, immediate or cancel."""
    stamp = time.time_ns() // 1_000_000
    return [
        (
            f'{{"id":"{n:016x}","method":"order.place","params":{{"newClientOrderId":"{n:016x}","newOrderRespType":"ACK",'
            f'"price":"50000.00","quantity":"0.00100","recvWindow":60000,"selfTradePreventionMode":"EXPIRE_MAKER","side":"BUY",'
            f'"symbol":"BTCUSDT","timeInForce":"IOC","timestamp":{stamp},"type":"LIMIT"}}}}'
        ).encode()
        for n in range(1, count + 1)
    ]


def _frame(payload: bytes) -> bytes:
    """A client's frame whose mask changes nothing."""
    head = bytes((0x81, 0x80 | len(payload))) if len(payload) < 126 else bytes((0x81, 0xFE)) + len(payload).to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class BareClient:
    """A connection to the WebSocket API that is logged on."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 80), _TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tail = b""
        upgrade = f"GET {_PATH} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        self.socket.sendall(f"{upgrade}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._receive()
        for request in session_requests():
            self.socket.sendall(_frame(request))
            while not self.replies():
                pass

    def _receive(self) -> bytes:
        data = self.socket.recv(_RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the simulator ended the connection")
        return data

    def replies(self) -> int:
        """Wait for bytes; how many replies ended in them."""
        data = self._tail + self._receive()
        count = data.count(_REPLY)
        last = data.rfind(_REPLY)
        self._tail = data[max(last + len(_REPLY), len(data) - len(_REPLY) + 1) if last >= 0 else -len(_REPLY) + 1 :]
        return count


def rate_of_bare_client(url: str, seconds: float, window_s: float, in_flight: int) -> list[float]:
    """Replies to orders a second, window by window."""
    client = BareClient(url)
    rates = []
    with client.socket:
        for _ in range(max(1, round(seconds / window_s))):
            # Requests anew: the venue refuses old time stamps.
            frames = [_frame(request) for request in order_requests(max(_PREPARED, 2 * in_flight))]
            rates.append(_window(client, frames, window_s, in_flight))
    return rates


def _window(client: BareClient, frames: list[bytes], window_s: float, in_flight: int) -> float:
    twice = frames + frames
    client.socket.sendall(b"".join(frames[:in_flight]))
    began_ns = time.monotonic_ns()
    until_ns = began_ns + int(window_s * 1e9)
    at, replies, left = in_flight, 0, in_flight
    while time.monotonic_ns() < until_ns:
        count = client.replies()
        replies += count
        client.socket.sendall(b"".join(twice[at : at + count]))
        at = (at + count) % len(frames)
    took_s = (time.monotonic_ns() - began_ns) / 1e9
    while left > 0:
        left -= client.replies()
    return replies / took_s


def _venue_calls(count: int) -> Iterator[int]:
    """Give a venue of this process `count` orders; yields between what is prepared and what is to be timed."""
    venue = make_venue("binance", Options(no_limits=True))
    assert isinstance(venue, BinanceVenue)
    session = venue.open(venue.admit(_PATH, {}, time.monotonic_ns()), time.monotonic_ns())
    for request in session_requests():
        venue.receive(session, Opcode.TEXT, request, time.monotonic_ns())
    requests = order_requests(_PREPARED)
    session.outbox.clear()
    yield 0
    sent = 0
    for n in range(count):
        venue.receive(session, Opcode.TEXT, requests[n % _PREPARED], time.monotonic_ns())
        sent += len(session.outbox)
        session.outbox.clear()
    yield sent


def rate_of_venue(count: int) -> int:
    """Orders a second that the venue takes when it is called, with no socket."""
    calls = _venue_calls(count)
    next(calls)
    began_ns = time.monotonic_ns()
    next(calls)
    return round(count / ((time.monotonic_ns() - began_ns) / 1e9))


def profile_venue(count: int) -> dict[str, float]:
    """The functions that most of the venue's time goes to, by their share of it: own time, callees apart."""
    calls = _venue_calls(count)
    next(calls)
    profile = cProfile.Profile()
    profile.runcall(next, calls)
    entries = profile.getstats()
    total = sum(entry.inlinetime for entry in entries)
    rows = sorted(entries, key=lambda entry: -entry.inlinetime)[:_TOP_FUNCTIONS]
    return {_name(entry.code): round(entry.inlinetime / total, 3) for entry in rows}


def _name(code: CodeType | str) -> str:
    """File and name of a function, or the name of one that is not written in Python."""
    return code if isinstance(code, str) else f"{code.co_filename.rpartition('/')[2]}:{code.co_name}"
