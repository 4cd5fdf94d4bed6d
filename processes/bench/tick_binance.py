"""Tick Binance: `depthUpdate`s of the combined stream in, `order.place` over the WebSocket API out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from hft.venues.binance.feed import on_snapshot
from hft.venues.binance.limits import LIMIT, WORDS
from processes.bench.one_market import BINANCE_MARKET
from processes.bench.tick_frames import Level, server_frame, walk, whole_book
from processes.bench.tick_path import NO_ID, NO_LIMIT, VenuePath

#: Levels of each side in the snapshot.
_LEVELS = 1000
_BID_TICKS = 6_183_763
_FIRST_ID = 50_093_239_208
_IDS_PER_UPDATE = 17
_EVENT_MS = 1_723_161_255_408
_REFUSAL = (
    b'{"id":"' + 16 * NO_ID + b'","status":400,"error":{"code":-2010,"msg":"Account has insufficient balance for requested action."}}'
)


def _snapshot() -> bytes:
    """The REST depth reply."""
    bids, asks = whole_book(_BID_TICKS, _LEVELS)
    return f'{{"lastUpdateId":{_FIRST_ID - 1},"bids":[{_levels(bids)}],"asks":[{_levels(asks)}]}}'.encode()


def _give_snapshot(feed: Any, text: NDArray[Any], now_ns: int, out: NDArray[Any]) -> int:
    return int(on_snapshot(feed, 0, text, 0, len(text), now_ns, out))


def _updates(count: int) -> Iterator[bytes]:
    for n, _, bids, asks in walk(count, _BID_TICKS):
        first_id = _FIRST_ID + _IDS_PER_UPDATE * n
        yield (
            f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{_EVENT_MS + n},"s":"BTCUSDT",'
            f'"U":{first_id},"u":{first_id + _IDS_PER_UPDATE - 1},"b":[{_levels(bids)}],"a":[{_levels(asks)}]}}}}'
        ).encode()


def _levels(levels: list[Level]) -> str:
    return ",".join(f'["{ticks // 100}.{ticks % 100:02d}000000","{size}"]' for ticks, size in levels)


def _admit(codec: Any) -> None:
    codec.limits[:WORDS, LIMIT] = NO_LIMIT


BINANCE = VenuePath(
    venue="binance",
    market=BINANCE_MARKET,
    keys="",
    connections=1,
    qty_lots=100,
    bid_ticks=_BID_TICKS,
    snapshot=_snapshot,
    give_snapshot=_give_snapshot,
    updates=_updates,
    admit=_admit,
    id_text=lambda order_id: f"{order_id:016x}".encode(),
    refusal=server_frame(_REFUSAL),
)
