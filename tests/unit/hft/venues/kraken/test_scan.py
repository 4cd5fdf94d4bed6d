"""Does the Kraken scanner read what the venue documents, and refuse everything else as a whole?"""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from hft.records import MARKET
from hft.venues.kraken.scan import FrameKind, scan
from hft.venues.kraken.tables import new_scanner
from shm.jit import JIT_ENABLED
from support.kraken_frames import (
    ALL,
    INSTRUMENTS,
    PONG,
    REFUSED,
    SNAPSHOT,
    STATUS,
    TAKEN,
    TRADE,
    UPDATE,
    Repeated,
    expected,
    instruments,
    scanned,
    summary,
)
from support.kraken_frames import Refused as Refusal
from support.scanner_fuzz import mutate

SYMBOLS = ["BTC/USD", "ETH/USD"]
READ = (
    *(FrameKind.BOOK_SNAPSHOT, FrameKind.BOOK_UPDATE, FrameKind.TRADE, FrameKind.INSTRUMENT),
    *(FrameKind.STATUS, FrameKind.HEARTBEAT, FrameKind.SUBSCRIBED, FrameKind.REFUSED),
)


@pytest.mark.parametrize("frame", ALL)
def test_scanner_reads_each_documented_message(frame: bytes) -> None:
    table = instruments(rows=2)
    found = scanned(new_scanner(table, SYMBOLS), frame)
    assert found == expected(frame, table, SYMBOLS)
    assert found["kind"] not in (FrameKind.OTHER, FrameKind.MALFORMED)


@pytest.mark.parametrize("frame", [SNAPSHOT, UPDATE, TRADE, STATUS, REFUSED])
def test_members_may_come_in_any_order_and_with_spaces(frame: bytes) -> None:
    table, rng = instruments(rows=2), random.Random(3)
    for _ in range(30):
        shuffled = _shuffled(json.loads(frame, parse_float=_Text), rng)
        text = shuffled.replace(",", " ,\n").replace(":[", " : [ ").encode()
        assert scanned(new_scanner(table, SYMBOLS), text) == expected(text, table, SYMBOLS), f"seed 3: {text!r}"


class _Text(str):
    """A number as written."""


def _shuffled(value: Any, rng: random.Random) -> str:
    """JSON with the members of every object in another order."""
    if isinstance(value, dict):
        members = [f'"{name}":{_shuffled(member, rng)}' for name, member in value.items()]
        rng.shuffle(members)
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_shuffled(entry, rng) for entry in value) + "]"
    return str(value) if isinstance(value, _Text) else json.dumps(value)


@pytest.mark.parametrize("frame", [SNAPSHOT, UPDATE, TRADE, INSTRUMENTS, STATUS, TAKEN, PONG])
def test_a_message_cut_anywhere_is_refused(frame: bytes) -> None:
    scanner = new_scanner(instruments(rows=2), SYMBOLS)
    for cut in range(len(frame)):
        assert scanned(scanner, frame[:cut]) == {"kind": FrameKind.MALFORMED}, cut
    assert scanned(scanner, frame + b"x") == {"kind": FrameKind.MALFORMED}


@pytest.mark.parametrize(
    ("frame", "old", "new"),
    [
        (UPDATE, b'"symbol":"BTC/USD"', b'"symbol":"BTC/USD","symbol":"ETH/USD"'),
        (UPDATE, b'"checksum":2416540570', b'"checksum":4294967296'),
        (UPDATE, b'"checksum":2416540570', b'"check":2416540570'),
        (UPDATE, b'"checksum":2416540570', b'"checksum":2416540570,"checksum":2416540570'),
        (UPDATE, b'"type":"update"', b'"type":"update","type":"update"'),
        (UPDATE, b'"asks":[]', b'"asks":{}'),
        (UPDATE, b'"asks":[]', b'"asks":[],"bids":[]'),
        (UPDATE, b'"data":[', b'"data":[{"symbol":"ETH/USD","bids":[],"asks":[],"checksum":0},'),
        (TRADE, b'"trade_id":4665906', b'"trade_id":"4665906"'),
        (TRADE, b'"qty":1.5', b'"qty":0.0'),
        (INSTRUMENTS, b'"price_precision":1', b'"price_precision":19'),
        (INSTRUMENTS, b'"status":"online"', b'"state":"online"'),
        (REFUSED, b'"success":false', b'"success":0'),
    ],
)
def test_what_is_not_as_documented_is_refused(frame: bytes, old: bytes, new: bytes) -> None:
    assert old in frame
    assert scanned(new_scanner(instruments(rows=2), SYMBOLS), frame.replace(old, new)) == {"kind": FrameKind.MALFORMED}


def test_symbols_of_others_are_known_as_such() -> None:
    scanner = new_scanner(instruments(rows=2), SYMBOLS)
    for frame in (UPDATE, TRADE):
        assert scanned(scanner, frame.replace(b"BTC/USD", b"SOL/USD"))["kind"] == FrameKind.UNKNOWN_SYMBOL


def test_no_mutant_is_read_wrongly() -> None:
    mutants, seed = (6000 if not JIT_ENABLED else 30_000), 20260824
    rng, table = random.Random(seed), instruments(rows=2)
    scanner, out, buffer = new_scanner(table, SYMBOLS), np.zeros(64, MARKET), np.zeros(4096, np.uint8)
    read = 0
    for n in range(mutants):
        mutant = mutate(rng.choice(ALL), rng.choice(ALL), rng)[:4000]
        start = len(buffer) - len(mutant)
        buffer[max(0, start - 64) : start] = 49
        if mutant:
            buffer[start:] = np.frombuffer(mutant, np.uint8)
        kind = FrameKind(scan(scanner, buffer, start, len(buffer), 7, out))
        # A text with an escape is none that the scanner knows, whatever it stands for.
        if kind not in READ or b"\\" in mutant:
            continue
        read += 1
        try:
            wanted = expected(mutant, table, SYMBOLS)
        except Repeated:
            continue
        except Refusal as error:
            raise AssertionError(f"seed {seed} mutant {n}: {mutant!r} read as {kind.name}, but must be refused: {error}") from error
        assert summary(scanner, kind, out) == wanted, f"seed {seed} mutant {n}: {mutant!r}"
    assert read > mutants // 20, f"seed {seed}: only {read} were read"
