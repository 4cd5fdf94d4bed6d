"""Tick frames: writes a moving market as the WebSocket frames that a venue would send.

The best bid walks one or two ticks at a time, up on even offsets and down on odd ones, so that no price comes back within
hundreds of updates and no order repeats an earlier one. Every update is a combined-stream `depthUpdate` of ten bids and ten
asks next to the touch, levels that are gone included; the book is never crossed. All frames have the same length.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

#: Levels of each side in an update.
SIDE_LEVELS = 10
#: Levels of each side in the snapshot that everything begins with.
SNAPSHOT_LEVELS = 1000
#: Best bid before the first update, in ticks of 0.01, and how far above it the best ask stays.
BID_TICKS, SPREAD_TICKS = 6_183_763, 2

_HALF_PERIOD = 256
_FIRST_ID = 50_093_239_208
_IDS_PER_UPDATE = 17
_EVENT_MS = 1_723_161_255_408
_GONE = "0.00000000"
_SIZES = tuple(f"{1 + n % 8}.{n * 7919 % 100_000:05d}000" for n in range(256))


def best_bids(count: int) -> Iterator[int]:
    """The best bid after each of `count` updates, in ticks."""
    for n in range(count):
        step = n % (2 * _HALF_PERIOD)
        up = step < _HALF_PERIOD
        yield BID_TICKS + (2 * (step + 1) if up else 2 * (2 * _HALF_PERIOD - step) - 1)


def snapshot() -> bytes:
    """The REST depth reply before the first update."""
    bids = ",".join(_level(BID_TICKS - k, _size(0, k)) for k in range(SNAPSHOT_LEVELS))
    asks = ",".join(_level(BID_TICKS + SPREAD_TICKS + k, _size(1, k)) for k in range(SNAPSHOT_LEVELS))
    return f'{{"lastUpdateId":{_FIRST_ID - 1},"bids":[{bids}],"asks":[{asks}]}}'.encode()


def updates(count: int) -> Iterator[bytes]:
    """The text of `count` updates."""
    before = BID_TICKS
    for n, bid in enumerate(best_bids(count)):
        bids = [(ticks, _GONE) for ticks in range(before, bid, -1)]
        asks = [(ticks, _GONE) for ticks in range(before + SPREAD_TICKS, bid + SPREAD_TICKS)]
        bids += [(bid - k, _size(n, k)) for k in range(SIDE_LEVELS - len(bids))]
        asks += [(bid + SPREAD_TICKS + k, _size(n, k + 100)) for k in range(SIDE_LEVELS - len(asks))]
        before = bid
        first_id = _FIRST_ID + _IDS_PER_UPDATE * n
        yield (
            f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{_EVENT_MS + n},"s":"BTCUSDT",'
            f'"U":{first_id},"u":{first_id + _IDS_PER_UPDATE - 1},"b":[{_levels(bids)}],"a":[{_levels(asks)}]}}}}'
        ).encode()


class Frames(NamedTuple):
    """A file for the peer: for each frame its length (u32) and its bytes."""

    path: Path
    frames: int
    frame_bytes: int  #: of every frame, with its WebSocket header


def write_frames(path: Path, count: int) -> Frames:
    """Write `count` updates as unmasked text frames; ValueError if they are not all of one length."""
    lengths = set()
    with open(path, "wb") as file:
        for text in updates(count):
            frame = struct.pack(">BBH", 0x81, 126, len(text)) + text
            lengths.add(len(frame))
            file.write(struct.pack("=I", len(frame)) + frame)
    if len(lengths) != 1:
        raise ValueError(f"frames of one length were expected, found {sorted(lengths)}")
    return Frames(path, count, lengths.pop())


def _size(n: int, k: int) -> str:
    return _SIZES[(n * 31 + k * 17) & 255]


def _levels(levels: list[tuple[int, str]]) -> str:
    return ",".join(_level(ticks, size) for ticks, size in levels)


def _level(ticks: int, size: str) -> str:
    return f'["{ticks // 100}.{ticks % 100:02d}000000","{size}"]'
