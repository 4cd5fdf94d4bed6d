"""Binance SBE: binary frames give what JSON gives, what struct and exact fractions give, and never half a frame."""

from __future__ import annotations

import gzip
import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.counters import FeedCounter
from hft.records import MARKET, MarketFlag, MarketKind
from hft.venues.binance import feed as json_feed
from hft.venues.binance import sbe_feed
from hft.venues.binance.sbe_scan import new_sbe_scanner, scan_sbe
from hft.venues.binance.tables import Found, FrameKind, ScanCount
from hft.venues.book_feed import LAST_ID, SHUTDOWN, SYNCED, WANTS_SYNC
from hft.websocket import Opcode
from shm.jit import JIT_ENABLED
from support import binance_stream as text
from support.binance_frames import Refused, instruments
from support.binance_sbe import best, book, depth, message, trades
from support.naive_sbe import FIELDS, expected

SYMBOLS = ["BTCUSDT", "ETHUSDT"]


class Desk:
    """A feed of two instruments, in one of the two encodings."""

    def __init__(self, feed_module: Any, levels_max: int = 4096) -> None:
        self.module, self.counters = feed_module, np.zeros(len(FeedCounter), np.int64)
        make = feed_module.new_sbe_feed if feed_module is sbe_feed else feed_module.new_feed
        self.feed = make(instruments(rows=2), SYMBOLS, [0, 1], levels_max, 10**12, self.counters)
        self.out = np.zeros(20_000, MARKET)
        self.now_ns = 1000

    def frame(self, payload: bytes) -> np.ndarray:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        opcode = Opcode.TEXT if payload[:1] == b"{" else Opcode.BINARY
        count = int(self.module.on_frame(self.feed, data, 0, len(data), opcode, self.now_ns, self.out))
        records = self.out[:count].copy()
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (count - 1) + [True] * (count > 0)
        return records

    def snapshot(self, body: bytes, row: int = 0) -> np.ndarray:
        data: Any = np.frombuffer(bytearray(body), np.uint8)
        return self.out[: int(self.module.on_snapshot(self.feed, row, data, 0, len(data), self.now_ns, self.out))].copy()


def synced(desk: Desk) -> Desk:
    desk.frame(depth(9, 10) if desk.module is sbe_feed else text.depth(9, 10))
    assert len(desk.snapshot(text.snapshot(10, [("100.00", "1.00000")], [("101.00", "3.00000")]))) > 0
    return desk


def kinds(records: np.ndarray) -> list[str]:
    return [MarketKind(kind).name for kind in records["kind"]]


def price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"


def same(one: np.ndarray, other: np.ndarray, where: str) -> None:
    """Equal records; the JSON quote has no time of its own."""
    assert len(one) == len(other), where
    one, other = one.copy(), other.copy()
    for records in (one, other):
        records["exchange_ns"][records["kind"] == MarketKind.QUOTE] = 0
    assert one.tobytes() == other.tobytes(), where


@pytest.mark.parametrize("seed", range(6))
def test_both_encodings_of_the_same_flow_give_the_same_records(seed: int) -> None:
    rng = random.Random(seed)
    desks = (synced(Desk(json_feed)), synced(Desk(sbe_feed)))
    last, number = 10, 0
    for step in range(150):
        roll, symbol = rng.random(), rng.choice(SYMBOLS)
        exponents = (rng.choice((-8, -4, -2)), rng.choice((-8, -5)))
        if roll < 0.5:
            first, last = last + 1, last + rng.choice((1, 3, 3, 2000))
            bids = [(price(rng.randrange(9_000, 10_000)), f"0.{rng.choice((0, rng.randrange(9))):05d}") for _ in range(rng.randrange(4))]
            asks = [(price(rng.randrange(10_100, 11_000)), f"0.{rng.randrange(9):05d}") for _ in range(rng.randrange(4))]
            if roll < 0.02:
                bids = [*bids, ("105.00", "1.00000")]
            frames = (text.depth(first, last, bids, asks, symbol), depth(first, last, bids, asks, symbol, exponents=exponents))
        elif roll < 0.8:
            bid, ask = (price(rng.randrange(9_900, 10_000)), "0.00003"), (price(rng.randrange(10_001, 10_100)), "0.00004")
            frames = (text.quote(last + step, bid, ask, symbol), best(last + step, bid, ask, symbol, exponents=exponents))
        else:
            number += 1
            told = [(number, price(rng.randrange(9_900, 10_100)), "0.50000", True)]
            frames = (text.trade(number, told[0][1], "0.50000", symbol), trades(told, symbol, exponents=exponents))
        if roll < 0.8 and desks[0].feed.state[0, WANTS_SYNC]:
            body = text.snapshot(last, [("100.00", "1.00000")], [("101.00", "3.00000")])
            same(desks[0].snapshot(body), desks[1].snapshot(body), f"seed {seed} step {step}")
        # The comparison with quotes is another rule where quotes are culled; both must be quiet for the books to stay alike.
        for desk in desks:
            desk.feed.state[:, json_feed.QUOTE_NEXT] = desk.feed.state[:, json_feed.QUOTE_HEAD]
        same(desks[0].frame(frames[0]), desks[1].frame(frames[1]), f"seed {seed} step {step}: {frames[0]!r}")
    assert desks[0].counters.tolist() == desks[1].counters.tolist() and desks[0].counters[FeedCounter.RESYNCS] > 1


