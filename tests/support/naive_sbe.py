"""The naive SBE reader of the market streams: `struct` and exact fractions, and Refused for what must not be used."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from hft.records import MarketFlag, MarketKind
from support.binance_frames import Refused
from support.binance_sbe import BEST, BOOK, DIFF, TRADES

Record = tuple[int, ...]  # kind, flags, instrument, exchange_ns, venue_id, price_ticks, qty_lots, ask_ticks, ask_lots
FIELDS = ("kind", "flags", "instrument", "exchange_ns", "venue_id", "price_ticks", "qty_lots", "ask_ticks", "ask_lots")
_ROOTS = {TRADES: "<qqbb", BEST: "<qqbbqqqq", BOOK: "<qqbb", DIFF: "<qqqbb"}


def expected(frame: bytes, table: NDArray[Any], symbols: list[str]) -> tuple[str, int, int, list[Record]]:
    """(kind, first id, last id, records) of a frame; kind OTHER and UNKNOWN_SYMBOL have none."""
    if len(frame) < 8:
        raise Refused("header")
    block, template, schema, version = struct.unpack_from("<HHHH", frame)
    if schema != 1:
        raise Refused("schema")
    if template not in _ROOTS:
        return "OTHER", 0, 0, []
    form = _ROOTS[template]
    if block < struct.calcsize(form) or 8 + block > len(frame):
        raise Refused("root block")
    root = struct.unpack_from(form, frame, 8)
    at, groups = 8 + block, []
    for name, head in {TRADES: [("<qqqB", "<HI")], BOOK: [("<qq", "<HH")] * 2, DIFF: [("<qq", "<HH")] * 2, BEST: []}[template]:
        blocks, at = _group(frame, at, name, head)
        groups.append(blocks)
    if at >= len(frame) or at + 1 + frame[at] > len(frame) or (version == 0 and at + 1 + frame[at] != len(frame)):
        raise Refused("symbol")
    symbol = frame[at + 1 : at + 1 + frame[at]]
    if symbol not in [name.encode() for name in symbols]:
        return "UNKNOWN_SYMBOL", 0, 0, []
    row = [name.encode() for name in symbols].index(symbol)
    scale = table[row]
    for value in root[:2] if template == TRADES else root[:1]:
        if not 0 <= value < (1 << 62) // 1000:
            raise Refused("time")
    if template == TRADES:
        return _trades(root, groups[0], row, scale)
    if template == BEST:
        return _best(root, row, scale)
    first, last = (root[1], root[2]) if template == DIFF else (root[1], root[1])
    if first < 0 or last < first:
        raise Refused("ids")
    _bounds(root[-2:], scale)
    records = []
    for flags, pairs in ((int(MarketFlag.BID), groups[0]), (0, groups[1])):
        for price, size in pairs:
            ticks, lots = _ticks(price, root[-2], scale), _lots(size, root[-1], scale)
            if ticks <= 0:
                raise Refused("price")
            records.append((int(MarketKind.LEVEL), flags, row, root[0] * 1000, last, ticks, lots, 0, 0))
    return ("DEPTH" if template == DIFF else "SNAPSHOT"), first, last, records


def _group(frame: bytes, at: int, form: str, head: str) -> tuple[list[tuple[int, ...]], int]:
    if at + struct.calcsize(head) > len(frame):
        raise Refused("group")
    block, count = struct.unpack_from(head, frame, at)
    at += struct.calcsize(head)
    if (count and block < struct.calcsize(form)) or at + block * count > len(frame):
        raise Refused("group")
    return [struct.unpack_from(form, frame, at + n * block) for n in range(count)], at + count * block


def _best(root: tuple[int, ...], row: int, scale: Any) -> tuple[str, int, int, list[Record]]:
    time_us, update_id, *exponents, bid, bid_size, ask, ask_size = root
    if update_id < 0:
        raise Refused("id")
    _bounds(exponents, scale)
    sides = [(_ticks(p, exponents[0], scale), _lots(q, exponents[1], scale)) for p, q in ((bid, bid_size), (ask, ask_size))]
    if any((ticks == 0) != (lots == 0) for ticks, lots in sides):
        raise Refused("half a side")
    record = (int(MarketKind.QUOTE), int(MarketFlag.LAST), row, time_us * 1000, update_id, *sides[0], *sides[1])
    return "QUOTE", 0, update_id, [record]


def _trades(root: tuple[int, ...], blocks: list[tuple[int, ...]], row: int, scale: Any) -> tuple[str, int, int, list[Record]]:
    _bounds(root[-2:], scale)
    records = []
    for n, (number, price, size, made) in enumerate(blocks):
        ticks, lots = _ticks(price, root[2], scale), _lots(size, root[3], scale)
        if number < 0 or ticks <= 0 or lots <= 0 or made > 1:
            raise Refused("trade")
        flags = (0 if made else int(MarketFlag.BID)) | (int(MarketFlag.LAST) if n == len(blocks) - 1 else 0)
        records.append((int(MarketKind.TRADE), flags, row, root[1] * 1000, number, ticks, lots, 0, 0))
    if not records:
        raise Refused("no trades")
    return "TRADE", 0, records[-1][4], records


def _bounds(exponents: Any, scale: Any) -> None:
    for exponent, decimals, step in (
        (exponents[0], scale["price_decimals"], scale["tick_units"]),
        (exponents[1], scale["qty_decimals"], scale["lot_units"]),
    ):
        power = int(exponent) + int(decimals)
        if abs(power) > 18 or (power < 0 and int(step) * 10**-power > 1 << 62):
            raise Refused("exponent")


def _ticks(mantissa: int, exponent: int, scale: Any) -> int:
    ticks = _steps(mantissa, exponent, int(scale["price_decimals"]), int(scale["tick_units"]))
    if ticks != int(ticks):
        raise Refused("off tick")
    return int(ticks)


def _lots(mantissa: int, exponent: int, scale: Any) -> int:
    lots = _steps(mantissa, exponent, int(scale["qty_decimals"]), int(scale["lot_units"]))
    return max(int(lots), 1 if lots != int(lots) else 0)


def _steps(mantissa: int, exponent: int, decimals: int, step: int) -> Fraction:
    units = Fraction(mantissa) * Fraction(10) ** (exponent + decimals)
    if mantissa < 0 or mantissa * 10 ** max(0, exponent + decimals) > 1 << 62:
        raise Refused("number")
    return units / step
