"""Binance capture, SBE: what a survey wants of a binary market-data frame, read in plain Python."""

from __future__ import annotations

import struct
from typing import NamedTuple

from hft.venues.binance.sbe_scan import BEST, BOOK, DIFF, SCHEMA, TRADES

_DECIMALS_MAX = 18
_HEADER = struct.Struct("<HHHH")
_GROUP16, _GROUP32 = struct.Struct("<HH"), struct.Struct("<HI")
#: Template -> where its two exponents are behind the header.
_EXPONENTS_AT = {TRADES: 16, BEST: 16, BOOK: 16, DIFF: 24}
#: Template -> how many groups it has.
_GROUPS = {TRADES: 1, BEST: 0, BOOK: 2, DIFF: 2}


class Told(NamedTuple):
    """What a frame told of its symbol."""

    symbol: str
    price_decimals: int  #: that its prices need
    qty_decimals: int
    first_id: int  #: of a diff; 0 of others
    last_id: int


def read_sbe(frame: bytes) -> Told | None:
    """What a frame tells; None for one of another schema or template, or that is shorter than it says."""
    try:
        return _read(frame)
    except (struct.error, IndexError, UnicodeDecodeError):
        return None


def _read(frame: bytes) -> Told | None:
    block, template, schema, _ = _HEADER.unpack_from(frame)
    if schema != SCHEMA or template not in _EXPONENTS_AT:
        return None
    root = _HEADER.size
    price_exponent, qty_exponent = struct.unpack_from("<bb", frame, root + _EXPONENTS_AT[template])
    pairs: list[tuple[int, int]] = []
    if template == BEST:
        pairs += [struct.unpack_from("<qq", frame, root + 18), struct.unpack_from("<qq", frame, root + 34)]
    at = root + block
    for _ in range(_GROUPS[template]):
        group = _GROUP32 if template == TRADES else _GROUP16
        size, count = group.unpack_from(frame, at)
        at += group.size
        for n in range(count):
            pairs.append(struct.unpack_from("<qq", frame, at + n * size + (8 if template == TRADES else 0)))
        at += size * count
    length = frame[at]
    name = frame[at + 1 : at + 1 + length]
    if not 0 < length <= 64 or len(name) < length:
        return None
    first_id, last_id = struct.unpack_from("<qq", frame, root + 8) if template == DIFF else (0, 0)
    decimals = [
        max((_decimals(pair[k], exponent) for pair in pairs), default=0) for k, exponent in ((0, price_exponent), (1, qty_exponent))
    ]
    return Told(name.decode("utf-8"), decimals[0], decimals[1], first_id, last_id)


def _decimals(mantissa: int, exponent: int) -> int:
    """Digits after the point that `mantissa` * 10 ** `exponent` needs."""
    while exponent < 0 and mantissa % 10 == 0:
        if mantissa == 0:
            return 0
        mantissa //= 10
        exponent += 1
    return min(max(-exponent, 0), _DECIMALS_MAX)
