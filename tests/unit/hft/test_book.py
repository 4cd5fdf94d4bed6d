"""Does the book keep levels as its naive twin does, and refuse what it cannot keep?"""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.book import (
    BOOK_FULL,
    CROSSED,
    MALFORMED,
    VALUE_LIMIT,
    Book,
    apply_levels,
    best_lots,
    best_ticks,
    book_at,
    check,
    clear,
    crossed,
    deepest_ticks,
    depth,
    level_count,
    level_lots,
    new_book,
    new_books,
    set_level,
    state_hash,
    worse_ticks,
)
from hft.records import MARKET, MarketFlag, MarketKind, Side
from shm.jit import JIT_ENABLED
from support.naive_book import NaiveBook

BUY, SELL = int(Side.BUY), int(Side.SELL)
STEPS = 20_000 if JIT_ENABLED else 2_000


def levels(book: Book, side: int) -> list[tuple[int, int]]:
    count = level_count(book, side)
    prices, lots = np.zeros(count, np.int64), np.zeros(count, np.int64)
    assert depth(book, side, count, prices, lots) == count
    return list(zip(prices.tolist(), lots.tolist(), strict=True))


@pytest.mark.parametrize("spread", [3, 40, 2000], ids=["dense", "middling", "sparse"])
@pytest.mark.parametrize("seed", range(3))
def test_book_equals_its_naive_twin_on_random_traffic(seed: int, spread: int) -> None:
    rng = random.Random(seed)
    book, naive = new_book(4096), NaiveBook()
    for step in range(STEPS):
        side = rng.choice((BUY, SELL))
        price = 10_000 - side * rng.randint(1, spread)
        lots = rng.choice((0, rng.randint(1, 10**12)))
        assert set_level(book, side, price, lots) == 0
        naive.set_level(side, price, lots)
        assert (best_ticks(book, side), best_lots(book, side)) == naive.best(side), f"seed {seed} step {step}"
        if step % 500 == 0:
            for each in (BUY, SELL):
                found = naive.levels(each)
                assert levels(book, each) == found, f"seed {seed} step {step}"
                assert deepest_ticks(book, each) == (found[-1][0] if found else 0), f"seed {seed} step {step}"
            assert check(book) == 0
    for each in (BUY, SELL):
        assert levels(book, each) == naive.levels(each)
        for price, lots in naive.levels(each):
            assert level_lots(book, each, price) == lots


def test_book_hash_is_the_same_whatever_the_order_of_updates() -> None:
    rng = random.Random(7)
    wanted = [(side, 1000 - side * i, rng.randint(1, 99)) for side in (BUY, SELL) for i in range(1, 200)]
    hashes = set()
    for _ in range(5):
        rng.shuffle(wanted)
        book = new_book(512)
        for side, price, lots in wanted:
            set_level(book, side, price, lots + 1)
            set_level(book, side, price - side * 500, 3)
        for side, price, lots in wanted:
            set_level(book, side, price, lots)
            set_level(book, side, price - side * 500, 0)
        hashes.add(int(state_hash(book)))
    assert len(hashes) == 1
    assert min(hashes) >= 0


def test_book_hash_differs_when_any_single_field_differs() -> None:
    def made(changes: dict[int, tuple[int, int, int]]) -> int:
        book = new_book(64)
        rows = [(BUY, 100 - i, 5 + i) for i in range(10)] + [(SELL, 101 + i, 5 + i) for i in range(10)]
        for i, row in enumerate(rows):
            set_level(book, *changes.get(i, row))
        return int(state_hash(book))

    base = made({})
    variants = [made({i: (BUY, 100 - i, 6 + i)}) for i in range(10)]
    variants += [made({i: (BUY, 100 - i, 5 + i + (1 << bit))}) for i in (0, 9) for bit in range(61)]
    variants += [made({9: (BUY, 100 - 9 - j, 14)}) for j in range(1, 50)]
    variants += [made({0: (BUY, 100, 6), 1: (BUY, 99, 5)}), made({19: (BUY, 50, 14)}), int(state_hash(new_book(64)))]
    assert base not in variants
    assert len(set(variants)) >= len(variants) - 2  # Two of the first ten are also in the second list.


@pytest.mark.parametrize(
    ("price", "lots", "code"),
    [(0, 1, MALFORMED), (-5, 1, MALFORMED), (5, -1, MALFORMED), (VALUE_LIMIT, 1, MALFORMED), (5, VALUE_LIMIT, MALFORMED)]
    + [(1, 1, 0), (VALUE_LIMIT - 1, VALUE_LIMIT - 1, 0), (1, 0, 0)],
)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_set_level_refuses_prices_and_sizes_outside_the_range(side: int, price: int, lots: int, code: int) -> None:
    book = new_book(4)
    assert set_level(book, side, price, lots) == code
    assert level_count(book, side) == (1 if code == 0 and lots else 0)


