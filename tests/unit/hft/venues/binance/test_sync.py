"""Two connections of one feed: the second takes over before the first ends, and nobody who listens can tell."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.counters import FeedCounter
from hft.records import MARKET, InvalidReason, MarketFlag, MarketKind
from hft.venues.binance.feed import BinanceFeed, new_feed, on_disconnect, on_frame, on_snapshot, on_timer, overlap_until
from hft.venues.binance.sync import AHEAD_MAX_NS, AHEAD_NS, BUFFERED, OVERLAP_UNTIL_NS
from hft.venues.book_feed import LAST_ID, SYNCED, WANTS_SYNC
from hft.websocket import Opcode
from shm.jit import JIT_ENABLED
from support.binance_frames import instruments
from support.binance_stream import depth, quote, snapshot, trade
from support.naive_book import NaiveBook

LATE_NS = 10**15


class Desk:
    """A synced feed of one instrument at update id 100, and what it published."""

    def __init__(self) -> None:
        self.counters = np.zeros(len(FeedCounter), np.int64)
        self.feed: BinanceFeed = new_feed(instruments(price_decimals=0, qty_decimals=0), ["BTCUSDT"], [0], 64, LATE_NS, self.counters)
        self.out = np.zeros(512, MARKET)
        self.now_ns = 1
        self.frame(depth(99, 100))
        data: Any = np.frombuffer(bytearray(snapshot(100, [("100", "1")], [("110", "1")])), np.uint8)
        assert on_snapshot(self.feed, 0, data, 0, len(data), 1, self.out) > 0

    def frame(self, payload: bytes) -> list[Any]:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        return self._records(int(on_frame(self.feed, data, 0, len(data), Opcode.TEXT, self.now_ns, self.out)))

    def timer(self) -> list[Any]:
        return self._records(int(on_timer(self.feed, self.now_ns, self.out)))

    def _records(self, count: int) -> list[Any]:
        records = self.out[:count].copy()
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (count - 1) + [True] * (count > 0)
        return list(records)

    def state(self, column: int) -> int:
        return int(self.feed.state[0, column])


def kinds(records: list[Any]) -> list[str]:
    return [MarketKind(record["kind"]).name for record in records]


def test_second_telling_of_a_trade_or_a_quote_is_dropped_and_counted() -> None:
    desk = Desk()
    for payload in (trade(7, "100", "1"), quote(101, ("100", "1"), ("110", "1"))):
        assert len(desk.frame(payload)) == 1
        before = desk.counters[FeedCounter.IGNORED]
        assert desk.frame(payload) == [] and desk.counters[FeedCounter.IGNORED] == before + 1
    assert desk.frame(trade(6, "100", "1")) == [] and desk.frame(quote(100, ("99", "1"), ("110", "1"))) == []
    assert len(desk.frame(trade(8, "100", "1"))) == 1 and len(desk.frame(quote(102, ("100", "1"), ("110", "1")))) == 1


def test_ids_may_begin_again_after_no_connection_was_left() -> None:
    desk = Desk()
    desk.frame(trade(7, "100", "1"))
    desk.frame(quote(101, ("100", "1"), ("110", "1")))
    while on_disconnect(desk.feed, 2, desk.out):
        pass
    assert len(desk.frame(trade(0, "100", "1"))) == 1 and len(desk.frame(quote(1, ("100", "1"), ("110", "1")))) == 1


def test_diff_ahead_of_the_book_waits_for_the_other_connection_and_then_counts() -> None:
    desk = Desk()
    overlap_until(desk.feed, 10**12)
    assert desk.frame(depth(103, 104, [("101", "5")])) == []
    assert desk.frame(depth(103, 104, [("101", "5")])) == [], "told twice, kept once"
    assert (desk.state(BUFFERED), desk.state(WANTS_SYNC), desk.state(SYNCED)) == (1, 0, 1)
    assert kinds(desk.frame(depth(101, 102, [("99", "3")]))) == ["LEVEL", "LEVEL", "TOP"]
    assert [int(record["venue_id"]) for record in desk.out[:3]] == [102, 104, 104] and desk.out[2]["price_ticks"] == 101
    assert (desk.state(LAST_ID), desk.state(BUFFERED), desk.state(AHEAD_NS)) == (104, 0, 0)


def test_diff_ahead_of_the_book_is_a_gap_at_once_without_a_second_connection() -> None:
    desk = Desk()
    assert desk.frame(depth(103, 104))[0]["venue_id"] == InvalidReason.GAP
    desk = Desk()
    overlap_until(desk.feed, 50)
    desk.now_ns = 50
    assert desk.frame(depth(103, 104))[0]["venue_id"] == InvalidReason.GAP


def test_what_never_comes_is_a_gap_in_the_end() -> None:
    desk = Desk()
    overlap_until(desk.feed, LATE_NS)
    desk.frame(depth(103, 104))
    desk.now_ns += AHEAD_MAX_NS
    assert desk.timer() == []
    desk.now_ns += 1
    records = desk.timer()
    assert records[0]["venue_id"] == InvalidReason.GAP and desk.timer() == []
    assert (desk.state(BUFFERED), desk.state(WANTS_SYNC), desk.state(AHEAD_NS)) == (1, 1, 0)


def test_end_of_all_connections_ends_the_overlap() -> None:
    desk = Desk()
    overlap_until(desk.feed, LATE_NS)
    desk.frame(depth(103, 104))
    while on_disconnect(desk.feed, 2, desk.out):
        pass
    assert desk.feed.words[OVERLAP_UNTIL_NS] == 0 and desk.state(AHEAD_NS) == 0 and desk.state(BUFFERED) == 0


Sides = tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int], ...]]


def levels_of(book: NaiveBook) -> Sides:
    return tuple(book.levels(1)), tuple(book.levels(-1))


def flow(rng: random.Random, venue: NaiveBook, history: dict[int, Sides]) -> Iterator[bytes]:
    """What one subscription delivers: diffs, quotes and trades of one market."""
    last, trades = 100, 0
    while True:
        first, last = last + 1, last + rng.randint(1, 3)
        sides: dict[int, list[tuple[str, str]]] = {1: [], -1: []}
        for _ in range(rng.randint(0, 3)):
            side = rng.choice((1, -1))
            price, lots = 105 - side * rng.randint(1, 9), rng.choice((0, rng.randint(1, 9)))
            venue.set_level(side, price, lots)
            sides[side].append((str(price), str(lots)))
        history[last] = levels_of(venue)
        if rng.random() < 0.6:
            best = [(str(price), str(lots)) for price, lots in (venue.best(1), venue.best(-1))]
            yield quote(last, best[0], best[1])
        if rng.random() < 0.4:
            trades += 1
            yield trade(trades, "105", "1")
        yield depth(first, last, sides[1], sides[-1])


@pytest.mark.parametrize("seed", range(5))
def test_interleaved_connections_give_no_gap_and_tell_nothing_twice(seed: int) -> None:
    rng = random.Random(seed)
    venue, history = NaiveBook(), dict[int, Sides]()
    venue.set_level(1, 100, 1)
    venue.set_level(-1, 110, 1)
    frames = [frame for frame, _ in zip(flow(rng, venue, history), range(400), strict=False)]
    desk, seen = Desk(), NaiveBook()
    seen.set_level(1, 100, 1)
    seen.set_level(-1, 110, 1)
    overlap_until(desk.feed, LATE_NS)
    begins, ends = rng.randint(50, 150), rng.randint(250, 350)
    # A has the frames before `ends`, B those from `begins` on; each in order, and both far enough in the end.
    waiting = [frames[:ends], frames[begins:]]
    told: dict[str, list[int]] = {"TRADE": [], "QUOTE": []}
    compared = 0
    while waiting[0] or waiting[1]:
        a_sent, b_sent = ends - len(waiting[0]), len(frames) - len(waiting[1])
        # B is there when A has come near to where B begins, and may lead or lag by 30 frames; it is there whole once A is gone.
        can_a = bool(waiting[0]) and a_sent - b_sent < 30
        can_b = bool(waiting[1]) and a_sent > begins - 30 and b_sent - a_sent < 30 or not waiting[0]
        which = 1 if not can_a or (can_b and rng.random() < 0.5) else 0
        for record in desk.frame(waiting[which].pop(0)):
            kind = MarketKind(record["kind"]).name
            assert kind in ("LEVEL", "TOP", "TRADE", "QUOTE"), f"seed {seed}: {kind} {record['venue_id']}"
            if kind in told:
                told[kind].append(int(record["venue_id"]))
            elif kind == "LEVEL":
                side = 1 if record["flags"] & MarketFlag.BID else -1
                seen.set_level(side, int(record["price_ticks"]), int(record["qty_lots"]))
            else:
                assert levels_of(seen) == history[int(record["venue_id"])], f"seed {seed} at {record['venue_id']}"
                compared += 1
    assert desk.state(SYNCED) == 1, f"seed {seed}"
    assert compared > 50 and desk.counters[FeedCounter.QUOTE_MISMATCHES] == 0 and desk.counters[FeedCounter.GAPS] == 0, f"seed {seed}"
    for kind, ids in told.items():
        assert ids == sorted(set(ids)), f"seed {seed} {kind}"


def test_recorded_flow_told_by_two_connections_is_told_once(recorded: Callable[[str], Path]) -> None:
    """The second connection lags behind the first, then leads it, then is alone."""
    frames, body = [], b""
    with gzip.open(recorded("binance_spot/ethusdt_20240808.gz")) as capture:
        for line, _ in zip(capture, range(6000 if JIT_ENABLED else 1200), strict=False):
            frame = line.split(b" ", 1)[1].strip()
            if frame.startswith(b'{"lastUpdateId"'):
                body, begins = frame, len(frames)
            else:
                frames.append(frame)
    assert body, "the capture has its snapshot early on"
    counters, out = np.zeros(len(FeedCounter), np.int64), np.zeros(20_000, MARKET)
    feed = new_feed(instruments(), ["ETHUSDT"], [0], 4096, LATE_NS, counters)
    told: dict[int, list[int]] = {int(MarketKind.TRADE): [], int(MarketKind.QUOTE): [], int(MarketKind.INVALID): []}

    def hear(frame: bytes) -> None:
        data: Any = np.frombuffer(bytearray(frame), np.uint8)
        for record in out[: int(on_frame(feed, data, 0, len(data), Opcode.TEXT, 1, out))]:
            if int(record["kind"]) in told:
                told[int(record["kind"])].append(int(record["venue_id"]))

    for frame in frames[:begins]:
        hear(frame)
    data: Any = np.frombuffer(bytearray(body), np.uint8)
    assert on_snapshot(feed, 0, data, 0, len(data), 1, out) > 0
    overlap_until(feed, LATE_NS)
    third = (len(frames) - begins) // 3
    second = begins + third
    for n in range(begins, len(frames) - third):
        lead = 40 if n > begins + 3 * third // 2 else -40
        while second <= n + lead and second < len(frames):
            hear(frames[second])
            second += 1
        hear(frames[n])
    for frame in frames[second:]:
        hear(frame)
    assert feed.state[0, SYNCED] == 1 and not told[int(MarketKind.INVALID)] and counters[FeedCounter.QUOTE_MISMATCHES] == 0
    for kind in (MarketKind.TRADE, MarketKind.QUOTE):
        assert told[int(kind)] == sorted(set(told[int(kind)])) and len(told[int(kind)]) > 50
    events = [json.loads(frame)["data"] for frame in frames]
    assert feed.state[0, LAST_ID] == max(event["u"] for event in events if event.get("e") == "depthUpdate")
    assert told[int(MarketKind.TRADE)] == [event["t"] for event in events if event.get("e") == "trade"], "none is lost either"
