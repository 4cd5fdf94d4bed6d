"""Binance feed: each case of the venue's synchronisation rule, and a naive twin that must stand where it stands."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from hft.book import best_ticks, book_at, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.records import MARKET, InvalidReason, MarketFlag, MarketKind
from hft.venues.binance import feed as binance_feed
from hft.venues.binance.feed import (
    BUFFER_DIFFS,
    BUFFERED,
    new_feed,
    on_disconnect,
    on_frame,
    on_snapshot,
    on_timer,
)
from hft.venues.book_feed import LAST_ID, SHUTDOWN, SYNCED, WANTS_SYNC, republish
from hft.websocket import Opcode
from support.binance_frames import instruments
from support.binance_stream import SHUTDOWN as SHUTDOWN_FRAME
from support.binance_stream import depth, quote, snapshot, trade
from support.naive_feed import NaiveFeed
from support.virtual_venue import VirtualVenue

SILENCE_NS = 5_000_000_000
BIDS, ASKS = [("100.00", "1.00000"), ("99.00", "2.00000")], [("101.00", "3.00000"), ("102.00", "4.00000")]
BEST = (("100.00", "1.00000"), ("101.00", "3.00000"))


class Desk:
    """One feed of two symbols; every call returns what was published, and checks that the last of an event says so."""

    def __init__(self, levels_max: int = 4096) -> None:
        self.counters = np.zeros(len(FeedCounter), np.int64)
        self.feed = new_feed(instruments(rows=2), ["BTCUSDT", "ETHUSDT"], [0, 1], levels_max, SILENCE_NS, self.counters)
        self.out = np.zeros(16384, MARKET)
        self.now_ns = 1000

    def _taken(self, taken: int) -> np.ndarray:
        count = int(taken)
        records = self.out[:count].copy()
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (count - 1) + [True] * (count > 0)
        return records

    def frame(self, payload: bytes) -> np.ndarray:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        return self._taken(on_frame(self.feed, data, 0, len(data), Opcode.TEXT, self.now_ns, self.out))

    def snapshot(self, body: bytes, row: int = 0) -> np.ndarray:
        data: Any = np.frombuffer(bytearray(body), np.uint8)
        return self._taken(on_snapshot(self.feed, row, data, 0, len(data), self.now_ns, self.out))

    def timer(self) -> np.ndarray:
        return self._taken(on_timer(self.feed, self.now_ns, self.out))

    def disconnect(self) -> np.ndarray:
        return self._taken(on_disconnect(self.feed, self.now_ns, self.out))

    def state(self, column: int, row: int = 0) -> int:
        return int(self.feed.state[row, column])

    def count(self, which: int) -> int:
        return int(self.counters[which])

    def book(self, row: int = 0) -> dict[tuple[int, int], int]:
        found, book = {}, book_at(self.feed.books, row)
        for side in (1, -1):
            price = best_ticks(book, side)
            while price:
                found[side, int(price)] = int(level_lots(book, side, price))
                price = worse_ticks(book, side, price)
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


def kinds(records: np.ndarray) -> list[str]:
    return [MarketKind(kind).name for kind in records["kind"]]


def synced(desk: Desk) -> Desk:
    """A book at update id 10."""
    assert len(desk.frame(depth(5, 10))) == 0
    assert kinds(desk.snapshot(snapshot(10, BIDS, ASKS))) == ["RESET", "LEVEL", "LEVEL", "LEVEL", "LEVEL", "VALID", "TOP"]
    return desk


def invalid(desk: Desk, records: np.ndarray, reason: int) -> None:
    """One INVALID for this reason was published, and the book may not be used."""
    assert kinds(records) == ["INVALID"] and records[0]["venue_id"] == reason
    assert desk.state(SYNCED) == 0 and desk.count(FeedCounter.BOOKS_VALID) == 0


def test_diffs_are_buffered_and_the_first_asks_for_a_snapshot(desk: Desk) -> None:
    assert desk.state(WANTS_SYNC) == 0
    assert len(desk.frame(depth(5, 10, [("100.00", "1.0")]))) == 0
    assert (desk.state(WANTS_SYNC), desk.state(BUFFERED), desk.state(SYNCED)) == (1, 1, 0)
    assert (desk.state(WANTS_SYNC, 1), desk.state(BUFFERED, 1)) == (0, 0)


@pytest.mark.parametrize(
    ("first", "last", "then"),
    [(11, 12, 12), (10, 11, 11), (9, 10, 10), (5, 13, 13)],
    ids=["right behind", "straddling", "all of it older", "the id in its middle"],
)
def test_snapshot_that_meets_the_buffer_makes_the_book_valid(desk: Desk, first: int, last: int, then: int) -> None:
    desk.frame(depth(first, last, [("100.50", "7.00000")]))
    records = desk.snapshot(snapshot(10, BIDS, ASKS))
    assert kinds(records)[0] == "RESET" and kinds(records)[-2:] == ["VALID", "TOP"]
    assert desk.state(SYNCED) == 1 and desk.state(LAST_ID) == then and desk.state(WANTS_SYNC) == 0
    assert ((1, 10050) in desk.book()) == (last > 10)
    assert desk.count(FeedCounter.BOOKS_VALID) == 1 and desk.count(FeedCounter.RESYNCS) == 1


def test_snapshot_older_than_the_buffer_is_stale_and_another_is_wanted(desk: Desk) -> None:
    desk.frame(depth(12, 15, [("100.50", "7.00000")]))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(snapshot(10, BIDS, ASKS))) == 0
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC), desk.state(BUFFERED)) == (0, 1, 1)
    assert len(desk.snapshot(snapshot(14, BIDS, ASKS))) > 0 and desk.state(LAST_ID) == 15, "the buffer was kept for the next"


def test_gap_inside_the_buffer_asks_again_and_what_came_before_is_forgotten(desk: Desk) -> None:
    desk.frame(depth(11, 12))
    desk.frame(depth(14, 15))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(snapshot(10, BIDS, ASKS))) == 0
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC), desk.state(BUFFERED)) == (0, 1, 0)
    desk.frame(depth(16, 17))
    assert len(desk.snapshot(snapshot(15, BIDS, ASKS))) > 0 and desk.state(LAST_ID) == 17


def test_diff_right_behind_the_book_is_applied_and_closed_by_the_best_prices(desk: Desk) -> None:
    synced(desk)
    records = desk.frame(depth(11, 13, [("100.00", "0.00000"), ("99.50", "5.00000")], [("100.90", "6.00000")]))
    assert kinds(records) == ["LEVEL", "LEVEL", "LEVEL", "TOP"]
    top = records[-1]
    assert (top["price_ticks"], top["qty_lots"], top["ask_ticks"], top["ask_lots"]) == (9950, 500_000, 10_090, 600_000)
    assert top["venue_id"] == 13 and top["received_ns"] == 1000 and desk.state(LAST_ID) == 13


@pytest.mark.parametrize(("first", "last"), [(9, 13), (11, 11), (5, 11)], ids=["overlapping", "next", "far overlapping"])
def test_diff_that_overlaps_or_meets_the_book_is_applied(desk: Desk, first: int, last: int) -> None:
    assert kinds(synced(desk).frame(depth(first, last, [("98.00", "1.00000")]))) == ["LEVEL", "TOP"]
    assert desk.state(LAST_ID) == last


@pytest.mark.parametrize(("first", "last"), [(9, 10), (5, 10), (1, 2), (10, 10)])
def test_diff_that_brings_nothing_new_is_dropped(desk: Desk, first: int, last: int) -> None:
    before = synced(desk).book()
    assert len(desk.frame(depth(first, last, [("100.00", "9.00000")]))) == 0
    assert desk.book() == before and desk.state(LAST_ID) == 10 and desk.state(SYNCED) == 1


def test_gap_makes_the_book_invalid_and_the_diff_behind_it_is_the_first_of_the_next_buffer(desk: Desk) -> None:
    synced(desk)
    invalid(desk, desk.frame(depth(12, 13, [("98.00", "1.00000")])), InvalidReason.GAP)
    assert (desk.state(BUFFERED), desk.state(WANTS_SYNC), desk.count(FeedCounter.GAPS)) == (1, 1, 1)
    assert len(desk.snapshot(snapshot(12, BIDS, ASKS))) > 0
    assert desk.state(LAST_ID) == 13 and desk.book()[1, 9800] == 100_000


def test_gap_of_one_symbol_leaves_the_other_alone(desk: Desk) -> None:
    synced(desk)
    desk.frame(depth(5, 10, symbol="ETHUSDT"))
    desk.snapshot(snapshot(10, BIDS, ASKS), row=1)
    desk.frame(depth(20, 21))
    assert (desk.state(SYNCED), desk.state(SYNCED, 1), desk.count(FeedCounter.BOOKS_VALID)) == (0, 1, 1)
    assert kinds(desk.frame(depth(11, 11, symbol="ETHUSDT"))) == ["TOP"]


def test_crossed_book_is_invalid(desk: Desk) -> None:
    synced(desk)
    invalid(desk, desk.frame(depth(11, 11, [("101.00", "1.00000")])), InvalidReason.CROSSED)
    assert desk.count(FeedCounter.CROSSED) == 1
    desk.frame(depth(12, 12))
    assert desk.state(WANTS_SYNC) == 1


def test_crossed_snapshot_is_not_used(desk: Desk) -> None:
    desk.frame(depth(11, 11))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(snapshot(10, [("101.00", "1.0")], [("101.00", "1.0")]))) == 0
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC)) == (0, 1)


@pytest.mark.parametrize(
    "frame",
    [depth(13, 11), depth(11, 11, [("x", "1.0")]), depth(11, 11, [("100.001", "1.0")]), depth(11, 11, [("-1.00", "1.0")])],
    ids=["u before U", "no number", "off the tick", "negative"],
)
def test_malformed_diff_makes_its_book_invalid(desk: Desk, frame: bytes) -> None:
    synced(desk)
    invalid(desk, desk.frame(frame), InvalidReason.MALFORMED)


@pytest.mark.parametrize("frame", [b"", b"{", b"\xff\xfe", depth(11, 12)[:-7], b"[]", b'{"stream":"x"}'])
def test_frame_about_no_symbol_invalidates_nothing_and_is_counted(desk: Desk, frame: bytes) -> None:
    synced(desk)
    assert len(desk.frame(frame)) in (0, 1)
    assert desk.count(FeedCounter.MALFORMED) + desk.count(FeedCounter.IGNORED) == 1


def test_lost_diff_before_a_malformed_one_shows_as_a_gap_after_the_snapshot(desk: Desk) -> None:
    desk.frame(depth(11, 12))
    desk.frame(depth(13, 13, [("x", "1.0")]))
    desk.frame(depth(14, 15))
    assert len(desk.snapshot(snapshot(11, BIDS, ASKS))) == 0 and desk.state(SYNCED) == 0


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", snapshot(10, [("100.00", "0.0")], ASKS), snapshot(10, BIDS, ASKS)[:-9], b'{"code":-1003}']
)
def test_snapshot_that_cannot_be_read_is_asked_for_again(desk: Desk, body: bytes) -> None:
    desk.frame(depth(11, 11))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(body)) == 0
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC), desk.count(FeedCounter.MALFORMED)) == (0, 1, 1)


def test_late_snapshot_of_a_valid_book_is_ignored(desk: Desk) -> None:
    before = synced(desk).book()
    assert len(desk.snapshot(snapshot(50, [("1.00", "1.0")], [("2.00", "1.0")]))) == 0
    assert desk.book() == before and desk.state(LAST_ID) == 10


def test_book_that_does_not_fit_is_invalid_and_says_so() -> None:
    desk = synced(Desk(levels_max=3))
    invalid(desk, desk.frame(depth(11, 11, [("98.00", "1.0"), ("97.00", "1.0")])), InvalidReason.BOOK_FULL)


def test_snapshot_that_does_not_fit_is_not_used() -> None:
    desk = Desk(levels_max=1)
    desk.frame(depth(11, 11))
    assert len(desk.snapshot(snapshot(10, BIDS, ASKS))) == 0 and desk.state(SYNCED) == 0


def test_buffer_that_overflows_begins_again_with_the_newest_diff(desk: Desk) -> None:
    desk.feed.state[0, BUFFERED] = BUFFER_DIFFS
    desk.feed.buffer_heads[0, :, 0] = np.arange(BUFFER_DIFFS)
    desk.frame(depth(20_000, 20_001))
    assert (desk.state(BUFFERED), desk.state(WANTS_SYNC)) == (1, 1)
    assert len(desk.snapshot(snapshot(10_000, BIDS, ASKS))) == 0, "what was dropped is missing between"
    assert len(desk.snapshot(snapshot(20_000, BIDS, ASKS))) > 0 and desk.state(LAST_ID) == 20_001


def test_buffer_that_has_no_room_for_levels_begins_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.frame(depth(5, 6, [("99.00", "1.0")]))
    desk.feed.state[0, binance_feed.BUFFERED_LEVELS] = binance_feed.BUFFER_LEVELS
    desk.frame(depth(7, 8, [("98.00", "1.0")]))
    assert (desk.state(BUFFERED), desk.state(binance_feed.BUFFERED_LEVELS), desk.feed.buffer_heads[0, 0, 0]) == (1, 1, 7)


def test_quote_is_published_and_compared_at_its_own_update_id(desk: Desk) -> None:
    synced(desk)
    ahead = desk.frame(quote(12, ("100.50", "7.00000"), BEST[1]))
    assert kinds(ahead) == ["QUOTE"] and ahead[0]["price_ticks"] == 10_050
    assert kinds(desk.frame(depth(11, 11))) == ["TOP"], "the quote is ahead of the book: not yet compared"
    assert kinds(desk.frame(depth(12, 12, [("100.50", "7.00000")]))) == ["LEVEL", "TOP"]
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 0


@pytest.mark.parametrize(
    "wrong",
    [(("99.99", "1.00000"), BEST[1]), (("100.00", "1.00001"), BEST[1]), (BEST[0], ("101.01", "3.00000")), (BEST[0], ("101.00", "3.00001"))],
)
def test_second_disagreement_with_the_quotes_in_a_row_makes_the_book_invalid(desk: Desk, wrong: Any) -> None:
    synced(desk)
    desk.frame(quote(11, *wrong))
    assert kinds(desk.frame(depth(11, 11))) == ["TOP"] and desk.count(FeedCounter.QUOTE_MISMATCHES) == 1
    desk.frame(quote(12, *wrong))
    invalid(desk, desk.frame(depth(12, 12)), InvalidReason.GAP)
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 2


def test_agreement_between_two_disagreements_forgives_the_first(desk: Desk) -> None:
    synced(desk)
    for last, best in ((11, (BEST[0], ("101.01", "1.0"))), (12, BEST), (13, (("99.99", "1.0"), BEST[1])), (14, BEST)):
        desk.frame(quote(last, *best))
        assert kinds(desk.frame(depth(last, last))) == ["TOP"]
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 2 and desk.state(SYNCED) == 1


def test_more_quotes_than_are_remembered_keep_the_newest(desk: Desk) -> None:
    synced(desk)
    last = 11 + binance_feed.QUOTES + 3
    for number in range(11, last):
        desk.frame(quote(number, ("50.00", "1.0"), ("51.00", "1.0")))
    desk.frame(quote(last, *BEST))
    assert desk.state(binance_feed.QUOTE_HEAD) - desk.state(binance_feed.QUOTE_NEXT) == binance_feed.QUOTES
    assert kinds(desk.frame(depth(11, last))) == ["TOP"] and desk.count(FeedCounter.QUOTE_MISMATCHES) == 0


def test_trade_passes_whether_the_book_is_valid_or_not(desk: Desk) -> None:
    for number in (7, 8):
        assert kinds(desk.frame(trade(number, "100.00", "0.50000"))) == ["TRADE"]
        if not desk.state(SYNCED):
            synced(desk)


def test_silence_makes_each_silent_book_invalid_and_only_past_the_limit(desk: Desk) -> None:
    synced(desk)
    desk.frame(depth(5, 10, symbol="ETHUSDT"))
    desk.snapshot(snapshot(10, BIDS, ASKS), row=1)
    desk.now_ns += SILENCE_NS
    assert len(desk.timer()) == 0
    desk.frame(depth(11, 11, symbol="ETHUSDT"))
    desk.now_ns += 1
    invalidated = desk.timer()
    assert kinds(invalidated) == ["INVALID"] and (invalidated[0]["instrument"], invalidated[0]["venue_id"]) == (0, InvalidReason.SILENT)
    assert len(desk.timer()) == 0 and desk.count(FeedCounter.SILENT) == 1 and desk.state(SYNCED, 1) == 1


def test_quotes_and_trades_do_not_break_the_silence_of_a_book(desk: Desk) -> None:
    synced(desk)
    desk.now_ns += SILENCE_NS + 1
    desk.frame(quote(11, *BEST))
    desk.frame(trade(1, "100.00", "1.0"))
    assert kinds(desk.timer()) == ["INVALID"]


def test_end_of_the_connection_makes_every_book_invalid_and_forgets_what_waited(desk: Desk) -> None:
    synced(desk)
    desk.frame(depth(5, 10, symbol="ETHUSDT"))
    desk.frame(quote(11, *BEST))
    desk.feed.words[SHUTDOWN] = 1
    invalid(desk, desk.disconnect(), InvalidReason.DISCONNECTED)
    assert len(desk.disconnect()) == 0
    assert (desk.state(BUFFERED, 1), desk.state(WANTS_SYNC, 1), desk.feed.words[SHUTDOWN]) == (0, 0, 0)
    desk.frame(depth(31, 32))
    desk.snapshot(snapshot(31, [("90.00", "1.0")], [("91.00", "1.0")]))
    assert desk.count(FeedCounter.QUOTE_MISMATCHES) == 0 and desk.state(SYNCED) == 1, "quotes of before are not compared"
    assert kinds(desk.frame(depth(33, 33))) == ["TOP"]


def test_venues_shutdown_notice_sets_its_word(desk: Desk) -> None:
    assert len(desk.frame(SHUTDOWN_FRAME)) == 0 and desk.feed.words[SHUTDOWN] == 1


def test_republish_gives_the_whole_book_or_says_why_there_is_none(desk: Desk) -> None:
    assert republish(desk.feed, 0, 77, desk.out) == 1
    assert (desk.out[0]["kind"], desk.out[0]["venue_id"]) == (MarketKind.INVALID, InvalidReason.NEVER_SYNCED)
    synced(desk)
    count = republish(desk.feed, 0, 77, desk.out)
    records = desk.out[:count]
    assert kinds(records) == ["RESET", *["LEVEL"] * 4, "VALID", "TOP"] and (records["venue_id"] == 10).all()
    levels = records[records["kind"] == MarketKind.LEVEL]
    assert levels["price_ticks"].tolist() == [10_000, 9_900, 10_100, 10_200] and levels["qty_lots"].tolist() == [
        100_000,
        200_000,
        300_000,
        400_000,
    ]


def market_step(chance: random.Random, book: dict[tuple[int, int], int]) -> list[tuple[int, int, int]]:
    """Random changes that leave the venue's book uncrossed: bids up to 10000, asks above."""
    changes = []
    for _ in range(chance.randrange(4)):
        side = chance.choice([1, -1])
        ticks = 10_000 - chance.randrange(6) if side > 0 else 10_001 + chance.randrange(6)
        lots = chance.choice([0, 0, chance.randrange(1, 9)])
        changes.append((side, ticks, lots))
        book.pop((side, ticks), None)
        if lots:
            book[side, ticks] = lots
    return changes