@pytest.mark.parametrize("side", [BUY, SELL])
def test_full_book_refuses_a_new_level_but_still_changes_and_removes(side: int) -> None:
    book = new_book(3)
    for price in (10, 20, 30):
        assert set_level(book, side, price, 1) == 0
    before = state_hash(book)
    assert set_level(book, side, 25, 1) == BOOK_FULL
    assert set_level(book, side, 25, 0) == 0
    assert state_hash(book) == before
    assert set_level(book, side, 20, 9) == 0
    assert set_level(book, side, 10, 0) == 0
    assert set_level(book, side, 25, 1) == 0
    assert sorted(levels(book, side)) == [(20, 9), (25, 1), (30, 1)]


def test_empty_book_has_no_best_and_is_not_crossed() -> None:
    book = new_book(4)
    assert (best_ticks(book, BUY), best_lots(book, SELL), level_lots(book, BUY, 5)) == (0, 0, 0)
    assert not crossed(book)
    assert check(book) == 0


@pytest.mark.parametrize(("ask", "code"), [(101, 0), (100, CROSSED), (99, CROSSED)])
def test_check_finds_a_crossed_book(ask: int, code: int) -> None:
    book = new_book(4)
    set_level(book, BUY, 100, 1)
    set_level(book, SELL, ask, 1)
    assert check(book) == code
    assert crossed(book) == (code == CROSSED)


#: The window moved up as a whole, or the far levels forgotten: another book, but no damage.
UNSEEN = {("state", 0, 1 << 40), ("state", 3, 0)}


@pytest.mark.parametrize("name", ["near_lots", "near_words", "near_sums", "far_keys", "far_lots", "state"])
def test_check_finds_damage(name: str) -> None:
    book = new_book(8, near_ticks=1024)
    for price in (5_000, 4_990, 4_000, 3_000, 2_000):
        assert set_level(book, BUY, price, 1) == 0
    assert check(book) == 0
    assert level_count(book, BUY) == 5
    array = getattr(book, name)[0]
    for i in range(len(array)):
        for value in (-1, 0, 1 << 40):
            before = array[i]
            array[i] = value
            if value != before and not (name.startswith("far") and i >= book.state[0, 3]):
                same = name.endswith("lots") and value > 0 and before > 0  # Another size is no damage.
                assert same or check(book) == MALFORMED or (name, i, value) in UNSEEN, f"{name}[{i}] {before} -> {value}"
            array[i] = before
    assert check(book) == 0


