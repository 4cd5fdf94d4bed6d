"""Feed: publishes whole events, loses none silently, and never lets one consumer hold up another."""

from __future__ import annotations

import random
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.config import load
from hft.counters import FeedCounter
from hft.http_client import Response, UnexpectedStatus
from hft.journal import append
from hft.journal import room as journal_room
from hft.journal_reader import JournalReader
from hft.records import InvalidReason, JournalKind, MarketFlag, MarketKind
from hft.replay import MarketJournal
from hft.venues.book_feed import WANTS_SYNC
from processes import calls, feed_stage
from processes.common import RESERVE_BYTES
from processes.errors import EngineError
from processes.feed import ANY_LOST, CLOCK_DUE_NS, FRAMES_MAX, NO_OFFSET, OFFSET_LEAST_NS
from processes.feed_stage import FeedStage
from processes.transport.connect import LinkEvent
from processes.transport.stream import TransportError
from processes.transport.wire import ACK_DUE, MESSAGES_IN, next_message, open_wire
from shm.ring import room
from support.binance_stream import SHUTDOWN, deliver, depth, quote, snapshot, trade
from support.engine import ROOT, Bench, paper_config
from support.feed_fakes import FakeLink, FakeRequests

STAGE = "feed.binance"
DEEP = ["market.binance.mm", "market.binance.execution"]
TOPS = ["market.binance.risk", "market.binance.portfolio"]
RINGS = DEEP + TOPS
#: UTC minus the clock of the test.
UTC_NS = 1_800_000_000_000_000_000
BIDS, ASKS = [("100.00", "1.00000"), ("99.00", "2.00000")], [("101.00", "3.00000")]
BOOK = ["RESET", "LEVEL", "LEVEL", "LEVEL", "VALID", "TOP"]
TOPS_OF_BOOK = ["RESET", "VALID", "TOP"]


class FeedBench(Bench):
    """A feed whose frames are put on the wire as picows does, with its cold side faked."""

    def __init__(self, folder: Path, requests: FakeRequests) -> None:
        super().__init__(folder, paper_config(lambda sections: sections["venues"]["binance"].update(transport="picows")), [STAGE])
        self.feed: FeedStage = self.stage(STAGE)  # type: ignore[assignment]
        self.requests = requests
        self.link = FakeLink()
        self.feed._link = self.link  # type: ignore[assignment]
        self.feed.context.words[CLOCK_DUE_NS] = 2**62

    def settle(self) -> None:
        """New rings are given each book as it stands; take that away."""
        for _ in range(16):
            self.turn(STAGE)
        for name in RINGS:
            self.take(name)

    def hears(self, *frames: bytes) -> int:
        for frame in frames:
            deliver(self.feed.wire, frame, self.now_ns)
        return self.turn(STAGE)

    def told(self, *names: str) -> list[list[str]]:
        """What came out on each ring, by the names of its kinds; the clock's records have tests of their own."""
        clock = MarketKind.CLOCK
        return [[MarketKind(kind).name for kind in self.take(name)["kind"] if kind and kind != clock] for name in names or RINGS]

    def sync(self, symbol: str = "BTCUSDT", last: int = 10) -> None:
        """A valid book at an update id, by way of the link and a REST snapshot."""
        if not self.link.open:
            self.link.brings(LinkEvent.OPENED)
        self.hears(depth(last - 5, last, symbol=symbol))
        self.feed.cold(self.now_ns)
        self.requests.made[-1].answer = snapshot(last, BIDS, ASKS)
        self.feed.cold(self.now_ns)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FeedBench]:
    requests = FakeRequests()
    monkeypatch.setattr(calls, "Request", requests)
    with FeedBench(tmp_path, requests) as bench:
        # An event is never stamped later than it is published.
        bench.now_ns -= 60_000_000_000
        monkeypatch.setattr(feed_stage, "monotonic_ns", lambda: bench.now_ns)
        monkeypatch.setattr(feed_stage, "realtime_ns", lambda: bench.now_ns + UTC_NS)
        yield bench


@pytest.fixture
def synced(bench: FeedBench) -> FeedBench:
    """Both consumers' kinds have a valid BTC book at id 10, and nothing is unread."""
    bench.settle()
    bench.sync()
    bench.told()
    return bench


