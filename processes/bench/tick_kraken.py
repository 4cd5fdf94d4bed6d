"""Tick Kraken: `book` updates of the v2 WebSocket in, each with the checksum that the book then has; `add_order` out."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from hft.orders import order_id
from hft.venues.feeds import on_frame
from hft.venues.kraken.depth import CHECKSUM_LEVELS
from hft.venues.kraken.limits import MAXIMUM
from hft.venues.kraken.orders import set_token
from hft.websocket import Opcode
from processes.bench.one_market import OneMarket
from processes.bench.tick_frames import SPREAD_TICKS, Level, Update, server_frame, size_text, walk, whole_book
from processes.bench.tick_path import NO_ID, NO_LIMIT, VenuePath

#: Levels of each side that the subscription shows.
_DEPTH = 100
_BID_TICKS = 618_376
#: Checksums from here on have the same number of digits.
_CHECKSUM_LEAST = 1_000_000_000
#: As long as the venue's are.
_TOKEN = "WW91ciBhdXRoZW50aWNhdGlvbiB0b2tlbiBnb2VzIGhlcmUu"
_REFUSAL = (
    b'{"error":"EOrder:Insufficient funds","method":"add_order","req_id":'
    + len(str(order_id(1, 0, 1))) * NO_ID
    + b',"success":false,"time_in":"2026-08-24T22:21:56.724795Z","time_out":"2026-08-24T22:21:56.724853Z"}'
)


def _snapshot() -> bytes:
    bids, asks = whole_book(_BID_TICKS, _DEPTH)
    return _message("snapshot", bids, asks, _checksum(_BID_TICKS, dict(bids), dict(asks)), 0)


def _give_snapshot(feed: Any, text: NDArray[Any], now_ns: int, out: NDArray[Any]) -> int:
    return int(on_frame(feed, text, 0, len(text), int(Opcode.TEXT), now_ns, out))


def _updates(count: int) -> Iterator[bytes]:
    first_bids, first_asks = whole_book(_BID_TICKS, _DEPTH)
    bids, asks = dict(first_bids), dict(first_asks)
    for update in walk(count, _BID_TICKS, _DEPTH):
        bids.update(update.bids)
        asks.update(update.asks)
        checksum = _long_checksum(update, bids, asks)
        yield _message("update", update.bids, update.asks, checksum, 1 + update.number)


def _long_checksum(update: Update, bids: dict[int, str], asks: dict[int, str]) -> int:
    """The checksum after an update, of which the best bid's size is changed until it has all its digits."""
    place = next(k for k, (ticks, _) in enumerate(update.bids) if ticks == update.best_bid)
    for attempt in range(256):
        size = size_text(update.number, attempt)
        update.bids[place] = (update.best_bid, size)
        bids[update.best_bid] = size
        checksum = _checksum(update.best_bid, bids, asks)
        if checksum >= _CHECKSUM_LEAST:
            return checksum
    raise ValueError(f"update {update.number} has no checksum of ten digits")


def _checksum(bid: int, bids: dict[int, str], asks: dict[int, str]) -> int:
    """Over the ten best asks, then the ten best bids, each price and size without its point and leading zeros."""
    ask = bid + SPREAD_TICKS
    parts = [f"{ask + k}{asks[ask + k].replace('.', '').lstrip('0')}" for k in range(CHECKSUM_LEVELS)]
    parts += [f"{bid - k}{bids[bid - k].replace('.', '').lstrip('0')}" for k in range(CHECKSUM_LEVELS)]
    return zlib.crc32("".join(parts).encode())


def _message(kind: str, bids: list[Level], asks: list[Level], checksum: int, microsecond: int) -> bytes:
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"BTC/USD","bids":[{_levels(bids)}],"asks":[{_levels(asks)}],'
        f'"checksum":{checksum},"timestamp":"2026-08-24T22:21:58.{microsecond:06d}Z"}}]}}'
    ).encode()


def _levels(levels: list[Level]) -> str:
    return ",".join(f'{{"price":{ticks // 10}.{ticks % 10},"qty":{size}}}' for ticks, size in levels)


def _admit(codec: Any) -> None:
    codec.limits[:, MAXIMUM] = NO_LIMIT
    set_token(codec, _TOKEN)


KRAKEN = VenuePath(
    venue="kraken",
    market=OneMarket("BTC-USD.KRAKEN", "BTC/USD", "0.1", "0.00000001", "USD"),
    keys="dead_man_s = 0",
    connections=1,
    qty_lots=100_000,
    bid_ticks=_BID_TICKS,
    snapshot=_snapshot,
    give_snapshot=_give_snapshot,
    updates=_updates,
    admit=_admit,
    id_text=lambda request_id: str(request_id).encode(),
    refusal=server_frame(_REFUSAL),
)
