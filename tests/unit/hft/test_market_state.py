"""Market state: every consumer applies the same records to the same books, and knows when not to use them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.book import best_ticks, book_at, new_books, state_hash
from hft.market_state import apply_market
from hft.records import MARKET, MarketFlag, MarketKind

BUY, SELL = 1, -1


def market(kind: int, **fields: int) -> np.ndarray:
    rows = np.zeros(1, MARKET)
    rows[0]["kind"] = kind
    for name, value in fields.items():
        rows[0][name] = value
    return rows


def level(side: int, price_ticks: int, qty_lots: int, instrument: int = 0) -> np.ndarray:
    flags = int(MarketFlag.BID) if side == BUY else 0
    return market(MarketKind.LEVEL, price_ticks=price_ticks, qty_lots=qty_lots, instrument=instrument, flags=flags)


class Consumer:
    def __init__(self, levels_max: int = 64) -> None:
        self.books, self.valid = new_books(2, levels_max), np.zeros(2, np.int64)

    def take(self, *records: np.ndarray) -> list[int]:
        return [int(apply_market(self.books, self.valid, record, 0)) for record in records]

    def best(self, instrument: int = 0) -> tuple[int, int]:
        book = book_at(self.books, instrument)
        return int(best_ticks(book, BUY)), int(best_ticks(book, SELL))


def test_levels_change_the_side_they_name_of_their_own_instrument() -> None:
    consumer = Consumer()
    assert consumer.take(level(BUY, 100, 5), level(SELL, 102, 5), level(BUY, 50, 1, instrument=1)) == [0, 0, 0]
    assert consumer.best() == (100, 102) and consumer.best(1) == (50, 0)
    consumer.take(level(BUY, 100, 0))
    assert consumer.best() == (0, 102)


@pytest.mark.parametrize(("kind", "valid"), [(MarketKind.VALID, 1), (MarketKind.INVALID, 0), (MarketKind.RESET, 0)])
def test_validity_follows_valid_invalid_and_reset_of_that_instrument_only(kind: int, valid: int) -> None:
    consumer = Consumer()
    for before in (0, 1):
        consumer.valid[:] = before
        assert consumer.take(market(kind, instrument=1)) == [0]
        assert consumer.valid.tolist() == [before, valid]


def test_reset_empties_the_book_and_invalid_leaves_it() -> None:
    consumer = Consumer()
    consumer.take(level(BUY, 100, 5), level(BUY, 50, 1, instrument=1), market(MarketKind.INVALID))
    assert consumer.best() == (100, 0)
    consumer.take(market(MarketKind.RESET))
    assert consumer.best() == (0, 0) and consumer.best(1) == (50, 0)


@pytest.mark.parametrize("kind", [MarketKind.TRADE, MarketKind.TOP, MarketKind.QUOTE, MarketKind.CLOCK, 0, 99])
def test_other_records_change_nothing(kind: int) -> None:
    consumer = Consumer()
    consumer.take(level(BUY, 100, 5), market(MarketKind.VALID))
    assert consumer.take(market(kind, price_ticks=7, qty_lots=7, ask_ticks=8, ask_lots=8)) == [0]
    assert consumer.best() == (100, 0) and consumer.valid.tolist() == [1, 0]


@pytest.mark.parametrize("bad", [level(BUY, 0, 5), level(SELL, -3, 5), level(BUY, 100, -1)])
def test_level_that_cannot_be_makes_its_book_invalid_until_the_next_valid(bad: np.ndarray) -> None:
    consumer = Consumer()
    consumer.valid[:] = 1
    assert consumer.take(bad)[0] != 0 and consumer.valid.tolist() == [0, 1]
    consumer.take(level(BUY, 100, 5), market(MarketKind.TOP))
    assert consumer.valid[0] == 0
    consumer.take(market(MarketKind.VALID))
    assert consumer.valid[0] == 1


def test_book_that_is_full_becomes_invalid() -> None:
    consumer = Consumer(levels_max=2)
    consumer.valid[:] = 1
    assert consumer.take(level(BUY, 100, 1), level(BUY, 99, 1)) == [0, 0]
    assert consumer.take(level(BUY, 98, 1))[0] != 0 and consumer.valid[0] == 0


@pytest.mark.parametrize("seed", range(4))
def test_two_consumers_of_one_flow_hold_the_same_books(seed: int) -> None:
    chance = random.Random(seed)
    one, other = Consumer(), Consumer()
    for step in range(500):
        kind = chance.choice([MarketKind.LEVEL] * 20 + [MarketKind.RESET, MarketKind.VALID, MarketKind.INVALID, MarketKind.TOP])
        if kind == MarketKind.LEVEL:
            record = level(chance.choice([BUY, SELL]), chance.randrange(1, 40), chance.randrange(3), chance.randrange(2))
        else:
            record = market(kind, instrument=chance.randrange(2))
        assert one.take(record) == other.take(record.copy())
        assert one.valid.tolist() == other.valid.tolist(), f"seed {seed}, step {step}"
    for instrument in range(2):
        assert state_hash(book_at(one.books, instrument)) == state_hash(book_at(other.books, instrument)), f"seed {seed}"