def price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"


def texts(book: dict[tuple[int, int], int], side: int) -> list[tuple[str, str]]:
    return [(price(ticks), f"0.{lots:05d}") for (s, ticks), lots in book.items() if s == side]


@pytest.mark.parametrize("seed", range(12))
def test_feed_stands_where_the_naive_twin_stands_through_every_fault(seed: int) -> None:
    chance = random.Random(seed)
    desk, twin, now = Desk(), NaiveFeed(), 100
    true: dict[tuple[int, int], int] = {(1, 9_990): 5, (-1, 10_010): 5}
    history = [(now, dict(true))]
    said = {"BOOK": 0, "TOP": 0}
    for step in range(250):
        roll = chance.random()
        if roll < 0.55:
            first = now + 1
            now += chance.randrange(1, 4)
            changes = market_step(chance, true)
            history = [*history[-20:], (now, dict(true))]
            if roll < 0.03:
                continue  # Lost on the way.
            if roll < 0.05:
                changes = [*changes, (1, 10_050, 1)]  # Crosses.
            first -= chance.choice([0, 0, 0, 2])
            sides = {side: [(price(t), f"0.{lots:05d}") for s, t, lots in changes if s == side] for side in (1, -1)}
            got = desk.frame(depth(first, now, sides[1], sides[-1]))
            wanted = twin.diff((first, now, [c for c in changes if c[0] > 0] + [c for c in changes if c[0] < 0]))
        elif roll < 0.60:
            last = now - chance.randrange(3)
            got, wanted = desk.frame(depth(last - 1, last)), twin.diff((last - 1, last, []))
        elif roll < 0.80:
            twin_of_truth = NaiveFeed(book=true).best()
            if 0 in twin_of_truth:
                continue
            best = twin_of_truth if roll < 0.77 else (twin_of_truth[0] - 1, *twin_of_truth[1:])
            got = desk.frame(quote(now, (price(best[0]), f"0.{best[1]:05d}"), (price(best[2]), f"0.{best[3]:05d}")))
            wanted = twin.quote(now, best)
        elif roll < 0.97:
            then, book = chance.choice(history[-4:])
            got = desk.snapshot(snapshot(then, texts(book, 1), texts(book, -1)))
            wanted = twin.snapshot(then, book)
        elif roll < 0.985:
            got, wanted = desk.frame(depth(5, 3)), twin.malformed()
        else:
            got, wanted = desk.disconnect(), twin.disconnect()
        where = f"seed {seed}, step {step}"
        named = kinds(got)
        outcome = (
            "" if not named else "BOOK" if named[0] == "RESET" else f"INVALID {got[0]['venue_id']}" if named[0] == "INVALID" else named[-1]
        )
        assert outcome == wanted, where
        said[outcome] = said.get(outcome, 0) + 1
        assert (desk.state(SYNCED) == 1, desk.state(WANTS_SYNC) == 1) == (twin.synced, twin.wants), where
        if twin.synced:
            assert desk.state(LAST_ID) == twin.last_id and desk.book() == twin.book, where
            if outcome in ("BOOK", "TOP"):
                top = got[-1]
                assert tuple(int(top[f]) for f in ("price_ticks", "qty_lots", "ask_ticks", "ask_lots")) == twin.best(), where
    assert said["BOOK"] >= 3 and said["TOP"] >= 20, f"seed {seed}: {said}"