@pytest.mark.parametrize("symbol", ["btcusdt", "ethusdt"])
def test_recorded_flow_in_binary_gives_the_records_of_its_json(symbol: str, recorded: Callable[[str], Path]) -> None:
    one, other = Desk(json_feed), Desk(sbe_feed)
    lines = 6000 if JIT_ENABLED else 400
    with gzip.open(recorded(f"binance_spot/{symbol}_20240808.gz")) as capture:
        for line, _ in zip(capture, range(lines), strict=False):
            frame = line.split(b" ", 1)[1].strip()
            document = json.loads(frame)
            event = document.get("data", document)
            where = f"{symbol}: {frame[:200]!r}"
            if "lastUpdateId" in event:
                row = SYMBOLS.index(symbol.upper())
                same(one.snapshot(frame, row), other.snapshot(frame, row), where)
            else:
                same(one.frame(frame), other.frame(encoded(event)), where)
    row = SYMBOLS.index(symbol.upper())
    assert other.feed.state[row, SYNCED] == 1 and other.feed.state[row, LAST_ID] == one.feed.state[row, LAST_ID]
    assert other.counters[FeedCounter.QUOTE_MISMATCHES] == 0


def encoded(event: dict[str, Any]) -> bytes:
    """The binary form of a JSON event."""
    kind = event.get("e", "bookTicker")
    if kind == "depthUpdate":
        return depth(event["U"], event["u"], event["b"], event["a"], event["s"], time_us=event["E"] * 1000)
    if kind == "trade":
        return trades([(event["t"], event["p"], event["q"], event["m"])], event["s"], time_us=event["T"] * 1000)
    return best(event["u"], (event["b"], event["B"]), (event["a"], event["A"]), event["s"])


def test_longer_blocks_and_appended_texts_of_a_later_schema_are_stepped_over() -> None:
    desk = synced(Desk(sbe_feed))
    assert kinds(desk.frame(depth(11, 11, [("99.00", "1.0")], longer=7))) == ["LEVEL", "TOP"]
    assert kinds(desk.frame(best(12, ("99.00", "1.0"), ("101.00", "3.0"), longer=3))) == ["QUOTE"]
    assert kinds(desk.frame(trades([(1, "99.00", "1.0", True)], longer=5))) == ["TRADE"]
    assert kinds(desk.frame(depth(12, 12, version=1) + b"\x03new")) == ["TOP"]
    assert len(desk.frame(depth(13, 13) + b"\x03new")) == 0 and desk.counters[FeedCounter.MALFORMED] == 1, "version 0 has nothing there"


def test_group_whose_blocks_are_too_short_is_malformed() -> None:
    desk = synced(Desk(sbe_feed))
    symbol = b"\x07BTCUSDT"
    short = depth(11, 11)[:8] + depth(11, 11)[8:34] + struct.pack("<HH", 8, 2) + bytes(16) + struct.pack("<HH", 16, 0) + symbol
    assert len(desk.frame(short)) == 0 and desk.counters[FeedCounter.MALFORMED] == 1
    assert len(desk.frame(depth(11, 11)[:34] + struct.pack("<HH", 0, 0) * 2 + symbol)) == 1, "an empty one may say anything"


