"""Coinbase scanner: what it reads, what it refuses, and a strict reading that it must agree with whatever the bytes."""

from __future__ import annotations

import random
import uuid
from collections import Counter

import numpy as np
import pytest

from hft.records import MARKET
from hft.venues.coinbase.scan import FrameKind, new_scanner, scan
from hft.venues.coinbase.tables import CHANGES_MAX, ScanCount
from hft.venues.coinbase.uuids import UUID_BYTES, put_uuid, read_uuid, venue_key
from shm.jit import JIT_ENABLED
from support import coinbase_frames as frames
from support.binance_frames import Refused
from support.coinbase_frames import expected, instruments, message, scanned, summary
from support.scanner_fuzz import mutate

SYMBOLS = ["BTC-USD", "ETH-USD"]
MUTANTS = 20_000 if JIT_ENABLED else 2_000


@pytest.mark.parametrize("frame", frames.ALL, ids=lambda frame: frame[9:16].decode().strip('",'))
def test_every_documented_message_is_read_as_documented(frame: bytes) -> None:
    table = instruments(rows=2)
    assert scanned(new_scanner(table, SYMBOLS), frame) == expected(frame, table, SYMBOLS)


@pytest.mark.parametrize("scale", [{"tick_units": 5}, {"lot_units": 10_000}, {"price_decimals": 6}, {"qty_decimals": 2}])
def test_messages_are_read_in_the_instruments_own_scale(scale: dict[str, int]) -> None:
    table = instruments(rows=2, **scale)
    for frame in frames.ALL:
        try:
            wanted = expected(frame, table, SYMBOLS)
        except Refused:
            wanted = {"kind": FrameKind.MALFORMED}
        assert scanned(new_scanner(table, SYMBOLS), frame) == wanted, frame


def test_members_may_come_in_any_order() -> None:
    chance, table = random.Random(1), instruments(rows=2)
    scanner = new_scanner(table, SYMBOLS)
    for frame in frames.ALL:
        text = frames.strict_json(frame)
        for _ in range(20):
            members = list(text.items())
            chance.shuffle(members)
            shuffled = frames.json.dumps(dict(members)).encode()
            assert scanned(scanner, shuffled) == expected(frame, table, SYMBOLS), shuffled


@pytest.mark.parametrize(
    "change",
    [["buy", "100.00", "0.-10000"], ["buy", "100.00", "-1"], ["buy", "0.00", "1"], ["hold", "1", "1"], ["buy", "1"], ["buy", 1, "1"]],
)
def test_change_that_is_not_as_documented_refuses_the_whole_message(change: list[str]) -> None:
    scanner = new_scanner(instruments(rows=2), SYMBOLS)
    assert scanned(scanner, message("l2update", changes=[["buy", "1.00", "1"], change]))["kind"] == FrameKind.MALFORMED
    assert scanner.found[0] == 0, "it was about this book"


def test_time_in_the_year_one_is_no_time() -> None:
    scanner = new_scanner(instruments(rows=2), SYMBOLS)
    assert scanned(scanner, message("l2update", time="0001-01-01T00:00:00.000000Z", changes=[]))["time"] == 0
    assert scanned(scanner, message("l2update", time="0002-01-01T00:00:00.000000Z", changes=[]))["kind"] == FrameKind.MALFORMED
    assert scanned(scanner, message("l2update", changes=[]))["time"] == frames.TIME_NS


def test_more_changes_than_there_is_room_for_are_refused_and_said_so() -> None:
    scanner = new_scanner(instruments(rows=2), SYMBOLS)
    changes = [["buy", "1.00", "1"]] * CHANGES_MAX
    assert len(scanned(scanner, message("l2update", changes=changes))["levels"]) == CHANGES_MAX
    assert scanned(scanner, message("l2update", changes=[*changes, changes[0]]))["kind"] == FrameKind.NO_ROOM


def test_members_that_are_not_read_and_sizes_between_lots_are_counted() -> None:
    scanner = new_scanner(instruments(rows=2, lot_units=10), SYMBOLS)
    scanned(scanner, message("l2update", changes=[["buy", "1.00", "0.00000001"]], strange=1))
    assert scanner.counts[ScanCount.UNKNOWN_KEYS] == 1 and scanner.counts[ScanCount.OFF_LOT] == 1
    assert scanner.levels[0].tolist() == [1, 100, 1]


@pytest.mark.parametrize("seed", [1, 2])
def test_mutated_messages_are_read_exactly_or_refused(seed: int) -> None:
    chance, table = random.Random(seed), instruments(rows=2)
    scanner = new_scanner(table, SYMBOLS)
    buffer, out = np.zeros(1 << 13, np.uint8), np.zeros(4, MARKET)
    outcomes: Counter[FrameKind] = Counter()
    for n in range(MUTANTS):
        mutant = mutate(chance.choice(frames.ALL), chance.choice(frames.ALL), chance)[:4096]
        # At the very end of its array, so that one byte too far is out of bounds; after bytes that look like more of it.
        start = len(buffer) - len(mutant)
        buffer[max(0, start - 64) : start] = 49
        if mutant:
            buffer[start:] = np.frombuffer(mutant, np.uint8)
        kind = FrameKind(scan(scanner, buffer, start, len(buffer), 7, out))
        outcomes[kind] += 1
        if kind >= 0:
            where = f"seed {seed} mutant {n}: {mutant!r}"
            try:
                wanted = expected(mutant, table, SYMBOLS)
            except Refused as error:
                raise AssertionError(f"{where}: read, but must be refused: {error}") from error
            assert summary(scanner, kind, out) == wanted, where
    assert outcomes[FrameKind.MALFORMED] > MUTANTS // 4 and all(outcomes[kind] for kind in frames.READ if kind != FrameKind.LAST_MATCH)


def test_uuids_are_read_and_written_whole() -> None:
    chance, out = random.Random(3), np.zeros(60, np.uint8)
    for _ in range(200):
        text = str(uuid.UUID(int=chance.getrandbits(128)))
        data = np.frombuffer(f'"{text}"'.encode(), np.uint8)
        high, low, past = read_uuid(data, 0, len(data))
        assert past == len(data) and uuid.UUID(text).int == (high % 2**64 << 64) | low % 2**64
        assert put_uuid(high, low, out, 3) == 3 + UUID_BYTES and out[3:39].tobytes() == text.encode()
        assert 0 < venue_key(high, low) < 1 << 63
    assert venue_key(0, 0) == 1


@pytest.mark.parametrize("text", ['"d50ec974-76a2-454b-66f135b1ea8c"', '""', '"zzzec984-77a8-460a-b958-66f114b0de9b"', "1"])
def test_text_that_is_no_uuid_is_refused(text: str) -> None:
    data = np.frombuffer((text + " " * 40).encode(), np.uint8)
    assert read_uuid(data, 0, len(text))[2] == -1
