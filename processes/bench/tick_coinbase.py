"""Tick Coinbase: `l2update`s in, signed `POST /orders` over a kept-alive HTTP connection out.

The connection tells which order an answer is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from hft.venues.coinbase.limits import AT_ONCE, TOKENS
from hft.venues.feeds import on_frame
from hft.websocket import Opcode
from processes.bench.one_market import OneMarket
from processes.bench.tick_frames import Level, walk, whole_book
from processes.bench.tick_path import NO_LIMIT, VenuePath

#: Levels of each side in the snapshot.
_LEVELS = 1000
_BID_TICKS = 6_183_763
#: As many as a config has by default for orders. Nearly every order finds the first one free; not so when the engine's cold work has
#: kept it from reading the last answer.
_CONNECTIONS = 4
_BODY = b'{"message":"Insufficient funds"}'
_REFUSAL = (
    b"HTTP/1.1 400 Bad Request\r\nDate: Mon, 24 Aug 2026 22:21:57 GMT\r\nContent-Type: application/json; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: keep-alive\r\nCF-Cache-Status: DYNAMIC\r\nServer: cloudflare\r\n\r\n%b" % (len(_BODY), _BODY)
)


def _snapshot() -> bytes:
    bids, asks = whole_book(_BID_TICKS, _LEVELS)
    sides = [",".join(f'["{_price(ticks)}","{size}"]' for ticks, size in side) for side in (bids, asks)]
    return f'{{"type":"snapshot","product_id":"BTC-USD","bids":[{sides[0]}],"asks":[{sides[1]}]}}'.encode()


def _give_snapshot(feed: Any, text: NDArray[Any], now_ns: int, out: NDArray[Any]) -> int:
    return int(on_frame(feed, text, 0, len(text), int(Opcode.TEXT), now_ns, out))


def _updates(count: int) -> Iterator[bytes]:
    for n, _, bids, asks in walk(count, _BID_TICKS):
        changes = _changes("buy", bids) + _changes("sell", asks)
        yield (
            f'{{"type":"l2update","product_id":"BTC-USD","changes":[{",".join(changes)}],"time":"2026-08-24T22:21:57.{n:06d}Z"}}'
        ).encode()


def _changes(side: str, levels: list[Level]) -> list[str]:
    return [f'["{side}","{_price(ticks)}","{size}"]' for ticks, size in levels]


def _price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"


def _admit(codec: Any) -> None:
    codec.limits[AT_ONCE] = codec.limits[TOKENS] = NO_LIMIT


COINBASE = VenuePath(
    venue="coinbase",
    market=OneMarket("BTC-USD.COINBASE", "BTC-USD", "0.01", "0.00000001", "USD"),
    keys="",
    connections=_CONNECTIONS,
    qty_lots=100_000,
    bid_ticks=_BID_TICKS,
    snapshot=_snapshot,
    give_snapshot=_give_snapshot,
    updates=_updates,
    admit=_admit,
    id_text=lambda _: b"",
    refusal=_REFUSAL,
)
