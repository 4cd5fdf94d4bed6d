"""Books and their views: what followers are told suffices for their books and checksums, whatever the depth."""

import json
import random

import pytest

from hft.sim.kraken.book import REPEAT_PERIOD, PublicBook
from hft.sim.kraken.pairs import PAIRS
from hft.sim.market import BookText, DepthUpdate
from support.krakensim import BookFollower

PAIR = PAIRS["BTC/USD"]
STAMP = "2026-08-24T22:21:57.110183Z"
#: The example of the venue's documentation; its checksum is published with it.
EXAMPLE_ASKS = (
    "45285.2 0.00100000, 45286.4 1.54571953, 45286.6 1.54571109, 45289.6 1.54560911, 45290.2 0.15890660, 45291.8 1.54553491, "
    "45294.7 0.04454749, 45296.1 0.35380000, 45297.5 0.09945542, 45299.5 0.18772827"
)
EXAMPLE_BIDS = (
    "45283.5 0.10000000, 45283.4 1.54582015, 45282.1 0.10000000, 45281.0 0.10000000, 45280.3 1.54592586, 45279.0 0.07990000, "
    "45277.6 0.03310103, 45277.5 0.30000000, 45277.3 1.54602737, 45276.6 0.15445238"
)
EXAMPLE_CHECKSUM = 3310070434


def levels(text):
    """As a market writes them, with 8 decimals."""
    pairs = [level.split() for level in text.split(", ")]
    return [(f"{price}0000000", qty) for price, qty in pairs]


def example():
    book = PublicBook(PAIR)
    book.load(BookText(1, levels(EXAMPLE_BIDS), levels(EXAMPLE_ASKS)))
    book.take_changes()
    return book


def price(ticks):
    return f"{ticks // 10}.{ticks % 10}0000000"


def qty(lots):
    return f"{lots // 10**8}.{lots % 10**8:08d}"


def test_the_published_example_has_the_published_checksum():
    book = example()
    assert book.checksum() == EXAMPLE_CHECKSUM
    data = json.loads(book.view(10).snapshot(STAMP))["data"][0]
    assert data["checksum"] == EXAMPLE_CHECKSUM and data["symbol"] == "BTC/USD" and data["timestamp"] == STAMP
    assert BookFollower(10).message(book.view(10).snapshot(STAMP))


def test_numbers_keep_their_zeros():
    snapshot = example().view(10).snapshot(STAMP)
    assert b'{"price":45281.0,"qty":0.10000000}' in snapshot


def test_a_level_that_falls_out_of_the_depth_is_not_told():
    book = example()
    view = book.view(10)
    book.apply(DepthUpdate(0, "BTC/USD", 2, 2, [("45283.60000000", "1.00000000")], []))
    (data,) = json.loads(view.update(*book.take_changes(), STAMP, lambda: False))["data"]
    assert data["bids"] == [{"price": 45283.6, "qty": 1.0}] and data["asks"] == []


def test_a_level_that_moves_up_into_the_depth_is_told_after_the_one_that_left():
    book = example()
    book.apply(DepthUpdate(0, "BTC/USD", 2, 2, [("45000.00000000", "2.00000000")], []))
    book.take_changes()
    view = book.view(10)
    book.apply(DepthUpdate(0, "BTC/USD", 3, 3, [("45283.40000000", "0.00000000")], []))
    message = view.update(*book.take_changes(), STAMP, lambda: False)
    assert b'"bids":[{"price":45283.4,"qty":0.00000000},{"price":45000.0,"qty":2.00000000}]' in message


def test_changes_below_the_depth_are_not_told_at_all():
    book = example()
    view = book.view(10)
    book.apply(DepthUpdate(0, "BTC/USD", 2, 2, [("45000.00000000", "2.00000000")], []))
    assert view.update(*book.take_changes(), STAMP, lambda: False) is None


def test_best_prices_that_run_ahead_of_the_diffs_remove_what_is_better():
    book = example()
    book.apply_best(("45282.10000000", "0.20000000"), ("45285.20000000", "0.00100000"))
    assert book.best() == ((452821, 20_000_000), (452852, 100_000))


@pytest.mark.parametrize("depth", [10, 25, 100])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_followers_who_cut_late_or_early_have_the_books_top_and_every_checksum_holds(depth, early, seed):
    rng = random.Random(seed)
    book = PublicBook(PAIR)
    bids, asks = ({ticks: rng.randrange(1, 10**9) for ticks in rng.sample(span, 60)} for span in (range(1000, 2000), range(2000, 3000)))
    book.load(BookText(1, [(price(t), qty(q)) for t, q in bids.items()], [(price(t), qty(q)) for t, q in asks.items()]))
    book.take_changes()
    view, follower = book.view(depth), BookFollower(depth, early)
    assert follower.message(view.snapshot(STAMP))
    for step in range(300):
        updates = []
        for side, low, best in ((bids, 1000, max), (asks, 2000, min)):
            changes = {}
            for _ in range(rng.randrange(4)):
                near = best(side) + rng.randrange(-15, 15) if side else low
                ticks = min(max(near, low), low + 999)
                changes[ticks] = 0 if rng.random() < 0.45 else rng.randrange(1, 10**9)
            updates.append([(price(t), qty(q)) for t, q in changes.items()])
            side.update(changes)
            for ticks in [ticks for ticks, lots in side.items() if not lots]:
                del side[ticks]
        book.apply(DepthUpdate(0, "BTC/USD", step, step, *updates))
        message = view.update(*book.take_changes(), STAMP, lambda: False)
        if message is not None:
            assert follower.message(message), f"seed {seed} step {step}"
        for name, side in (("bids", bids), ("asks", asks)):
            expected = sorted(side, reverse=name == "bids")[:depth]
            assert follower.levels(name) == [(price(t)[:-7], qty(side[t])) for t in expected], f"seed {seed} step {step}"
    assert follower.checked > REPEAT_PERIOD


def test_some_messages_tell_a_level_twice():
    book = example()
    view = book.view(10)
    repeats = []
    for step in range(3 * REPEAT_PERIOD):
        book.apply(DepthUpdate(0, "BTC/USD", step, step, [("45283.50000000", qty(1000 + step))], []))
        (data,) = json.loads(view.update(*book.take_changes(), STAMP, lambda: False))["data"]
        repeats.append(len(data["bids"]))
    assert repeats.count(2) == 3 and repeats.count(1) == len(repeats) - 3


def test_a_spoiled_checksum_is_wrong_once():
    book = example()
    view = book.view(10)
    follower = BookFollower(10)
    follower.message(view.snapshot(STAMP))
    for spoiled in (False, True, False):
        book.apply(DepthUpdate(0, "BTC/USD", 2, 2, [("45283.50000000", qty(1000 + follower.checked))], []))
        assert follower.message(view.update(*book.take_changes(), STAMP, lambda spoiled=spoiled: spoiled)) is not spoiled


def test_a_crossing_level_comes_with_a_checksum_that_includes_it():
    book = example()
    view, follower = book.view(10), BookFollower(10)
    follower.message(view.snapshot(STAMP))
    book.apply(DepthUpdate(0, "BTC/USD", 2, 2, [("45283.50000000", "0.50000000")], []))
    assert follower.message(view.cross(view.update(*book.take_changes(), STAMP, lambda: False)))
    assert follower.levels("bids")[0][0] == "45286.4" and follower.levels("asks")[0][0] == "45285.2"
