"""Tick frames: a market that moves, and the file of WebSocket frames that a venue would send of it.

The best bid walks one or two ticks at a time, up on even offsets and down on odd ones, so that no price comes back within
hundreds of updates and no order repeats an earlier one. Every update has so many levels of each side next to the touch, levels
that are gone included; the book is never crossed. The frames of a file have the same length: a venue's texts of prices, sizes and
times keep theirs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

#: Levels of each side in an update, at the least.
SIDE_LEVELS = 10
#: How far the best ask stays above the best bid, in ticks.
SPREAD_TICKS = 2
#: Size of a level that is gone.
GONE = "0.00000000"

_HALF_PERIOD = 256
_SIZES = tuple(f"{1 + n % 8}.{n * 7919 % 100_000:05d}000" for n in range(256))

#: Price in ticks, and the text of the size.
Level = tuple[int, str]


class Update(NamedTuple):
    """What became of the book."""

    number: int  #: from 0
    best_bid: int  #: ticks
    bids: list[Level]
    asks: list[Level]


def best_bids(count: int, first_ticks: int) -> Iterator[int]:
    """The best bid after each of `count` updates, in ticks."""
    for n in range(count):
        step = n % (2 * _HALF_PERIOD)
        up = step < _HALF_PERIOD
        yield first_ticks + (2 * (step + 1) if up else 2 * (2 * _HALF_PERIOD - step) - 1)


def whole_book(bid_ticks: int, levels: int) -> tuple[list[Level], list[Level]]:
    """Bids and asks before the first update, the best first."""
    bids = [(bid_ticks - k, size_text(0, k)) for k in range(levels)]
    return bids, [(bid_ticks + SPREAD_TICKS + k, size_text(1, k)) for k in range(levels)]


def walk(count: int, first_ticks: int, depth: int = 0) -> Iterator[Update]:
    """`count` updates of a market whose best bid was `first_ticks`. A venue that shows `depth` levels of a side tells those that come
    into it at its far end too; 0: none does."""
    before = first_ticks
    for n, bid in enumerate(best_bids(count, first_ticks)):
        ask, ask_before = bid + SPREAD_TICKS, before + SPREAD_TICKS
        bids = [(ticks, GONE) for ticks in range(before, bid, -1)]
        asks = [(ticks, GONE) for ticks in range(ask_before, ask)]
        far_bids = [(ticks, size_text(n, 50)) for ticks in range(before - depth, bid - depth, -1)] if depth else []
        far_asks = [(ticks, size_text(n, 150)) for ticks in range(ask_before + depth, ask + depth)] if depth else []
        bids += [(bid - k, size_text(n, k)) for k in range(SIDE_LEVELS - len(bids) - len(far_bids))]
        asks += [(ask + k, size_text(n, k + 100)) for k in range(SIDE_LEVELS - len(asks) - len(far_asks))]
        yield Update(n, bid, bids + far_bids, asks + far_asks)
        before = bid


def size_text(n: int, k: int) -> str:
    """A size with eight decimals."""
    return _SIZES[(n * 31 + k * 17) & 255]


class Frames(NamedTuple):
    """A file for the peer: for each frame its length (u32) and its bytes."""

    path: Path
    frames: int
    frame_bytes: int  #: of every frame, with its WebSocket header


def server_frame(text: bytes) -> bytes:
    """A text frame as a server sends it, unmasked; of less than 64 KB."""
    head = struct.pack(">BB", 0x81, len(text)) if len(text) < 126 else struct.pack(">BBH", 0x81, 126, len(text))
    return head + text


def write_frames(path: Path, texts: Iterable[bytes]) -> Frames:
    """Write each text as a frame; ValueError if they are not all of one length."""
    lengths, count = set(), 0
    with open(path, "wb") as file:
        for text in texts:
            frame = server_frame(text)
            lengths.add(len(frame))
            count += 1
            file.write(struct.pack("=I", len(frame)) + frame)
    if len(lengths) != 1:
        raise ValueError(f"frames of one length were expected, found {sorted(lengths)}")
    return Frames(path, count, lengths.pop())
