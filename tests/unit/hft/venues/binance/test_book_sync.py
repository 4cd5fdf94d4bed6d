"""Does the Binance feed keep each book by the venue's rule, and say at once when it cannot?"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from hft.book import best_ticks, book_at, new_book, set_level, state_hash
from hft.counters import FeedCounter
from hft.records import MARKET, InvalidReason, MarketFlag, MarketKind
from hft.venues.binance.feed import (
    new_feed,
    on_disconnect,
    on_frame,
    on_snapshot,
    on_timer,
)
from hft.venues.book_feed import LAST_ID, SHUTDOWN, SYNCED, WANTS_SYNC, republish
from hft.websocket import Opcode
from support.binance_frames import instruments
from support.naive_book import NaiveBook

SILENCE_NS = 5_000
Levels = Iterable[tuple[int, int]]


def texts(levels: Levels) -> list[list[str]]:
    return [[f"{price}.00", f"{lots}.00000"] for price, lots in levels]


class Desk:
    """A feed of two instruments (rows 1 and 2 of three), and a consumer that knows only what was published."""

    def __init__(self, levels_max: int = 64) -> None:
        self.counters = np.zeros(64, np.int64)
        table = instruments(rows=3, price_decimals=0, qty_decimals=0)
        self.feed = new_feed(table, ["BTCUSDT", "ETHUSDT"], [1, 2], levels_max, SILENCE_NS, self.counters)
        self.out = np.zeros(256, MARKET)
        self.seen = {row: NaiveBook() for row in range(3)}
        self.valid = dict.fromkeys(range(3), False)

    def take(self, n: int) -> list[str]:
        """Publish the first n staged records to the consumer; their kinds, or reasons for INVALID."""
        records = self.out[:n]
        if n:
            assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (n - 1) + [True], "one event, its last record flagged"
            assert len(set(records["instrument"].tolist())) == 1
        names = []
        for record in records:
            names.append(self._apply(record, int(record["instrument"])))
        return names

    def _apply(self, record: Any, row: int) -> str:
        kind, book = MarketKind(record["kind"]), self.seen[row]
        if kind == MarketKind.LEVEL:
            book.set_level(1 if record["flags"] & MarketFlag.BID else -1, int(record["price_ticks"]), int(record["qty_lots"]))
        elif kind == MarketKind.RESET:
            self.seen[row] = NaiveBook()
        elif kind in (MarketKind.VALID, MarketKind.INVALID):
            self.valid[row] = kind == MarketKind.VALID
        elif kind == MarketKind.TOP:
            best = (record["price_ticks"], record["qty_lots"]), (record["ask_ticks"], record["ask_lots"])
            assert best == (book.best(1), book.best(-1)), "the published top is that of the published levels"
            assert self.valid[row]
        return kind.name if kind != MarketKind.INVALID else InvalidReason(record["venue_id"]).name

    def frame(self, payload: bytes, now_ns: int = 10) -> list[str]:
        data = np.frombuffer(payload, np.uint8).copy()
        return self.take(on_frame(self.feed, data, 0, len(data), Opcode.TEXT, now_ns, self.out))

    def diff(self, first: int, last: int, bids: Levels = (), asks: Levels = (), symbol: str = "BTCUSDT", now_ns: int = 10) -> list[str]:
        event = {"e": "depthUpdate", "E": 1723161255408, "s": symbol, "U": first, "u": last, "b": texts(bids), "a": texts(asks)}
        return self.frame(json.dumps(event).encode(), now_ns)

    def quote(self, update_id: int, bid: tuple[int, int], ask: tuple[int, int]) -> list[str]:
        best = {"b": f"{bid[0]}", "B": f"{bid[1]}", "a": f"{ask[0]}", "A": f"{ask[1]}"}
        return self.frame(json.dumps({"u": update_id, "s": "BTCUSDT", **best}).encode())

    def snapshot(self, update_id: int, bids: Levels = ((100, 1),), asks: Levels = ((110, 1),), row: int = 1) -> list[str]:
        body = json.dumps({"lastUpdateId": update_id, "bids": texts(bids), "asks": texts(asks)}).encode()
        data = np.frombuffer(body, np.uint8).copy()
        return self.take(on_snapshot(self.feed, row, data, 0, len(data), 10, self.out))

    def wants(self, row: int = 1) -> bool:
        return bool(self.feed.state[row, WANTS_SYNC])

    def count(self, counter: FeedCounter) -> int:
        return int(self.counters[counter])


def synced() -> Desk:
    """BTCUSDT synced at update id 20, bid 100, ask 110."""
    desk = Desk()
    assert desk.diff(15, 20) == []
    assert desk.snapshot(19)[0] == "RESET"
    assert desk.feed.state[1, LAST_ID] == 20
    return desk


def test_feed_wants_a_snapshot_once_it_has_buffered_a_diff_and_not_before() -> None:
    desk = Desk()
    assert not desk.wants()
    assert desk.quote(5, (100, 1), (110, 1)) == ["QUOTE"]
    assert not desk.wants()
    assert desk.diff(11, 12, [(100, 5)]) == []
    assert desk.wants()
    assert not desk.wants(row=2)


def test_feed_publishes_the_whole_book_when_snapshot_and_buffer_meet() -> None:
    desk = Desk()
    desk.diff(11, 12, [(90, 9)])
    desk.diff(13, 15, [(101, 5)], [(110, 0), (111, 2)])
    desk.diff(16, 16, [(100, 7)])
    assert desk.snapshot(13, [(100, 1), (99, 1)], [(110, 1), (112, 3)]) == ["RESET", *["LEVEL"] * 5, "VALID", "TOP"]
    assert desk.seen[1].levels(1) == [(101, 5), (100, 7), (99, 1)]
    assert desk.seen[1].levels(-1) == [(111, 2), (112, 3)]
    assert not desk.wants()
    assert (desk.count(FeedCounter.RESYNCS), desk.count(FeedCounter.BOOKS_VALID)) == (1, 1)


@pytest.mark.parametrize(
    ("snapshot_id", "syncs"),
    [(9, False), (10, True), (11, True), (15, True), (16, True)],
    ids=["older than the buffer", "U = id + 1", "U <= id < u", "id = u", "newer than the buffer"],
)
def test_first_diff_kept_must_reach_the_snapshot(snapshot_id: int, syncs: bool) -> None:
    desk = Desk()
    desk.diff(11, 15, [(101, 5)])
    assert bool(desk.snapshot(snapshot_id)) == syncs
    assert desk.wants() == (not syncs)
    assert bool(desk.feed.state[1, SYNCED]) == syncs
    if not syncs:
        assert desk.snapshot(12), "what was buffered is kept for the next snapshot"
        assert desk.seen[1].best(1) == (101, 5)


def test_feed_drops_diffs_that_the_snapshot_includes() -> None:
    desk = Desk()
    desk.diff(11, 15, [(105, 5)])
    desk.snapshot(15, [(100, 1)])
    assert desk.seen[1].levels(1) == [(100, 1)]
    assert desk.diff(14, 15, [(105, 5)]) == []
    assert desk.diff(16, 16, [(101, 2)]) == ["LEVEL", "TOP"]


def test_feed_wants_another_snapshot_when_the_buffer_itself_has_a_gap() -> None:
    desk = Desk()
    desk.diff(11, 12)
    desk.diff(14, 15)
    assert desk.snapshot(12) == []
    assert desk.wants()
    assert not desk.valid[1]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b'{"code":-1003,"msg":"Too many requests"}', b'{"lastUpdateId":12,"bids":[["1x","1"]],"asks":[]}']
)
def test_feed_wants_another_snapshot_when_one_cannot_be_read(body: bytes) -> None:
    desk = Desk()
    desk.diff(11, 12)
    data = np.frombuffer(body + b" ", np.uint8).copy()
    desk.feed.state[1, WANTS_SYNC] = 0
    assert on_snapshot(desk.feed, 1, data, 0, len(body), 10, desk.out) == 0
    assert desk.wants()


@pytest.mark.parametrize(
    ("bids", "asks"), [([(110, 1)], [(110, 1)]), ([(p, 1) for p in range(1, 100)], [(110, 1)])], ids=["crossed", "too deep"]
)
def test_feed_does_not_sync_on_a_snapshot_that_makes_no_book(bids: Levels, asks: Levels) -> None:
    desk = Desk()
    desk.diff(11, 12)
    assert desk.snapshot(12, bids, asks) == []
    assert desk.wants()


def test_late_snapshot_does_not_touch_a_synced_book() -> None:
    desk = synced()
    assert desk.snapshot(20, [(50, 1)], [(60, 1)]) == []
    assert best_ticks(book_at(desk.feed.books, 1), 1) == 100


def test_diff_is_published_as_its_levels_and_the_top() -> None:
    desk = synced()
    assert desk.diff(21, 23, [(100, 0), (99, 4)], [(110, 3)], now_ns=77) == ["LEVEL"] * 3 + ["TOP"]
    top = desk.out[3]
    assert (top["venue_id"], top["received_ns"], top["exchange_ns"], top["instrument"]) == (23, 77, 1723161255408_000_000, 1)


@pytest.mark.parametrize(("first", "last", "kinds"), [(21, 25, ["TOP"]), (18, 25, ["TOP"]), (22, 25, ["GAP"]), (15, 20, []), (5, 6, [])])
def test_diff_must_follow_the_one_before(first: int, last: int, kinds: list[str]) -> None:
    desk = synced()
    assert desk.diff(first, last) == kinds
    assert desk.valid[1] == (kinds != ["GAP"])
    assert desk.count(FeedCounter.GAPS) == (kinds == ["GAP"])


def test_feed_resyncs_by_itself_after_a_gap_with_the_diff_that_showed_it() -> None:
    desk = synced()
    assert desk.diff(25, 26, [(103, 2)]) == ["GAP"]
    assert desk.wants()
    assert desk.diff(27, 27, [(104, 1)]) == []
    assert desk.snapshot(25)[-1] == "TOP"
    assert desk.valid[1]
    assert desk.seen[1].levels(1) == [(104, 1), (103, 2), (100, 1)]
    assert desk.diff(28, 28) == ["TOP"]


def test_crossed_book_is_invalid_until_the_next_snapshot() -> None:
    desk = synced()
    assert desk.diff(21, 21, [(110, 1)]) == ["CROSSED"]
    assert desk.count(FeedCounter.CROSSED) == 1
    assert desk.diff(22, 22) == []
    assert desk.wants()
    assert desk.snapshot(21)[-1] == "TOP"


def test_book_with_an_empty_side_is_valid_and_has_no_best_there() -> None:
    desk = synced()
    assert desk.diff(21, 21, [], [(110, 0)]) == ["LEVEL", "TOP"]
    assert (desk.out[1]["ask_ticks"], desk.out[1]["ask_lots"]) == (0, 0)


def test_level_too_many_makes_the_book_invalid() -> None:
    desk = synced()
    assert desk.diff(21, 21, [(p, 1) for p in range(1, 64)]) == ["LEVEL"] * 63 + ["TOP"]
    assert desk.diff(22, 22, [(70, 1)]) == ["BOOK_FULL"]


def test_malformed_diff_makes_its_own_book_invalid_and_no_other() -> None:
    desk = synced()
    desk.diff(15, 20, symbol="ETHUSDT")
    desk.snapshot(20, row=2)
    bad = b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":21,"u":21,"b":[["100","-1"]],"a":[]}'
    assert desk.frame(bad) == ["MALFORMED"]
    assert (desk.valid[1], desk.valid[2]) == (False, True)
    assert desk.diff(22, 22) == []
    assert desk.wants()


@pytest.mark.parametrize("payload", [b"", b"{", b'{"e":"trade","s":"BTCUSDT"}', b'{"u":1,"s":"BTCUSDT","b":"1","B":"x","a":"2","A":"1"}'])
def test_other_malformed_frames_are_counted_and_change_nothing(payload: bytes) -> None:
    desk = synced()
    data = np.frombuffer(payload + b" ", np.uint8).copy()
    assert on_frame(desk.feed, data, 0, len(payload), Opcode.TEXT, 10, desk.out) == 0
    assert desk.count(FeedCounter.MALFORMED) == 1
    assert desk.feed.state[1, SYNCED]


def test_trade_passes_whatever_the_state_of_the_book() -> None:
    desk = Desk()
    assert desk.frame(b'{"e":"trade","E":1,"s":"ETHUSDT","t":9,"p":"100","q":"3","T":1,"m":false,"M":true}') == ["TRADE"]
    assert desk.out[0]["instrument"] == 2


def test_one_disagreement_with_the_venue_is_counted_and_two_in_a_row_are_a_gap() -> None:
    desk = synced()
    desk.quote(21, (100, 9), (110, 1))
    assert desk.diff(21, 22) == ["TOP"]
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 1
    desk.quote(23, (100, 1), (110, 1))
    assert desk.diff(23, 24) == ["TOP"]
    desk.quote(25, (100, 9), (110, 1))
    assert desk.diff(25, 26) == ["TOP"]
    desk.quote(27, (100, 9), (110, 1))
    assert desk.diff(27, 28) == ["GAP"]
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 3


def test_quote_ahead_of_the_diff_is_not_compared_before_its_time() -> None:
    desk = synced()
    desk.quote(21, (100, 1), (110, 1))
    desk.quote(30, (105, 1), (110, 1))
    assert desk.diff(21, 25) == ["TOP"]
    assert desk.diff(26, 30, [(105, 1)]) == ["LEVEL", "TOP"]
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 0


@pytest.mark.parametrize(("now_ns", "kinds"), [(10 + SILENCE_NS, []), (11 + SILENCE_NS, ["SILENT"])])
def test_silence_makes_a_book_invalid_and_the_next_diff_begins_again(now_ns: int, kinds: list[str]) -> None:
    desk = synced()
    assert desk.take(on_timer(desk.feed, now_ns, desk.out)) == kinds
    assert on_timer(desk.feed, now_ns, desk.out) == 0
    assert desk.count(FeedCounter.SILENT) == len(kinds)
    if kinds:
        assert desk.diff(21, 22) == []
        assert desk.wants()


def test_end_of_the_connection_makes_every_book_invalid_and_forgets_what_was_buffered() -> None:
    desk = synced()
    desk.diff(15, 20, symbol="ETHUSDT")
    desk.snapshot(20, row=2)
    ended = []
    while n := on_disconnect(desk.feed, 99, desk.out):
        ended += desk.take(n)
    assert ended == ["DISCONNECTED", "DISCONNECTED"]
    assert not any(desk.valid.values())
    assert not desk.wants()
    assert desk.count(FeedCounter.BOOKS_VALID) == 0
    assert desk.diff(500, 501) == []
    assert desk.wants()


def test_republish_gives_the_whole_book_or_why_there_is_none() -> None:
    desk = synced()
    desk.diff(21, 21, [(99, 3)])
    desk.seen[1] = NaiveBook()
    assert desk.take(republish(desk.feed, 1, 5, desk.out)) == ["RESET", "LEVEL", "LEVEL", "LEVEL", "VALID", "TOP"]
    assert desk.seen[1].levels(1) == [(100, 1), (99, 3)]
    assert desk.take(republish(desk.feed, 2, 5, desk.out)) == ["NEVER_SYNCED"]
    desk.diff(30, 31)
    assert desk.take(republish(desk.feed, 1, 5, desk.out)) == ["GAP"]


def test_server_shutdown_is_noted_and_other_messages_are_ignored() -> None:
    desk = synced()
    for payload in (b'{"result":null,"id":1}', b'{"e":"kline"}', b'{"u":1,"s":"XRPUSDT","b":"1","B":"1","a":"2","A":"1"}'):
        assert desk.frame(payload) == []
    assert desk.count(FeedCounter.IGNORED) == 3
    assert not desk.feed.words[SHUTDOWN]
    assert desk.frame(b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}') == []
    assert desk.feed.words[SHUTDOWN] == 1


@pytest.mark.parametrize("seed", range(5))
def test_consumer_has_the_venues_book_whenever_it_is_told_it_is_valid(seed: int) -> None:
    """A venue with losses, repeats, late and stale snapshots; the consumer's book equals the venue's at each top."""
    rng = random.Random(seed)
    desk, venue, history = Desk(), NaiveBook(), dict[int, int]()
    update_id, compared = 100, 0
    snapshots: list[tuple[int, list[tuple[int, int]], list[tuple[int, int]]]] = []
    for step in range(600):
        first, update_id = update_id + 1, update_id + rng.randint(1, 4)
        sides: dict[int, list[tuple[int, int]]] = {1: [], -1: []}
        for _ in range(rng.randint(0, 4)):
            side = rng.choice((1, -1))
            level = (1000 - side * rng.randint(1, 20), rng.choice((0, rng.randint(1, 99))))
            venue.set_level(side, *level)
            sides[side].append(level)
        history[update_id] = _hash(venue)
        if rng.random() < 0.1:
            snapshots.append((update_id, venue.levels(1), venue.levels(-1)))
        if rng.random() < 0.03:
            continue
        for _ in range(rng.choice((1, 1, 1, 2))):
            desk.diff(first, update_id, sides[1], sides[-1])
        if desk.wants() and snapshots and rng.random() < 0.5:
            desk.feed.state[1, WANTS_SYNC] = 0
            desk.snapshot(*rng.choice(snapshots[-2:]))
        if desk.valid[1]:
            assert _hash(desk.seen[1]) == history[int(desk.feed.state[1, LAST_ID])], f"seed {seed} step {step}"
            compared += 1
    assert compared > 100, f"seed {seed}"
    assert desk.count(FeedCounter.GAPS) > 3, f"seed {seed}"


def _hash(naive: NaiveBook) -> int:
    book = new_book(64, near_ticks=1024)
    for side in (1, -1):
        for price, lots in naive.levels(side):
            set_level(book, side, price, lots)
    return int(state_hash(book))
