"""Binance SBE: an encoder of the market streams, written from their schema (id 1, version 0), and numbers as it writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from decimal import Decimal

Level = tuple[str, str]

TRADES, BEST, BOOK, DIFF = 10_000, 10_001, 10_002, 10_003


def mantissa(text: str, exponent: int) -> int:
    """The decimal `text` in 10**exponent, exactly."""
    value = Decimal(text).scaleb(-exponent)
    assert value == int(value), f"{text} does not fit the exponent {exponent}"
    return int(value)


def message(template: int, root: bytes, rest: bytes, symbol: str, *, schema: int = 1, version: int = 0, longer: int = 0) -> bytes:
    """A whole message; `longer` bytes are appended to its root block, as a newer schema would."""
    header = struct.pack("<HHHH", len(root) + longer, template, schema, version)
    return header + root + b"\xee" * longer + rest + bytes([len(symbol.encode())]) + symbol.encode()


def group(blocks: Sequence[bytes], wide: bool = False, longer: int = 0) -> bytes:
    size = len(blocks[0]) if blocks else 16
    return struct.pack("<HI" if wide else "<HH", size + longer, len(blocks)) + b"".join(block + b"\xdd" * longer for block in blocks)


def levels(pairs: Iterable[Level], exponents: tuple[int, int], longer: int = 0) -> bytes:
    return group([struct.pack("<qq", mantissa(p, exponents[0]), mantissa(q, exponents[1])) for p, q in pairs], longer=longer)


def depth(
    first: int,
    last: int,
    bids: Iterable[Level] = (),
    asks: Iterable[Level] = (),
    symbol: str = "BTCUSDT",
    *,
    time_us: int = 1_800_000_000_000_000,
    exponents: tuple[int, int] = (-8, -8),
    longer: int = 0,
    version: int = 0,
) -> bytes:
    """A diff of the update ids [first, last]."""
    root = struct.pack("<qqqbb", time_us, first, last, *exponents)
    rest = levels(bids, exponents, longer) + levels(asks, exponents, longer)
    return message(DIFF, root, rest, symbol, longer=longer, version=version)


def book(
    last: int,
    bids: Iterable[Level] = (),
    asks: Iterable[Level] = (),
    symbol: str = "BTCUSDT",
    *,
    time_us: int = 1_800_000_000_000_000,
    exponents: tuple[int, int] = (-8, -8),
) -> bytes:
    """A snapshot of the best levels."""
    root = struct.pack("<qqbb", time_us, last, *exponents)
    return message(BOOK, root, levels(bids, exponents) + levels(asks, exponents), symbol)


def best(
    last: int,
    bid: Level,
    ask: Level,
    symbol: str = "BTCUSDT",
    *,
    time_us: int = 1_800_000_000_000_000,
    exponents: tuple[int, int] = (-8, -8),
    longer: int = 0,
) -> bytes:
    numbers = [mantissa(text, exponents[i]) for pair in (bid, ask) for i, text in enumerate(pair)]
    return message(BEST, struct.pack("<qqbbqqqq", time_us, last, *exponents, *numbers), b"", symbol, longer=longer)


def trades(
    told: Sequence[tuple[int, str, str, bool]],
    symbol: str = "BTCUSDT",
    *,
    time_us: int = 1_800_000_000_000_000,
    exponents: tuple[int, int] = (-8, -8),
    longer: int = 0,
) -> bytes:
    """Trades of one moment: (id, price, size, whether the buyer was the maker)."""
    blocks = [struct.pack("<qqqB", n, mantissa(p, exponents[0]), mantissa(q, exponents[1]), made) for n, p, q, made in told]
    return message(
        TRADES, struct.pack("<qqbb", time_us, time_us, *exponents), group(blocks, wide=True, longer=longer), symbol, longer=longer
    )
