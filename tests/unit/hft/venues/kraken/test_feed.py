"""Kraken feed: the checksum rule case by case, and a naive twin that must stand where it stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.book import best_ticks, book_at, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.records import MARKET, InvalidReason, MarketFlag, MarketKind
from hft.venues.book_feed import SHUTDOWN, SYNCED, WANTS_SYNC, republish
from hft.venues.kraken import feed as kraken_feed
from hft.venues.kraken.capture import Player, survey
from hft.venues.kraken.feed import (
    REFUSAL_BYTES,
    REFUSALS,
    SNAPSHOT_WAIT_NS,
    STATUS,
    SYSTEM_STATUS,
    WIRE_QTY,
    new_feed,
    on_disconnect,
    on_frame,
    on_timer,
)
from hft.venues.kraken.tables import PairStatus, ScanCount
from hft.websocket import Opcode
from shm.jit import JIT_ENABLED
from support.kraken_frames import HEARTBEAT, INSTRUMENTS, REFUSED, TRADE, UPDATE, book_message, checksum_of, instruments
from support.kraken_frames import STATUS as STATUS_FRAME
from support.naive_kraken import KrakenFlow, NaiveKraken

SILENCE_NS = 5_000_000_000
BIDS = [("100.0", "1.00000000"), ("99.0", "2.00000000")]
ASKS = [("101.0", "3.00000000"), ("102.0", "0.00400000")]
#: The venue's published example.
DOC_ASKS = "45285.2 0.00100000 45286.4 1.54571953 45286.6 1.54571109 45289.6 1.54560911 45290.2 0.15890660 45291.8 1.54553491"
DOC_ASKS += " 45294.7 0.04454749 45296.1 0.35380000 45297.5 0.09945542 45299.5 0.18772827"
DOC_BIDS = "45283.5 0.10000000 45283.4 1.54582015 45282.1 0.10000000 45281.0 0.10000000 45280.3 1.54592586 45279.0 0.07990000"
DOC_BIDS += " 45277.6 0.03310103 45277.5 0.30000000 45277.3 1.54602737 45276.6 0.15445238"


def sum_of(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> int:
    """The checksum of whole sides."""
    from decimal import Decimal

    return checksum_of({Decimal(p): (p, q) for p, q in bids}, {Decimal(p): (p, q) for p, q in asks})


def pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


class Desk:
    """One feed of two symbols; every call returns what was published, and checks that the last of an event says so."""

    def __init__(self, depth: int = 10, by_connection: bool = True, **scale: int) -> None:
        self.counters = np.zeros(len(FeedCounter), np.int64)
        table = instruments(rows=2, **scale)
        self.feed = new_feed(table, ["BTC/USD", "ETH/USD"], [0, 1], 1000, SILENCE_NS, self.counters, depth, by_connection)
        self.out = np.zeros(20_000, MARKET)
        self.now_ns = 1000

    def _taken(self, taken: int) -> np.ndarray[Any, Any]:
        records = self.out[: int(taken)].copy()
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (len(records) - 1) + [True] * (len(records) > 0)
        return records

    def frame(self, payload: bytes, opcode: int = Opcode.TEXT) -> np.ndarray[Any, Any]:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        return self._taken(on_frame(self.feed, data, 0, len(data), int(opcode), self.now_ns, self.out))

    def timer(self) -> np.ndarray[Any, Any]:
        return self._taken(on_timer(self.feed, self.now_ns, self.out))

    def disconnect(self) -> np.ndarray[Any, Any]:
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


def snapshot(symbol: str = "BTC/USD", wrong: int = 0) -> bytes:
    return book_message(symbol, "snapshot", BIDS, ASKS, sum_of(BIDS, ASKS) ^ wrong)


def synced(**options: Any) -> Desk:
    desk = Desk(**options)
    assert desk.frame(snapshot())[-1]["kind"] == MarketKind.TOP
    return desk


def kinds(records: np.ndarray[Any, Any]) -> list[MarketKind]:
    return [MarketKind(kind) for kind in records["kind"]]


def test_the_venues_published_checksum_is_that_of_the_book() -> None:
    desk = Desk()
    desk.frame(book_message("BTC/USD", "snapshot", pairs(DOC_BIDS), pairs(DOC_ASKS), 3310070434))
    assert desk.state(SYNCED) == 1 and desk.count(FeedCounter.CHECKSUM_OK) == 1


def test_a_snapshot_is_published_as_a_whole_book() -> None:
    desk = Desk()
    records = desk.frame(snapshot())
    assert kinds(records) == [MarketKind.RESET, *[MarketKind.LEVEL] * 4, MarketKind.VALID, MarketKind.TOP]
    top = records[-1]
    assert [int(top[f]) for f in ("price_ticks", "qty_lots", "ask_ticks", "ask_lots")] == [1000, 100_000_000, 1010, 300_000_000]
    assert desk.count(FeedCounter.BOOKS_VALID) == 1 and desk.state(SYNCED, 1) == 0


def test_an_update_publishes_its_levels_and_the_top() -> None:
    desk = synced()
    asks = [("101.0", "0.00000000"), ("101.5", "7.00000000")]
    records = desk.frame(book_message("BTC/USD", "update", [], asks, sum_of(BIDS, [("101.5", "7.00000000"), ASKS[1]])))
    assert kinds(records) == [MarketKind.LEVEL, MarketKind.LEVEL, MarketKind.TOP]
    assert (records[-1]["ask_ticks"], records[-1]["ask_lots"]) == (1015, 700_000_000)
    assert records[0]["exchange_ns"] == 1_787_608_800_345_080_000
    assert (1, -1010) not in desk.book() and desk.count(FeedCounter.CHECKSUM_OK) == 2


def test_a_wrong_checksum_makes_only_that_book_invalid_and_wants_it_again() -> None:
    desk = synced()
    desk.frame(snapshot("ETH/USD"))
    records = desk.frame(book_message("BTC/USD", "update", [("99.5", "1.00000000")], [], 1))
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.CHECKSUM
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC), desk.state(SYNCED, 1), desk.state(WANTS_SYNC, 1)) == (0, 1, 1, 0)
    assert desk.count(FeedCounter.CHECKSUM_BAD) == 1 and desk.count(FeedCounter.BOOKS_VALID) == 1
    assert len(desk.frame(UPDATE)) == 0, "an update of an invalid book says nothing"
    assert kinds(desk.frame(snapshot()))[-1] == MarketKind.TOP and desk.state(WANTS_SYNC) == 0


def test_a_snapshot_with_a_wrong_checksum_is_not_used() -> None:
    desk = Desk()
    assert len(desk.frame(snapshot(wrong=1))) == 0
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC), desk.count(FeedCounter.CHECKSUM_BAD)) == (0, 1, 1)
    desk = synced()
    records = desk.frame(snapshot(wrong=1))
    assert kinds(records) == [MarketKind.INVALID] and desk.count(FeedCounter.CHECKSUM_BAD) == 1


def test_what_falls_out_of_the_depth_is_published_as_removed() -> None:
    desk = Desk(depth=10)
    bids = [(f"{90 - i}.0", "1.00000000") for i in range(10)]
    desk.frame(book_message("BTC/USD", "snapshot", bids, ASKS, sum_of(bids, ASKS)))
    better = [("91.0", "5.00000000"), *bids[:-1]]
    records = desk.frame(book_message("BTC/USD", "update", better[:1], [], sum_of(better, ASKS)))
    assert kinds(records) == [MarketKind.LEVEL, MarketKind.LEVEL, MarketKind.TOP]
    assert [(int(r["price_ticks"]), int(r["qty_lots"])) for r in records[:2]] == [(910, 500_000_000), (810, 0)]
    assert len([key for key in desk.book() if key[0] == 1]) == 10
    # Without the truncation the book would show the level that the venue forgot, when a better one goes.
    rest = better[1:]
    records = desk.frame(book_message("BTC/USD", "update", [("91.0", "0.00000000")], [], sum_of(rest, ASKS)))
    assert kinds(records)[-1] == MarketKind.TOP and len(rest) == 9


def test_the_same_price_twice_in_a_message_ends_as_the_last_says() -> None:
    desk = synced()
    bids = [("99.5", "9.00000000"), ("99.5", "0.50000000")]
    records = desk.frame(book_message("BTC/USD", "update", bids, [], sum_of([BIDS[0], bids[1], BIDS[1]], ASKS)))
    assert kinds(records)[-1] == MarketKind.TOP and desk.book()[1, 995] == 50_000_000


def test_a_crossed_book_is_invalid_though_its_checksum_is_right() -> None:
    desk = synced()
    bids = [("101.0", "1.00000000")]
    records = desk.frame(book_message("BTC/USD", "update", bids, [], sum_of(bids + BIDS, ASKS)))
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.CROSSED


def test_lots_coarser_than_the_wire_leave_the_checksum_exact() -> None:
    desk = Desk(qty_decimals=2)
    bids = [("100.0", "1.23456789"), ("99.0", "0.00000001")]
    desk.frame(book_message("BTC/USD", "snapshot", bids, ASKS, sum_of(bids, ASKS)))
    assert desk.state(SYNCED) == 1
    assert desk.book()[1, 1000] == 123 and desk.book()[1, 990] == 1, "rounded down, but never to nothing"
    assert desk.feed.scanner.counts[ScanCount.OFF_LOT] == 3


def test_texts_without_trailing_zeros_have_the_precision_that_the_venue_told() -> None:
    desk = Desk()
    short = [("100", "1"), ("99.0", "2.5")]
    long = [("100.0", "1.00000000"), ("99.0", "2.50000000")]
    desk.frame(INSTRUMENTS)
    desk.frame(book_message("BTC/USD", "snapshot", short, [], sum_of(long, [])))
    assert desk.state(SYNCED) == 1
    assert len(desk.frame(book_message("BTC/USD", "update", [("99.0", "3")], [], sum_of([long[0], ("99.0", "3.00000000")], [])))) == 2


def test_a_text_with_more_decimals_than_before_widens_the_book() -> None:
    desk = Desk()
    desk.frame(book_message("BTC/USD", "snapshot", [("100.0", "1.0")], [], sum_of([("100.0", "1.0")], [])))
    records = desk.frame(book_message("BTC/USD", "update", [("99.0", "2.25")], [], sum_of([("100.0", "1.00"), ("99.0", "2.25")], [])))
    assert kinds(records)[-1] == MarketKind.TOP and desk.state(WIRE_QTY) == 2


@pytest.mark.parametrize(("tick_units", "price"), [(5, "100.1"), (1, "100.01")])
def test_a_price_between_two_ticks_makes_the_book_invalid(tick_units: int, price: str) -> None:
    desk = Desk(tick_units=tick_units)
    desk.frame(snapshot())
    records = desk.frame(book_message("BTC/USD", "update", [(price, "1.00000000")], [], 0))
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.MALFORMED


@pytest.mark.parametrize(
    "broken", [b'"price":-1.0', b'"price":0.0', b'"price":"78858.8"', b'"price":78858.8,"price":78858.8', b'"price":NaN', b'"cost":1']
)
def test_a_malformed_update_makes_its_book_invalid_as_a_whole(broken: bytes) -> None:
    desk = synced()
    before = desk.book()
    records = desk.frame(UPDATE.replace(b'"price":78858.8', broken))
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.MALFORMED
    assert desk.book() == before and desk.count(FeedCounter.MALFORMED) == 1


def test_a_malformed_message_about_nothing_known_is_counted_only() -> None:
    desk = synced()
    for payload in (b"", b"{", b"[]", TRADE[:-1], TRADE.replace(b'"sell"', b'"hold"'), STATUS_FRAME.replace(b"]", b"")):
        assert len(desk.frame(payload)) == 0
    assert len(desk.frame(HEARTBEAT, Opcode.BINARY)) == 0
    assert desk.count(FeedCounter.MALFORMED) == 7 and desk.state(SYNCED) == 1


def test_trades_of_a_message_are_one_event() -> None:
    desk = Desk()
    records = desk.frame(TRADE)
    assert kinds(records) == [MarketKind.TRADE] * 2
    assert [bool(r["flags"] & MarketFlag.BID) for r in records] == [False, True], "the side is the taker's"
    assert records["venue_id"].tolist() == [4665906, 4665907] and records["qty_lots"].tolist() == [200_000, 150_000_000]
    assert len(desk.frame(TRADE.replace(b'"update"', b'"snapshot"'))) == 0, "history is no event"


def test_silence_of_a_book_means_nothing_while_heartbeats_come() -> None:
    desk = synced()
    desk.frame(snapshot("ETH/USD"))
    for _ in range(30):
        desk.now_ns += 1_000_000_000
        desk.frame(HEARTBEAT)
        assert len(desk.timer()) == 0
    assert desk.count(FeedCounter.HEARTBEATS) == 30
    desk.now_ns += SILENCE_NS
    assert len(desk.timer()) == 0, "at the limit, not beyond it"
    desk.now_ns += 1
    assert [int(desk.timer()[0]["venue_id"]) for _ in range(2)] == [InvalidReason.SILENT] * 2
    assert desk.feed.words[SHUTDOWN] == 0
    assert len(desk.timer()) == 0 and desk.feed.words[SHUTDOWN] == 1, "a dead connection is to be replaced"
    desk.disconnect()
    assert desk.feed.words[SHUTDOWN] == 0 and len(desk.timer()) == 0


def test_silence_of_one_symbol_counts_if_so_configured() -> None:
    desk = synced(by_connection=False)
    desk.now_ns += SILENCE_NS + 1
    desk.frame(HEARTBEAT)
    records = desk.timer()
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.SILENT
    assert desk.state(WANTS_SYNC) == 1 and len(desk.timer()) == 0


def test_a_refused_subscription_is_noticed() -> None:
    desk = Desk()
    desk.frame(REFUSED)
    assert desk.state(REFUSALS) == 1 and desk.state(WANTS_SYNC) == 1
    assert b"depth not supported" in desk.feed.refusal[: desk.feed.words[REFUSAL_BYTES]].tobytes()
    desk = synced()
    desk.frame(REFUSED)
    assert desk.state(SYNCED) == 1 and desk.state(WANTS_SYNC) == 0


def test_a_snapshot_that_never_comes_is_asked_for_again() -> None:
    desk = Desk()
    desk.frame(HEARTBEAT)
    desk.timer()
    desk.now_ns += SNAPSHOT_WAIT_NS
    desk.feed.words[kraken_feed.HEARD_NS] = desk.now_ns
    desk.timer()
    assert desk.state(WANTS_SYNC) == 0
    desk.now_ns += 1
    desk.timer()
    assert desk.state(WANTS_SYNC) == 1


def test_status_of_the_venue_and_of_pairs_is_kept() -> None:
    desk = Desk()
    desk.frame(STATUS_FRAME)
    assert desk.feed.words[SYSTEM_STATUS] == PairStatus.ONLINE
    desk.frame(STATUS_FRAME.replace(b"online", b"cancel_only"))
    assert desk.feed.words[SYSTEM_STATUS] == PairStatus.CANCEL_ONLY
    desk.frame(INSTRUMENTS)
    assert desk.state(STATUS) == PairStatus.ONLINE and desk.state(STATUS, 1) == PairStatus.UNKNOWN
    desk.frame(INSTRUMENTS.replace(b"snapshot", b"update").replace(b'"online"', b'"maintenance"'))
    assert desk.state(STATUS) == PairStatus.MAINTENANCE
    desk.frame(INSTRUMENTS.replace(b'"online"', b'"something_new"'))
    assert desk.state(STATUS) == PairStatus.OTHER


def test_a_disconnect_makes_every_book_invalid_and_wants_nothing() -> None:
    desk = synced()
    desk.frame(snapshot("ETH/USD"))
    assert [int(desk.disconnect()[0]["venue_id"]) for _ in range(2)] == [InvalidReason.DISCONNECTED] * 2
    assert len(desk.disconnect()) == 0
    assert [desk.state(WANTS_SYNC, row) for row in (0, 1)] == [0, 0]


def test_more_levels_than_there_is_room_for_make_the_book_invalid() -> None:
    desk = synced()
    desk.out = np.zeros(8, MARKET)
    bids = [(f"{90 - i}.0", "1.00000000") for i in range(4)]
    records = desk.frame(book_message("BTC/USD", "update", bids, [], 0))
    assert kinds(records) == [MarketKind.INVALID] and records[0]["venue_id"] == InvalidReason.BOOK_FULL


@pytest.mark.parametrize("depth", [0, 20, 27, 5000])
def test_a_depth_that_the_venue_has_not_is_refused(depth: int) -> None:
    with pytest.raises(ValueError, match="depth"):
        new_feed(instruments(), ["BTC/USD"], [0], 1000, 0, np.zeros(64, np.int64), depth)


@pytest.mark.parametrize(("seed", "depth"), [(1, 10), (2, 25), (3, 100)])
def test_the_feed_stands_where_the_naive_twin_stands(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    flow, naive, desk = KrakenFlow(seed, "BTC/USD", depth), NaiveKraken(depth), Desk(depth=depth)
    follower: dict[tuple[int, int], int] = {}
    valid = 0
    for n in range(600):
        where = f"seed {seed} message {n}"
        if n == 0 or (not naive.synced and rng.random() < 0.5):
            levels, what = flow.snapshot(), "snapshot"
        else:
            levels, what = flow.update(), "update"
        fault = rng.random()
        if fault < 0.01:
            levels = (*levels[:2], levels[2] ^ 1)
        elif fault < 0.02:
            continue
        said = getattr(naive, what)(*levels)
        records = desk.frame(flow.message(what, levels))
        if said == "":
            assert len(records) == 0, where
        elif said.startswith("INVALID"):
            assert kinds(records) == [MarketKind.INVALID] and int(records[0]["venue_id"]) == int(said.split()[1]), where
        else:
            valid += 1
            _follow(follower, records)
            wanted = {(1, int(p * 10)): int(q[1].replace(".", "")) for p, q in naive.bids.items()}
            wanted |= {(-1, int(p * 10)): int(q[1].replace(".", "")) for p, q in naive.asks.items()}
            assert desk.book() == wanted, where
            assert follower == wanted, f"{where}: whoever applies what was published has another book"
        assert desk.state(SYNCED) == naive.synced, where
    assert valid > 300, f"seed {seed}: too little of the rule was tried"


def _follow(book: dict[tuple[int, int], int], records: np.ndarray[Any, Any]) -> None:
    for record in records:
        if record["kind"] == MarketKind.RESET:
            book.clear()
        elif record["kind"] == MarketKind.LEVEL:
            side = 1 if record["flags"] & MarketFlag.BID else -1
            book.pop((side, int(record["price_ticks"])), None)
            if record["qty_lots"]:
                book[side, int(record["price_ticks"])] = int(record["qty_lots"])


def test_a_valid_book_is_published_again_as_it_is() -> None:
    desk = synced()
    records = desk.out[: int(republish(desk.feed, 0, 5, desk.out))]
    assert kinds(records) == [MarketKind.RESET, *[MarketKind.LEVEL] * 4, MarketKind.VALID, MarketKind.TOP]


def test_a_book_is_published_again_with_the_times_of_what_moved_it_and_a_snapshot_has_none_of_the_venue() -> None:
    desk = synced()
    desk.now_ns += 77
    bids = [("99.5", "9.00000000")]
    moved = desk.frame(book_message("BTC/USD", "update", bids, [], sum_of([BIDS[0], *bids, BIDS[1]], ASKS)))[-1]
    again = desk.out[: int(republish(desk.feed, 0, 5000, desk.out))]
    assert (again["received_ns"] == desk.now_ns).all() and again[-1]["exchange_ns"] == moved["exchange_ns"] > 0
    assert desk.frame(snapshot())[-1]["exchange_ns"] == 0


@pytest.mark.parametrize(
    ("name", "checksums", "snapshots", "updates"),
    [("kraken_v2/book10_btcusd_2026.jsonl", 4, 1, 3), ("kraken_v1/book1000_2021.ws", 4269, 10, 4269)],
)
def test_recorded_books_have_the_venues_checksums(
    recorded: Callable[[str], Path], name: str, checksums: int, snapshots: int, updates: int
) -> None:
    lines = recorded(name).read_bytes().splitlines()
    if name.endswith(".ws"):
        lines = [line.split(b": ", 1)[1] for line in lines if b": " in line and not line.startswith(b"ws")]
    whole = JIT_ENABLED or len(lines) < 400
    lines = lines if whole else lines[:400]
    player = Player(survey(lines))
    assert all(player.take(line) for line in lines)
    report = player.report()
    if not whole:
        assert report["compared"] == report["equal"] > 300 and report["refused"] == report["crossed"] == 0
        return
    assert (report["compared"], report["equal"], report["checksum_ok"], report["checksum_bad"]) == (checksums, checksums, checksums, 0)
    assert (report["snapshots"], report["book_updates"], report["crossed"], report["refused"]) == (snapshots, updates, 0, 0)


def test_the_recorded_instruments_are_read(recorded: Callable[[str], Path]) -> None:
    desk = Desk()
    desk.frame(recorded("kraken_v2/instrument_snapshot.json").read_bytes())
    assert [desk.state(STATUS, row) for row in (0, 1)] == [PairStatus.ONLINE] * 2
    assert desk.count(FeedCounter.MALFORMED) == 0