FAULTS: list[dict[str, Any]] = [
    {"kind": "drop_depth"},
    {"kind": "duplicate", "count": 3},
    {"kind": "corrupt", "how": "bad_number", "count": 60},
    {"kind": "corrupt", "how": "truncate", "count": 60},
    {"kind": "crossed"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["kind"] + fault.get("how", ""))
def test_book_equals_the_simulated_venues_own_at_every_update_id(fault: dict[str, Any]) -> None:
    driver = VirtualVenue(unlimited=True)
    session = driver.open()
    desk, taken, equal, struck = Desk(), 0, 0, False
    while driver.now_ns < 1_500_000_000 or (equal < 5 and driver.now_ns < 5_000_000_000):
        driver.run(0.001, budget=1)
        moved = False
        for payload in driver.texts(session)[taken:]:
            taken += 1
            moved = True
            desk.now_ns = driver.now_ns
            desk.frame(payload)
        if desk.state(WANTS_SYNC):
            desk.feed.state[0, WANTS_SYNC] = 0
            body = driver.venue.request("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000", {}, b"", driver.now_ns).body
            desk.snapshot(body)
        own = (
            json.loads(driver.venue.control("GET", "/book?symbol=BTCUSDT", b"", driver.now_ns).body)
            if moved and desk.state(SYNCED)
            else None
        )
        if own is not None and own["lastUpdateId"] == desk.state(LAST_ID):
            sides = ((1, own["bids"]), (-1, own["asks"]))
            assert desk.book() == {(s, ticks(p)): ticks(q, 5) for s, levels in sides for p, q in levels}
            equal += 1
            if equal == 2 and not struck:
                driver.fault(symbol="BTCUSDT", **fault)
                struck = True
    assert struck and equal >= 5 and desk.state(SYNCED) == 1 and desk.count(FeedCounter.QUOTE_MISMATCHES) == 0
    assert (desk.count(FeedCounter.RESYNCS) >= 2) == (fault["kind"] != "duplicate")


def ticks(text: str, decimals: int = 2) -> int:
    whole, _, rest = text.partition(".")
    return int(whole + rest[:decimals])