def test_unknown_template_is_ignored_and_a_snapshot_moves_no_book() -> None:
    desk = synced(Desk(sbe_feed))
    for frame in (message(10_004, b"x" * 30, b"", "BTCUSDT"), message(1, b"", b"", ""), book(50, [("1.00", "1.0")], [("2.00", "1.0")])):
        assert len(desk.frame(frame)) == 0
    assert desk.counters[FeedCounter.IGNORED] == 3 and desk.feed.state[0, LAST_ID] == 10


def test_trades_of_one_frame_are_one_event_without_those_told_before() -> None:
    desk = Desk(sbe_feed)
    assert kinds(desk.frame(trades([(1, "99.00", "1.0", True), (2, "99.00", "2.0", False)]))) == ["TRADE"] * 2
    records = desk.frame(trades([(2, "99.00", "2.0", False), (3, "98.00", "1.0", True), (4, "98.00", "1.0", False)]))
    assert records["venue_id"].tolist() == [3, 4] and desk.counters[FeedCounter.IGNORED] == 1
    assert len(desk.frame(trades([(4, "98.00", "1.0", False)]))) == 0


def test_culled_quotes_are_compared_at_their_own_update_id_only() -> None:
    desk = synced(Desk(sbe_feed))
    wrong = (("99.99", "1.00000"), ("101.00", "3.00000"))
    desk.frame(best(11, *wrong))
    assert kinds(desk.frame(depth(11, 12))) == ["TOP"] and desk.counters[FeedCounter.QUOTE_MISMATCHES] == 0
    desk.frame(best(13, *wrong))
    assert kinds(desk.frame(depth(13, 13))) == ["TOP"] and desk.counters[FeedCounter.QUOTE_MISMATCHES] == 1
    desk.frame(best(14, *wrong))
    assert kinds(desk.frame(depth(14, 14))) == ["INVALID"]


def test_text_frames_bring_control_messages_only() -> None:
    desk = synced(Desk(sbe_feed))
    assert len(desk.frame(b'{"result":null,"id":1}')) == 0 and len(desk.frame(text.depth(11, 11))) == 0
    assert desk.feed.state[0, LAST_ID] == 10 and desk.counters[FeedCounter.IGNORED] == 2
    assert len(desk.frame(b'{"e":"serverShutdown","E":1770123456789}')) == 0 and desk.feed.words[SHUTDOWN] == 1
    assert len(desk.frame(b'{"e":')) == 0 and desk.counters[FeedCounter.MALFORMED] == 1


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 20, 33, 40, 60, -1])
def test_frame_that_ends_early_is_malformed_as_a_whole(cut: int) -> None:
    desk = synced(Desk(sbe_feed))
    frame = depth(11, 11, [("99.00", "1.0")], [("102.00", "1.0")])[:cut]
    assert len(desk.frame(frame or b"\x00")) == 0 and desk.counters[FeedCounter.MALFORMED] == 1
    assert desk.feed.state[0, SYNCED] == 1, "whose book it was cannot be read"


@pytest.mark.parametrize(
    "frame",
    [
        depth(12, 11),
        depth(11, 11, [("99.001", "1.0")], exponents=(-3, -8)),
        depth(11, 11, [("-1.00", "1.0")]),
        depth(11, 11, [("1.00", "-1.0")]),
        depth(11, 11, [("0.00", "1.0")]),
        depth(11, 11, time_us=-1),
        depth(11, 11, exponents=(-30, -8)),
        depth(11, 11, exponents=(-8, 17)),
        depth(11, 11, [(str(10**16), "1.0")], exponents=(0, -8)),
    ],
)
def test_malformed_diff_makes_its_book_invalid(frame: bytes) -> None:
    assert kinds(synced(Desk(sbe_feed)).frame(frame)) in (["INVALID"], ["INVALID"])


def test_diff_with_more_levels_than_there_is_room_for_makes_its_book_invalid() -> None:
    desk = synced(Desk(sbe_feed))
    desk.out = desk.out[:3]
    assert kinds(desk.frame(depth(11, 11, [("99.00", "1.0")] * 4))) == ["INVALID"]


