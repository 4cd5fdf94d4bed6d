"""Kraken plain messages: read at once as the scanner reads any other form of them, and what differs is left to it."""

from __future__ import annotations

import random

import numpy as np

from hft.records import MARKET
from hft.venues.kraken.plain import OTHERWISE, read_plain_update
from hft.venues.kraken.scan import FrameKind, scan
from hft.venues.kraken.tables import Found, ScanCount, Scanner, new_scanner
from shm.jit import JIT_ENABLED
from support.kraken_frames import UPDATE, instruments, summary
from support.scanner_fuzz import mutate

SEED = 20_261_203
MUTANTS = 20_000 if JIT_ENABLED else 3_000
OUT = np.zeros(4, MARKET)


def new() -> Scanner:
    return new_scanner(instruments(rows=2, qty_decimals=6), ["BTC/USD", "ETH/USD"])


def some_update(rng: random.Random) -> bytes:
    def levels() -> str:
        return ",".join(
            f'{{"price":{rng.randrange(1, 10 ** rng.randrange(1, 8))}.{rng.randrange(10)},"qty":{rng.randrange(3)}.{rng.randrange(10**8):08d}}}'
            for _ in range(rng.randrange(3))
        )

    symbol = rng.choice(["BTC/USD", "ETH/USD"])
    return (
        f'{{"channel":"book","type":"update","data":[{{"symbol":"{symbol}","bids":[{levels()}],"asks":[{levels()}],'
        f'"checksum":{rng.getrandbits(32)},"timestamp":"2026-08-24T22:21:58.{rng.randrange(10**6):06d}Z"}}]}}'
    ).encode()


def read_at_end(scanner: Scanner, text: bytes, plain: bool = False) -> int:
    """Read a message at the very end of its array, so that one byte too far is out of bounds."""
    data = np.frombuffer(bytearray(b"1" * 64 + text), np.uint8)
    return int(read_plain_update(scanner, data, 64, len(data)) if plain else scan(scanner, data, 64, len(data), 7, OUT))


def test_plain_updates_are_read_without_the_scanner_and_alike() -> None:
    rng, plain, other = random.Random(SEED), new(), new()
    for _ in range(300):
        text = some_update(rng)
        plain.found[Found.RECORDS] = plain.found[Found.NO_ROOM] = 0
        assert read_at_end(plain, text, plain=True) == FrameKind.BOOK_UPDATE, (SEED, text)
        assert read_at_end(other, b" " + text, plain=True) == OTHERWISE
        assert read_at_end(other, b" " + text) == FrameKind.BOOK_UPDATE
        assert summary(plain, FrameKind.BOOK_UPDATE, OUT) == summary(other, FrameKind.BOOK_UPDATE, OUT), (SEED, text)
    assert plain.counts[ScanCount.OFF_LOT] == other.counts[ScanCount.OFF_LOT] > 0


def test_mutants_are_read_alike_whether_looked_at_as_plain_or_not() -> None:
    rng, one, other = random.Random(SEED), new(), new()
    texts = [UPDATE, *(some_update(rng) for _ in range(20))]
    taken = 0
    for n in range(MUTANTS):
        mutant = mutate(rng.choice(texts), rng.choice(texts), rng)[:2000]
        kinds = FrameKind(read_at_end(one, mutant)), FrameKind(read_at_end(other, b" " + mutant))
        where = f"seed {SEED} mutant {n}: {mutant!r}"
        assert kinds[0] == kinds[1] and one.counts.tolist() == other.counts.tolist(), where
        assert one.found[Found.INSTRUMENT] == other.found[Found.INSTRUMENT], where
        if kinds[0] == FrameKind.BOOK_UPDATE:
            taken += 1
            assert summary(one, kinds[0], OUT) == summary(other, kinds[1], OUT), where
    assert taken > MUTANTS // 20


def test_what_is_left_to_the_scanner_changes_nothing() -> None:
    scanner = new()
    text = some_update(random.Random(SEED)).replace(b"Z", b"z")
    assert read_at_end(scanner, text) == FrameKind.MALFORMED
    scanner = new()
    before = [array.tolist() for array in (scanner.found, scanner.counts)]
    scanner.found[Found.INSTRUMENT] = before[0][Found.INSTRUMENT] = -1
    assert read_at_end(scanner, text, plain=True) == OTHERWISE
    assert [array.tolist() for array in (scanner.found, scanner.counts)] == before