@pytest.mark.parametrize("seed", range(4))
def test_book_equals_its_naive_twin_when_its_window_is_narrow_and_prices_wander(seed: int) -> None:
    rng = random.Random(seed)
    book, naive = new_book(256, near_ticks=1024), NaiveBook()
    middle = 50_000
    for step in range(STEPS // 2):
        middle += rng.randint(-3, 3) if rng.random() < 0.99 else rng.randint(-3000, 3000)
        middle = min(max(middle, 5_000), 90_000)
        side = rng.choice((BUY, SELL))
        price = max(1, middle - side * int(rng.paretovariate(0.4)))
        lots = rng.choice((0, rng.randint(1, 9)))
        if rng.random() < 0.3 and naive.sides[side]:
            price, lots = rng.choice(list(naive.sides[side])), 0
        full = len(naive.sides[side]) == 256 and lots > 0 and price not in naive.sides[side]
        assert set_level(book, side, price, lots) == (BOOK_FULL if full else 0), f"seed {seed} step {step}"
        if not full:
            naive.set_level(side, price, lots)
        if step % 7 == 0:
            assert (best_ticks(book, side), best_lots(book, side)) == naive.best(side), f"seed {seed} step {step}"
        if step % 500 == 0:
            assert check(book) in (0, CROSSED)
            for each in (BUY, SELL):
                found = naive.levels(each)
                assert levels(book, each) == found, f"seed {seed} step {step}"
                assert deepest_ticks(book, each) == (found[-1][0] if found else 0), f"seed {seed} step {step}"
            if rng.random() < 0.1:
                clear(book)
                naive = NaiveBook()
                assert (check(book), level_count(book, BUY), level_count(book, SELL)) == (0, 0, 0)


def test_worse_ticks_steps_through_a_side_from_any_price() -> None:
    book = new_book(64, near_ticks=1024)
    prices = [9_000, 8_999, 8_000, 5_000, 4_999, 10]
    for price in prices:
        set_level(book, BUY, price, 1)
    assert [int(worse_ticks(book, BUY, price)) for price in prices] == [*prices[1:], 0]
    assert worse_ticks(book, BUY, VALUE_LIMIT - 1) == 9_000
    assert worse_ticks(book, BUY, 6_000) == 5_000
    assert worse_ticks(book, SELL, 1) == 0


def test_apply_levels_stops_at_the_first_level_it_refuses() -> None:
    records = np.zeros(4, MARKET)
    records["kind"] = MarketKind.LEVEL
    records["price_ticks"], records["qty_lots"] = [100, 101, 102, 103], [1, 2, 3, 4]
    records["flags"] = [int(MarketFlag.BID), 0, 0, 0]
    book = new_book(2)
    assert apply_levels(book, records, 0, 3) == 0
    assert (levels(book, BUY), levels(book, SELL)) == ([(100, 1)], [(101, 2), (102, 3)])
    assert apply_levels(book, records, 1, 3) == BOOK_FULL
    assert apply_levels(book, records, 0, 0) == 0


@pytest.mark.parametrize(("levels_max", "near_ticks"), [(0, 1024), (8, 0), (8, 1000), (8, -1024)])
def test_new_book_refuses_sizes_that_do_not_fit(levels_max: int, near_ticks: int) -> None:
    with pytest.raises(ValueError, match="near_ticks must be a positive multiple of 1024"):
        new_book(levels_max, near_ticks)


def test_clear_forgets_both_sides() -> None:
    book = new_book(4)
    set_level(book, BUY, 5, 1)
    set_level(book, SELL, 6, 1)
    clear(book)
    assert (level_count(book, BUY), level_count(book, SELL), best_ticks(book, SELL)) == (0, 0, 0)


def test_depth_gives_the_best_levels_first_and_no_more_than_asked() -> None:
    book = new_book(8)
    for i in range(5):
        set_level(book, SELL, 100 + i, i + 1)
    prices, lots = np.zeros(3, np.int64), np.zeros(3, np.int64)
    assert depth(book, SELL, 3, prices, lots) == 3
    assert prices.tolist() == [100, 101, 102]
    assert lots.tolist() == [1, 2, 3]


def test_books_of_many_instruments_do_not_touch_each_other() -> None:
    books = new_books(3, 4)
    set_level(book_at(books, 1), BUY, 7, 2)
    assert [int(best_ticks(book_at(books, i), BUY)) for i in range(3)] == [0, 7, 0]
    assert best_lots(book_at(books, 1), BUY) == 2


@pytest.mark.parametrize("seed", range(4))
def test_apply_levels_leaves_what_setting_each_level_leaves(seed: int) -> None:
    rng = random.Random(seed)
    one, other = new_book(64, near_ticks=1024), new_book(64, near_ticks=1024)
    records = np.zeros(32, MARKET)
    codes = set()
    for step in range(STEPS // 20):
        middle = 50_000 + step * rng.randint(-2, 2)
        count = rng.randrange(33)
        bid = rng.random() < 0.5
        for record in records[:count]:
            bid = bid if rng.random() < 0.9 else not bid
            record["flags"] = int(MarketFlag.BID) if bid else 0
            record["price_ticks"] = middle - (1 if bid else -1) * int(rng.paretovariate(rng.choice((0.3, 1.0)))) % 40_000
            record["qty_lots"] = rng.choice((0, rng.randint(1, 9)))
            if rng.random() < 0.002:
                record["price_ticks"], record["qty_lots"] = rng.choice(((0, 1), (-5, 1), (5, -1), (VALUE_LIMIT, 1), (5, VALUE_LIMIT)))
        first = rng.randrange(count + 1)
        code = 0
        for record in records[first:count]:
            code = set_level(other, BUY if record["flags"] & MarketFlag.BID else SELL, int(record["price_ticks"]), int(record["qty_lots"]))
            if code != 0:
                break
        codes.add(int(code))
        assert apply_levels(one, records, first, count - first) == code, f"seed {seed} step {step}"
        for name, array in one._asdict().items():
            assert array.tobytes() == getattr(other, name).tobytes(), f"seed {seed} step {step}: {name}"
        if code != 0:
            clear(one)
            clear(other)
    assert codes == {0, MALFORMED, BOOK_FULL}, f"seed {seed}: {codes}"