def test_new_rings_are_told_that_no_book_is_valid_yet(bench: FeedBench) -> None:
    for _ in range(8):
        assert bench.turn(STAGE) == 1
    assert bench.turn(STAGE) == 0 and bench.feed.context.words[ANY_LOST] == 0
    for name in RINGS:
        records = bench.take(name)
        assert [(r["kind"], r["instrument"], r["venue_id"]) for r in records] == [
            (MarketKind.INVALID, instrument, InvalidReason.NEVER_SYNCED) for instrument in (0, 1)
        ]


def test_whole_book_goes_to_each_ring_with_levels_only_where_they_belong(bench: FeedBench) -> None:
    bench.settle()
    bench.sync()
    assert bench.told() == [BOOK, BOOK, TOPS_OF_BOOK, TOPS_OF_BOOK]
    assert bench.counter(STAGE, FeedCounter.BOOKS_VALID) == 1


def test_diff_reaches_deep_rings_whole_and_the_others_as_best_prices(synced: FeedBench) -> None:
    assert synced.hears(depth(11, 12, [("99.50", "1.00000")], [("101.00", "0.00000"), ("100.50", "2.00000")])) == 1
    taken = [synced.take(name) for name in RINGS]
    assert [[MarketKind(k).name for k in r["kind"]] for r in taken] == [["LEVEL"] * 3 + ["TOP"]] * 2 + [["TOP"]] * 2
    for records in taken:
        last = records[-1]
        assert last["flags"] & MarketFlag.LAST and last["decode_ns"] >= 0 and last["received_ns"] == synced.now_ns
        assert (last["price_ticks"], last["ask_ticks"]) == (10_000, 10_050)
    counters = {name: synced.counter(STAGE, FeedCounter[name]) for name in ("FRAMES", "TRADES", "QUOTES", "OVERRUNS")}
    assert counters == {"FRAMES": 2, "TRADES": 0, "QUOTES": 0, "OVERRUNS": 0}


def test_quotes_and_trades_go_to_all(synced: FeedBench) -> None:
    synced.hears(quote(11, BIDS[0], ASKS[0]), trade(5, "100.00", "0.10000"))
    assert synced.told() == [["QUOTE", "TRADE"]] * 4
    assert synced.counter(STAGE, FeedCounter.TRADES) == 1 and synced.counter(STAGE, FeedCounter.QUOTES) == 1


def test_turn_takes_a_bounded_number_of_frames(synced: FeedBench) -> None:
    for n in range(FRAMES_MAX + 4):
        deliver(synced.feed.wire, trade(n, "100.00", "0.10000"), synced.now_ns)
    assert [synced.turn(STAGE) for _ in range(3)] == [FRAMES_MAX, 4, 0]
    assert synced.told(DEEP[0]) == [["TRADE"] * (FRAMES_MAX + 4)]


