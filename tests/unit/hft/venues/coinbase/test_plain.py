"""Coinbase plain messages: read at once as the scanner reads any other form of them, and what differs is left to it."""

from __future__ import annotations

import random

import numpy as np

from hft.records import MARKET
from hft.venues.coinbase.plain import OTHERWISE, read_plain_update
from hft.venues.coinbase.scan import FrameKind, scan
from hft.venues.coinbase.tables import CHANGES_MAX, Found, ScanCount, Scanner, new_scanner
from shm.jit import JIT_ENABLED
from support.coinbase_frames import instruments, summary
from support.scanner_fuzz import mutate

SEED = 20_261_204
MUTANTS = 20_000 if JIT_ENABLED else 3_000
OUT = np.zeros(4, MARKET)


def new() -> Scanner:
    return new_scanner(instruments(rows=2, qty_decimals=6), ["BTC-USD", "ETH-USD"])


def update(changes: str, product: str = "BTC-USD", micros: int = 75687) -> bytes:
    return f'{{"type":"l2update","product_id":"{product}","changes":[{changes}],"time":"2021-04-17T16:43:37.{micros:06d}Z"}}'.encode()


def some_update(rng: random.Random) -> bytes:
    def change() -> str:
        price = f"{rng.randrange(1, 10 ** rng.randrange(1, 8))}.{rng.randrange(100):02d}"
        size = (
            f"{rng.randrange(3)}.{rng.randrange(10**8):0{rng.randrange(8, 10)}d}" if rng.random() < 0.7 else rng.choice(["0", "0.0", "12"])
        )
        return f'["{rng.choice(("buy", "sell"))}","{price}","{size}"]'

    changes = ",".join(change() for _ in range(rng.randrange(1, 4)))
    return update(changes, rng.choice(["BTC-USD", "ETH-USD"]), rng.randrange(10**6))


def read_at_end(scanner: Scanner, text: bytes, plain: bool = False) -> int:
    """Read a message at the very end of its array, so that one byte too far is out of bounds."""
    data = np.frombuffer(bytearray(b"1" * 64 + text), np.uint8)
    return int(read_plain_update(scanner, data, 64, len(data)) if plain else scan(scanner, data, 64, len(data), 7, OUT))


def test_plain_updates_are_read_without_the_scanner_and_alike() -> None:
    rng, plain, other = random.Random(SEED), new(), new()
    for _ in range(300):
        text = some_update(rng)
        assert read_at_end(plain, text, plain=True) == FrameKind.UPDATE, (SEED, text)
        assert read_at_end(other, b" " + text, plain=True) == OTHERWISE
        assert read_at_end(other, b" " + text) == FrameKind.UPDATE
        assert summary(plain, FrameKind.UPDATE, OUT) == summary(other, FrameKind.UPDATE, OUT), (SEED, text)
    assert plain.counts[ScanCount.OFF_LOT] == other.counts[ScanCount.OFF_LOT] > 0


def test_mutants_are_read_alike_whether_looked_at_as_plain_or_not() -> None:
    rng, one, other = random.Random(SEED), new(), new()
    texts = [some_update(rng) for _ in range(20)]
    taken = 0
    for n in range(MUTANTS):
        mutant = mutate(rng.choice(texts), rng.choice(texts), rng)[:2000]
        kinds = FrameKind(read_at_end(one, mutant)), FrameKind(read_at_end(other, b" " + mutant))
        where = f"seed {SEED} mutant {n}: {mutant!r}"
        assert kinds[0] == kinds[1] and one.counts.tolist() == other.counts.tolist(), where
        assert one.found[Found.INSTRUMENT] == other.found[Found.INSTRUMENT], where
        if kinds[0] == FrameKind.UPDATE:
            taken += 1
            assert summary(one, kinds[0], OUT) == summary(other, kinds[1], OUT), where
    assert taken > MUTANTS // 20


def test_more_changes_than_there_is_room_for_are_left_to_the_scanner() -> None:
    scanner, change = new(), '["buy","1.00","1.0"]'
    assert read_at_end(scanner, update(",".join([change] * CHANGES_MAX)), plain=True) == FrameKind.UPDATE
    assert read_at_end(scanner, update(",".join([change] * (CHANGES_MAX + 1))), plain=True) == OTHERWISE
    assert read_at_end(scanner, update(",".join([change] * (CHANGES_MAX + 1)))) == FrameKind.NO_ROOM


def test_what_is_left_to_the_scanner_changes_nothing() -> None:
    scanner = new()
    before = [array.tolist() for array in (scanner.found, scanner.counts)]
    for text in (update('["buy","1.00","0.00000001"]').replace(b"Z", b"z"), update('["buy","1.00","0.00000001"],["hold","1.00","1.0"]')):
        assert read_at_end(scanner, text, plain=True) == OTHERWISE
        assert [array.tolist() for array in (scanner.found, scanner.counts)] == before