@pytest.mark.parametrize("exponents", [(-2, -8), (-2, -5), (0, 0), (-8, -8), (-4, -5), (16, 10), (17, 11)])
def test_mantissas_at_their_bounds_are_read_or_refused_alike(exponents: tuple[int, int]) -> None:
    table = instruments(rows=2)
    scanner, out = new_sbe_scanner(table, SYMBOLS), np.zeros(4, MARKET)
    ends = {0, 1, 2**62 // 10**18, 2**62 - 1, 2**62, 2**62 + 1, 2**63 - 1, 10**6, 10**8}
    mantissas = sorted({sign * end + step for end in ends for step in (-1, 0, 1) for sign in (-1, 1)} | {-(2**63), -(2**63) + 1})
    root = struct.pack("<qqqbb", 1_800_000_000_000_000, 11, 11, *exponents)
    taken = 0
    for price_mantissa in (m for m in mantissas if -(2**63) <= m < 2**63):
        for size in (m for m in mantissas if -(2**63) <= m < 2**63):
            level = struct.pack("<HHqqHH", 16, 1, price_mantissa, size, 16, 0)
            frame = message(10_003, root, level, "BTCUSDT")
            data: Any = np.frombuffer(bytearray(frame), np.uint8)
            kind = FrameKind(scan_sbe(scanner, data, 0, len(data), 7, out))
            try:
                wanted = expected(frame, table, SYMBOLS)
            except Refused:
                assert kind == FrameKind.MALFORMED, (exponents, price_mantissa, size)
                continue
            assert kind == FrameKind.DEPTH and wanted[0] == "DEPTH", (exponents, price_mantissa, size)
            assert [tuple(int(r[name]) for name in FIELDS) for r in out[:1]] == wanted[3], (exponents, price_mantissa, size)
            taken += 1
    assert (taken > 0) == (exponents[0] <= 16 and exponents[1] <= 10)


def test_scanner_reads_what_the_naive_reader_reads_through_every_mutation() -> None:
    rng = random.Random(5)
    table = instruments(rows=2)
    table["tick_units"], table["lot_units"] = (1, 5), (1, 10)
    scanner = new_sbe_scanner(table, SYMBOLS)
    bids, asks = [("61837.65", "3.78820"), ("61820.95", "0.00000")], [("61837.70", "1.54698")]
    real = [
        depth(50, 60, bids, asks),
        depth(5, 6, bids, asks, "ETHUSDT", exponents=(-4, -6), longer=3),
        book(9, bids, asks),
        best(7, bids[0], asks[0], "ETHUSDT"),
        best(7, ("0", "0"), asks[0]),
        trades([(1, "99.05", "1.0", True), (2, "99.05", "0.12345", False)], "ETHUSDT"),
        trades([(9, "99.00", "1.0", False)], longer=2),
    ]
    buffer, out, outcomes = np.zeros(2048, np.uint8), np.zeros(64, MARKET), dict[str, int]()
    for n in range(20_000 if JIT_ENABLED else 1_500):
        frame = bytearray(rng.choice(real))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            at = rng.randrange(len(frame))
            choice = rng.randrange(5)
            if choice == 0:
                frame[at] ^= 1 << rng.randrange(8)
            elif choice == 1:
                frame[at] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xF8, 0xFF))
            elif choice == 2:
                del frame[at : at + rng.choice((1, 2, 8))]
            elif choice == 3:
                frame[at:at] = bytes(rng.choice((1, 2, 8)))
            else:
                del frame[at:]
            frame = frame or bytearray(b"\0")
        start = len(buffer) - len(frame)
        buffer[:start] = 1
        buffer[start:] = np.frombuffer(bytes(frame), np.uint8)
        kind = FrameKind(scan_sbe(scanner, buffer, start, len(buffer), 7, out))
        where = f"mutant {n}: {bytes(frame)!r}"
        outcomes[kind.name] = outcomes.get(kind.name, 0) + 1
        if kind == FrameKind.NO_ROOM:
            continue
        try:
            name, first, last, records = expected(bytes(frame), table, SYMBOLS)
        except Refused:
            assert kind == FrameKind.MALFORMED, where
            continue
        assert kind.name == name, where
        found = [tuple(int(record[field]) for field in FIELDS) for record in out[: scanner.found[Found.RECORDS]]]
        assert found == records, where
        if name in ("DEPTH", "SNAPSHOT"):
            assert (scanner.found[Found.FIRST_ID], scanner.found[Found.LAST_ID]) == (first, last), where
    assert all(outcomes.get(name, 0) > 20 for name in ("DEPTH", "SNAPSHOT", "QUOTE", "TRADE", "MALFORMED", "OTHER", "UNKNOWN_SYMBOL"))
    assert scanner.counts[ScanCount.OFF_LOT] > 0