def test_a_turn_with_frames_leaves_their_acknowledgement_to_the_next_without(synced: FeedBench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sender:
        receiver = listener.accept()[0]
        with receiver:
            receiver.setblocking(False)
            wire = synced.feed.wire
            open_wire(wire, receiver.fileno(), 1)
            synced.feed.context.direct[0] = 1
            assert (synced.turn(STAGE), wire.words[ACK_DUE]) == (0, 0)
            text = quote(11, BIDS[0], ASKS[0])
            sender.sendall(bytes((0x81, len(text))) + text)
            assert select.select([receiver], [], [], 10)[0]
            assert (synced.turn(STAGE), wire.words[ACK_DUE]) == (1, 1)
            assert (synced.turn(STAGE), wire.words[ACK_DUE]) == (0, 0)


@pytest.mark.parametrize("late", RINGS)
def test_full_ring_loses_the_instrument_and_nobody_elses(synced: FeedBench, late: str) -> None:
    synced.fill(late, leave=0)
    synced.hears(depth(11, 11, [("99.50", "1.00000")]))
    assert synced.counter(STAGE, FeedCounter.OVERRUNS) == 1 and synced.feed.context.words[ANY_LOST] == 1
    assert synced.told(*[name for name in RINGS if name != late]) == [
        ["LEVEL", "TOP"] if name in DEEP else ["TOP"] for name in RINGS if name != late
    ]
    synced.hears(depth(12, 12, [("99.25", "1.00000")]))
    assert synced.counter(STAGE, FeedCounter.OVERRUNS) == 1, "lost once, until it has the whole book again"
    assert room(synced.ring(late)) == 0


@pytest.mark.parametrize("late", [DEEP[0], TOPS[0]])
def test_lost_instrument_is_given_whole_when_half_the_ring_is_free(synced: FeedBench, late: str) -> None:
    ring = synced.ring(late)
    synced.fill(late, leave=0)
    synced.hears(depth(11, 11, [("99.50", "1.00000")]))
    synced.told(*[name for name in RINGS if name != late])
    half = ring.slots.size // 2
    synced.skip(late, half - 1)
    synced.hears(depth(12, 12, [("99.25", "1.00000")]))
    assert room(ring) == half - 1, "one slot too few: nothing is given"
    synced.skip(late, 1)
    synced.turn(STAGE)
    given = synced.take(late)
    given = given[given["kind"] != 0]
    assert [MarketKind(k).name for k in given["kind"]] == (["RESET"] + ["LEVEL"] * 5 + ["VALID", "TOP"] if late in DEEP else TOPS_OF_BOOK)
    assert (given["flags"] & MarketFlag.LOST != 0).tolist() == [True, *[False] * (len(given) - 2), True]
    assert (given["venue_id"] == 12).all()
    assert all("RESET" not in kinds for kinds in synced.told(*[name for name in RINGS if name != late])), "only the one that lost it"
    synced.hears(depth(13, 13, [("98.00", "1.00000")]))
    assert synced.told(late) == [["LEVEL", "TOP"] if late in DEEP else ["TOP"]]


def test_lost_instrument_that_is_invalid_by_then_is_told_so(synced: FeedBench) -> None:
    late = DEEP[1]
    synced.fill(late, leave=0)
    synced.hears(depth(11, 11, [("99.50", "1.00000")]), depth(20, 21))
    synced.take(late)
    synced.turn(STAGE)
    assert synced.take(late)["venue_id"].tolist() == [InvalidReason.GAP]


def test_other_instrument_goes_on_where_one_is_lost(synced: FeedBench) -> None:
    late = DEEP[0]
    synced.fill(late, leave=1)
    synced.hears(depth(11, 11, [("99.50", "1.00000")]))
    assert synced.feed.context.lost[:, 0].sum() == 1
    synced.hears(trade(1, "50.00", "1.0000", symbol="ETHUSDT"))
    assert synced.take(late)[-1]["kind"] == MarketKind.TRADE and synced.feed.context.lost[:, 1].sum() == 0


@pytest.mark.parametrize("seed", range(4))
def test_journal_says_byte_for_byte_what_each_ring_got(synced: FeedBench, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    begin = [MarketJournal(JournalReader(tmp_path, STAGE, 1), bit).end for bit in range(4)]
    got: dict[str, list[np.ndarray]] = {name: [] for name in RINGS}
    blank = dict.fromkeys(RINGS, 0)
    last = 10
    for _ in range(120):
        for name in RINGS:
            if chance.random() < 0.1:
                records = synced.take(name)
                got[name].append(records[records["kind"] != 0])
            elif chance.random() < 0.03:
                synced.fill(name, leave=chance.randrange(4))
                blank[name] += 1
        price = f"{chance.randrange(90, 100)}.00"
        last += 1
        synced.hears(
            *[depth(last, last, [(price, f"{chance.randrange(1, 5)}.00000")]), trade(last, price, "1.00000")][: chance.randrange(1, 3)]
        )
    for _ in range(20):
        for name in RINGS:
            records = synced.take(name)
            got[name].append(records[records["kind"] != 0])
        synced.turn(STAGE)
    assert sum(blank.values()) and synced.counter(STAGE, FeedCounter.OVERRUNS), f"seed {seed} overran nothing"
    spec = synced.feed.spec
    for bit, ring in enumerate(spec.outputs):
        journal = MarketJournal(JournalReader(tmp_path, STAGE, 1), bit)
        name = ring.name
        said, heard = journal.records(begin[bit], journal.end), np.concatenate(got[name])
        assert said["kind"].tolist() == heard["kind"].tolist() and said.tobytes() == heard.tobytes(), f"seed {seed}, ring {name}"


def test_silence_of_a_book_makes_it_invalid_at_every_consumer(synced: FeedBench) -> None:
    synced.now_ns += 5_000_000_001
    synced.turn(STAGE)
    for name in RINGS:
        records = synced.take(name)
        assert [(r["kind"], r["venue_id"]) for r in records] == [(MarketKind.INVALID, InvalidReason.SILENT)], name


def test_end_of_the_connection_makes_books_invalid_and_the_next_one_begins_anew(synced: FeedBench) -> None:
    synced.hears(depth(12, 12, symbol="ETHUSDT"))
    synced.feed.cold(synced.now_ns)
    pending = synced.requests.made[-1]
    synced.link.brings(LinkEvent.ENDED)
    synced.feed.cold(synced.now_ns)
    assert pending.closed and synced.told() == [["INVALID"]] * 4
    assert synced.counter(STAGE, FeedCounter.DISCONNECTS) == 1 and synced.counter(STAGE, FeedCounter.BOOKS_VALID) == 0
    synced.now_ns += 10_000_000_000
    synced.sync(last=500)
    assert synced.told(DEEP[0]) == [BOOK] and synced.counter(STAGE, FeedCounter.CONNECTS) == 2


def test_snapshot_is_asked_for_once_and_only_over_an_open_connection(bench: FeedBench) -> None:
    bench.settle()
    bench.hears(depth(5, 6))
    bench.feed.cold(bench.now_ns)
    assert bench.requests.made == []
    bench.link.brings(LinkEvent.OPENED)
    bench.feed.cold(bench.now_ns)
    bench.hears(depth(7, 8))
    bench.feed.cold(bench.now_ns)
    assert [r.url for r in bench.requests.made] == ["http://127.0.0.1/api/v3/depth?symbol=BTCUSDT&limit=1000"]
    assert bench.requests.made[0].deadline_ns > bench.now_ns


@pytest.mark.parametrize(
    ("error", "wait_ns"),
    [(TransportError("no"), 250_000_000), (UnexpectedStatus("429", Response(429, (("retry-after", "7"),), b"")), 7_000_000_000)],
)
def test_failed_snapshot_is_asked_for_again_no_sooner_than_the_venue_wants(bench: FeedBench, error: Any, wait_ns: int) -> None:
    bench.settle()
    bench.link.brings(LinkEvent.OPENED)
    bench.hears(depth(5, 6))
    bench.feed.cold(bench.now_ns)
    bench.requests.made[-1].answer = error
    bench.feed.cold(bench.now_ns)
    bench.feed.cold(bench.now_ns + wait_ns - 1)
    assert len(bench.requests.made) == 1
    bench.feed.cold(bench.now_ns + wait_ns)
    assert len(bench.requests.made) == 2


def test_request_that_cannot_even_begin_is_tried_again_later(bench: FeedBench) -> None:
    bench.settle()
    bench.link.brings(LinkEvent.OPENED)
    bench.requests.refusal = TransportError("no route")
    bench.hears(depth(5, 6))
    bench.feed.cold(bench.now_ns)
    bench.requests.refusal = None
    bench.feed.cold(bench.now_ns + 249_999_999)
    assert bench.requests.made == []
    bench.feed.cold(bench.now_ns + 250_000_000)
    assert len(bench.requests.made) == 1


def test_stale_snapshot_leads_to_another_a_moment_later(bench: FeedBench) -> None:
    bench.settle()
    bench.link.brings(LinkEvent.OPENED)
    bench.hears(depth(50, 51))
    bench.feed.cold(bench.now_ns)
    bench.requests.made[-1].answer = snapshot(10, BIDS, ASKS)
    bench.feed.cold(bench.now_ns)
    assert bench.told() == [[]] * 4
    bench.feed.cold(bench.now_ns + 250_000_000)
    bench.requests.made[-1].answer = snapshot(50, BIDS, ASKS)
    bench.feed.cold(bench.now_ns + 250_000_000)
    assert len(bench.requests.made) == 2 and bench.told(DEEP[0]) == [BOOK]


def standby(bench: FeedBench) -> FakeLink:
    """Where the next connection is opened, beside the one that is there."""
    link = FakeLink()

    def make(wire: Any) -> FakeLink:
        link.wire = wire
        return link

    bench.feed._make_link = make  # type: ignore[assignment]
    return link


def test_a_connection_whose_end_was_announced_is_replaced_before_it_ends(synced: FeedBench) -> None:
    bench, second = synced, standby(synced)
    bench.hears(SHUTDOWN)
    bench.feed.cold(bench.now_ns)
    assert bench.link.dropped == 0 and second.wire is not None
    second.brings(LinkEvent.OPENED)
    bench.feed.cold(bench.now_ns)
    # Both deliver: what comes twice counts once.
    open_wire(second.wire, -1, 1)
    deliver(second.wire, depth(11, 12, [("99.50", "1.00000")]), bench.now_ns)
    bench.hears(depth(11, 12, [("99.50", "1.00000")]))
    bench.feed.cold(bench.now_ns)
    assert bench.link.dropped == 0 and bench.told(DEEP[0]) == [["LEVEL", "TOP"]]
    bench.now_ns += 2_000_000_000
    bench.feed.cold(bench.now_ns)
    assert bench.link.dropped == 1 and bench.feed._link is second and bench.feed.wire is second.wire
    deliver(bench.feed.wire, depth(13, 13, [("99.40", "1.00000")]), bench.now_ns)
    bench.turn(STAGE)
    assert bench.told(DEEP[0]) == [["LEVEL", "TOP"]]
    assert bench.counter(STAGE, FeedCounter.BOOKS_VALID) == 1 and bench.counter(STAGE, FeedCounter.DISCONNECTS) == 0


def overlapping(bench: FeedBench) -> FakeLink:
    """A second connection, open beside the first."""
    second = standby(bench)
    bench.hears(SHUTDOWN)
    bench.feed.cold(bench.now_ns)
    assert second.wire is not None
    open_wire(second.wire, -1, 1)
    second.brings(LinkEvent.OPENED)
    bench.feed.cold(bench.now_ns)
    return second


def test_what_either_of_two_connections_brings_first_counts_at_once_and_only_once(synced: FeedBench) -> None:
    second = overlapping(synced)
    deliver(second.wire, depth(11, 11, [("99.50", "1.00000")]), synced.now_ns)
    deliver(second.wire, trade(5, "100.00", "0.10000"), synced.now_ns)
    synced.feed.cold(synced.now_ns)
    assert synced.told(DEEP[0]) == [["LEVEL", "TOP", "TRADE"]] and synced.link.dropped == 0
    # The first is behind, and a diff that is ahead waits for it.
    deliver(second.wire, depth(13, 13, [("99.30", "1.00000")]), synced.now_ns)
    synced.feed.cold(synced.now_ns)
    synced.hears(depth(11, 11, [("99.50", "1.00000")]), trade(5, "100.00", "0.10000"))
    assert synced.told(DEEP[0]) == [[]]
    synced.hears(depth(12, 12, [("99.40", "1.00000")]))
    assert synced.told(DEEP[0]) == [["LEVEL", "LEVEL", "TOP"]]
    assert synced.counter(STAGE, FeedCounter.GAPS) == 0 and synced.counter(STAGE, FeedCounter.BOOKS_VALID) == 1


@pytest.mark.parametrize("how", ["it ended", "its time was over"])
def test_once_the_first_connection_is_gone_what_is_missing_is_a_gap_at_once(synced: FeedBench, how: str) -> None:
    second = overlapping(synced)
    deliver(second.wire, depth(11, 11, [("99.50", "1.00000")]), synced.now_ns)
    synced.feed.cold(synced.now_ns)
    synced.told()
    if how == "it ended":
        synced.link.brings(LinkEvent.ENDED)
    else:
        synced.now_ns += 2_000_000_000
    synced.feed.cold(synced.now_ns)
    assert synced.feed._link is second and synced.counter(STAGE, FeedCounter.BOOKS_VALID) == 1
    deliver(synced.feed.wire, depth(13, 13), synced.now_ns)
    synced.turn(STAGE)
    assert synced.told(DEEP[0]) == [["INVALID"]] and synced.counter(STAGE, FeedCounter.GAPS) == 1


def test_a_busy_second_connection_is_drained_while_the_first_goes_on(synced: FeedBench) -> None:
    second = overlapping(synced)
    for n in range(3 * len(second.wire.frames)):
        deliver(second.wire, trade(n, "100.00", "0.10000"), synced.now_ns)
        if n % 200 == 199:
            synced.feed.cold(synced.now_ns)
            assert next_message(second.wire) < 0, "nothing waits"
            synced.told()
    assert synced.counter(STAGE, FeedCounter.TRADES) > 2 * len(second.wire.frames)


def test_a_second_connection_that_has_not_delivered_does_not_take_over(synced: FeedBench) -> None:
    second = standby(synced)
    synced.hears(SHUTDOWN)
    synced.feed.cold(synced.now_ns)
    second.wire.words[MESSAGES_IN] = 7  # of an earlier connection on the same wire
    second.brings(LinkEvent.OPENED)
    synced.feed.cold(synced.now_ns)
    synced.feed.cold(synced.now_ns + 4_000_000_000)
    assert synced.feed._link is synced.link and synced.link.dropped == 0


def test_snapshots_that_were_to_be_asked_for_are_asked_for_by_the_second_connection(bench: FeedBench) -> None:
    bench.settle()
    bench.link.brings(LinkEvent.OPENED)
    bench.hears(depth(5, 6), depth(5, 6, symbol="ETHUSDT"))
    bench.feed._market.session.tick = bench.feed._market.session.resync = lambda *_: []  # type: ignore[union-attr, method-assign]
    bench.feed.cold(bench.now_ns)
    assert not bench.feed._market.feed.state[:, WANTS_SYNC].any()  # type: ignore[union-attr]
    second = standby(bench)
    bench.hears(SHUTDOWN)
    bench.feed.cold(bench.now_ns)
    second.brings(LinkEvent.OPENED)
    asked: list[int] = []
    bench.feed._market.session.resync = lambda row, _: asked.append(row) or []  # type: ignore[union-attr, method-assign, func-returns-value]
    bench.feed.cold(bench.now_ns)
    assert asked == [0, 1]


def test_where_repeats_cannot_be_told_the_second_connection_begins_every_book_anew(synced: FeedBench) -> None:
    assert synced.feed._market is not None
    synced.feed._market = synced.feed._market._replace(overlap_until=None)
    second = standby(synced)
    said: list[Any] = []
    synced.feed._say = lambda outgoing, wire: said.append(wire)  # type: ignore[method-assign]
    synced.hears(SHUTDOWN)
    synced.feed.cold(synced.now_ns)
    assert synced.told() == [[]] * 4, "the first goes on while there is no other"
    said.clear()
    second.brings(LinkEvent.OPENED)
    synced.feed.cold(synced.now_ns)
    assert synced.feed._link is second and synced.link.dropped == 1 and said[0] is second.wire
    assert synced.told() == [["INVALID"]] * 4, "no book goes back to what it was when it was subscribed"
    assert [synced.counter(STAGE, FeedCounter[name]) for name in ("CONNECTS", "DISCONNECTS")] == [2, 1]


def test_a_second_connection_takes_over_when_the_first_ends_early(synced: FeedBench) -> None:
    second = standby(synced)
    synced.hears(SHUTDOWN)
    synced.feed.cold(synced.now_ns)
    second.brings(LinkEvent.OPENED)
    synced.feed.cold(synced.now_ns)
    synced.link.brings(LinkEvent.ENDED)
    synced.feed.cold(synced.now_ns)
    assert synced.feed._link is second and synced.told() == [[]] * 4
    assert [synced.counter(STAGE, FeedCounter[name]) for name in ("CONNECTS", "DISCONNECTS")] == [2, 1]


def test_a_second_connection_that_opens_when_the_first_has_ended_takes_over_at_once(synced: FeedBench) -> None:
    second = standby(synced)
    synced.hears(SHUTDOWN)
    synced.feed.cold(synced.now_ns)
    synced.link.brings(LinkEvent.ENDED)
    synced.feed.cold(synced.now_ns)
    second.brings(LinkEvent.OPENED)
    synced.feed.cold(synced.now_ns)
    assert synced.feed._link is second
    assert [synced.counter(STAGE, FeedCounter[name]) for name in ("CONNECTS", "DISCONNECTS")] == [2, 1]


def test_without_a_second_connection_the_first_is_kept_until_it_ends(synced: FeedBench) -> None:
    second = standby(synced)
    synced.hears(SHUTDOWN)
    for _ in range(3):
        second.brings(LinkEvent.FAILED)
        synced.feed.cold(synced.now_ns)
    assert synced.link.dropped == 0 and synced.counter(STAGE, FeedCounter.BOOKS_VALID) == 1
    synced.link.brings(LinkEvent.ENDED)
    synced.feed.cold(synced.now_ns)
    assert synced.told() == [["INVALID"]] * 4


def test_an_old_connection_is_replaced_before_the_venue_cuts_it(synced: FeedBench) -> None:
    second = standby(synced)
    synced.feed.cold(synced.now_ns + 23 * 3_600_000_000_000)
    assert second.wire is None
    synced.feed.cold(synced.now_ns + 24 * 3_600_000_000_000)
    assert second.wire is not None


def test_the_venues_clock_is_told_by_the_least_delay(synced: FeedBench) -> None:
    event_ns, words = 1_800_000_000_000 * 1_000_000, synced.feed.context.words
    words[CLOCK_DUE_NS], words[OFFSET_LEAST_NS] = 0, NO_OFFSET
    synced.hears(depth(11, 11, [("99.50", "1.00000")]), depth(12, 12, [("99.50", "2.00000")]))
    for ring in RINGS:
        (clock,) = [each for each in synced.take(ring) if each["kind"] == MarketKind.CLOCK]
        assert (clock["received_ns"], clock["exchange_ns"]) == (synced.now_ns, synced.now_ns + UTC_NS)
        assert clock["venue_id"] == synced.now_ns + UTC_NS - event_ns
    assert synced.counter(STAGE, FeedCounter.CLOCK_OFFSET_US) == (synced.now_ns + UTC_NS - event_ns) // 1000


def clocks(bench: FeedBench) -> list[int]:
    """By how much the venue's clock was said to be behind ours."""
    return [int(each["venue_id"]) for each in bench.take(TOPS[0]) if each["kind"] == MarketKind.CLOCK]


def test_a_step_of_our_clock_is_told_within_a_quarter_of_a_second_also_when_the_venue_says_nothing(
    synced: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced.hears(depth(11, 11, [("99.50", "1.00000")]))
    synced.feed.context.words[CLOCK_DUE_NS] = 0
    synced.turn(STAGE)
    (before_ns,) = clocks(synced)
    monkeypatch.setattr(feed_stage, "realtime_ns", lambda: synced.now_ns + UTC_NS + 3_600_000_000_000)
    synced.feed.cold(synced.now_ns)
    synced.turn(STAGE, after_ns=249_999_999)
    assert clocks(synced) == []
    synced.turn(STAGE, after_ns=1)
    assert clocks(synced) == [before_ns + 3_600_000_000_000]


def test_no_clock_is_told_before_an_event_that_has_a_time_and_what_is_known_goes_to_the_next_epoch(
    synced: FeedBench, tmp_path: Path
) -> None:
    words = synced.feed.context.words
    words[CLOCK_DUE_NS], words[OFFSET_LEAST_NS] = 0, NO_OFFSET
    synced.turn(STAGE)
    assert clocks(synced) == []
    synced.hears(depth(11, 11, [("99.50", "1.00000")]))
    known = clocks(synced)
    synced.feed.cold(synced.now_ns)
    synced.loop.close("epoch 2 follows")
    synced.resources.epoch, synced.resources.folder = 2, tmp_path / "2"
    synced.resources.rings.clear()
    synced.loop.attach(synced.resources)
    synced.turn(STAGE)
    assert clocks(synced) == [], "nobody has read our clock yet"
    synced.feed.cold(synced.now_ns)
    synced.turn(STAGE)
    assert len(known) == 1 and clocks(synced) == known


def test_failed_attempt_changes_nothing(synced: FeedBench) -> None:
    synced.link.brings(LinkEvent.FAILED)
    synced.link.error = TransportError("refused")
    synced.feed.cold(synced.now_ns)
    assert synced.told() == [[]] * 4 and synced.counter(STAGE, FeedCounter.DISCONNECTS) == 0


def test_end_of_the_process_lets_go_of_the_connection_and_of_requests(bench: FeedBench) -> None:
    bench.settle()
    bench.link.brings(LinkEvent.OPENED)
    bench.hears(depth(5, 6))
    bench.feed.cold(bench.now_ns)
    bench.feed.disconnect(bench.now_ns)
    assert bench.link.dropped == 1 and bench.requests.made[-1].closed


def begin_epoch(bench: FeedBench, folder: Path) -> None:
    """Epoch 2 begins on new rings, and the feed has turns to fill them."""
    bench.loop.close("epoch 2 follows")
    bench.resources.epoch, bench.resources.folder = 2, folder
    bench.resources.rings.clear()
    bench.loop.attach(bench.resources)
    for _ in range(9):
        bench.turn(STAGE)


def test_switch_of_epoch_keeps_the_books_and_gives_them_to_the_new_rings(synced: FeedBench, tmp_path: Path) -> None:
    begin_epoch(synced, tmp_path / "2")
    assert synced.told(DEEP[0], TOPS[0]) == [[*BOOK, "INVALID"], [*TOPS_OF_BOOK, "INVALID"]]
    synced.hears(depth(11, 11))
    assert synced.told(DEEP[0]) == [["TOP"]]


@pytest.mark.parametrize("moved", [True, False], ids=["moved by a diff", "as the snapshot was"])
def test_a_book_is_as_old_on_new_rings_as_it_was_on_the_old_ones(synced: FeedBench, tmp_path: Path, moved: bool) -> None:
    """Risk refuses a stale book by both times of its TOP; nothing was heard since."""
    if moved:
        synced.now_ns += 1_000_000
        synced.hears(depth(11, 11, [("99.50", "1.00000")]))
        stamps = synced.take(TOPS[0])[-1][["received_ns", "exchange_ns"]]
        assert stamps["exchange_ns"] > 0
    else:
        stamps = np.array((synced.now_ns, 0), [("received_ns", "<i8"), ("exchange_ns", "<i8")])
    synced.now_ns += 700_000_000
    begin_epoch(synced, tmp_path / "2")
    top = next(record for record in synced.take(TOPS[0]) if record["kind"] == MarketKind.TOP)
    assert (top["received_ns"], top["exchange_ns"]) == (stamps["received_ns"], stamps["exchange_ns"])


def test_stage_connects_by_its_transport_to_every_symbols_streams(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = []
    monkeypatch.setattr(feed_stage, "DirectLink", lambda settings, *rest: made.append(settings) or FakeLink())
    with Bench(tmp_path, None, [STAGE]) as bench:
        stage: FeedStage = bench.stage(STAGE)  # type: ignore[assignment]
        assert not stage.uses_event_loop and stage.context.direct[0] == 1
        assert stage.cold(bench.now_ns) == 0, "nothing is done before it is told to connect"
        stage.connect(None, lambda: None)
        assert isinstance(stage._link, FakeLink)
        stage.warm()
    streams = "/".join(f"{symbol}@{kind}" for symbol in ("btcusdt", "ethusdt") for kind in ("depth@100ms", "bookTicker", "trade"))
    assert [settings.url for settings in made] == [f"ws://127.0.0.1/stream?streams={streams}"]


def many(count: int, first: int = 1) -> list[tuple[str, str]]:
    return [(f"{first + n // 100}.{n % 100:02d}", "1.00000") for n in range(count)]


def leave_in_journal(bench: FeedBench, n_bytes: int) -> None:
    """Fill the journal's file with one entry, but for so many bytes."""
    common = bench.feed.context.common
    filler = np.zeros(journal_room(common.journal) - n_bytes - 64 & ~7, np.uint8)
    assert append(common.journal, int(JournalKind.POSITION), 0, 0, filler, 0, filler.size) > 0
    assert n_bytes <= journal_room(common.journal) < n_bytes + 200


def test_event_that_the_journal_file_cannot_take_is_lost_by_all_and_comes_back_in_the_next(synced: FeedBench) -> None:
    leave_in_journal(synced, RESERVE_BYTES + 1000)
    synced.hears(depth(11, 11, many(4500)))
    assert synced.told() == [[]] * 4 and synced.counter(STAGE, FeedCounter.JOURNAL_FULL) == 1
    for _ in range(8):
        synced.feed.cold(synced.now_ns)
        synced.turn(STAGE)
    given = synced.told()
    assert [len(kinds) for kinds in given] == [4506, 4506, 3, 3] and given[0][0] == "RESET" and given[2] == TOPS_OF_BOOK
    assert synced.feed.context.words[ANY_LOST] == 0 and synced.counter(STAGE, FeedCounter.JOURNAL_FULL) == 1


def test_whole_book_waits_for_the_journal_file_that_can_take_it(synced: FeedBench) -> None:
    synced.hears(depth(11, 11, many(4500)))
    synced.told()
    late = DEEP[0]
    synced.fill(late, leave=0)
    synced.hears(depth(12, 12, [("99.50", "1.00000")]))
    synced.told()
    leave_in_journal(synced, RESERVE_BYTES + 1000)
    synced.turn(STAGE)
    assert synced.told(late) == [[]]
    synced.feed.cold(synced.now_ns)
    synced.turn(STAGE)
    assert len(synced.told(late)[0]) == 4507


def test_event_that_no_journal_file_can_take_stops_the_stage(synced: FeedBench) -> None:
    leave_in_journal(synced, RESERVE_BYTES + 1000)
    synced.hears(depth(11, 11, many(7000), many(7000, 200)))
    with pytest.raises(EngineError, match="rather than act unrecorded"):
        synced.feed.cold(synced.now_ns)


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_a_feed_says_nothing_of_the_instruments_of_other_venues(tmp_path: Path, venue: str) -> None:
    config = load(ROOT / "configs" / "paper.toml")
    with Bench(tmp_path, config, [f"feed.{venue}"]) as bench:
        for _ in range(2 * len(config.instruments)):
            bench.turn(f"feed.{venue}")
        for consumer in ("mm", "risk", "portfolio", "execution"):
            told = {list(config.instruments)[record["instrument"]] for record in bench.take(f"market.{venue}.{consumer}")}
            assert told == {name for name in config.instruments if name.endswith(venue.upper())}
