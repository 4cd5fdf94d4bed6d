"""Binance stream: messages as the venue writes them, and how they get onto a wire without a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from hft.websocket import Opcode
from processes.transport.picows_kernels import take_whole
from processes.transport.wire import Wire

Level = tuple[str, str]
_EVENT_MS = 1_800_000_000_000


def wrapped(stream: str, body: str) -> bytes:
    return f'{{"stream":"{stream}","data":{body}}}'.encode()


def levels(pairs: Iterable[Level]) -> str:
    return ",".join(f'["{price}","{size}"]' for price, size in pairs)


def depth(first: int, last: int, bids: Iterable[Level] = (), asks: Iterable[Level] = (), symbol: str = "BTCUSDT") -> bytes:
    """A diff of the update ids [first, last]."""
    head = f'{{"e":"depthUpdate","E":{_EVENT_MS},"s":"{symbol}","U":{first},"u":{last}'
    return wrapped(f"{symbol.lower()}@depth@100ms", f'{head},"b":[{levels(bids)}],"a":[{levels(asks)}]}}')


def quote(last: int, bid: Level, ask: Level, symbol: str = "BTCUSDT") -> bytes:
    """A bookTicker at an update id."""
    body = f'{{"u":{last},"s":"{symbol}","b":"{bid[0]}","B":"{bid[1]}","a":"{ask[0]}","A":"{ask[1]}"}}'
    return wrapped(f"{symbol.lower()}@bookTicker", body)


def trade(number: int, price: str, size: str, symbol: str = "BTCUSDT") -> bytes:
    body = f'{{"e":"trade","E":{_EVENT_MS},"s":"{symbol}","t":{number},"p":"{price}","q":"{size}","T":{_EVENT_MS},"m":true,"M":true}}'
    return wrapped(f"{symbol.lower()}@trade", body)


def snapshot(last: int, bids: Iterable[Level], asks: Iterable[Level]) -> bytes:
    """A REST depth reply."""
    return f'{{"lastUpdateId":{last},"bids":[{levels(bids)}],"asks":[{levels(asks)}]}}'.encode()


SHUTDOWN = b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1800000000000}}'


def deliver(wire: Wire, payload: bytes, received_ns: int) -> None:
    """Put a whole message on the wire, the way the picows transport does."""
    landing: Any = np.frombuffer(bytearray(payload), np.uint8)
    waiting = take_whole(wire.data, wire.frames, wire.words, landing, int(Opcode.TEXT), len(landing), received_ns)
    assert waiting > 0
