"""Scanner fuzz: mutates real frames and compares what the scanner makes of them with the strict reading.

Run as a program, with the number of mutants, the seed and the bounds checks on: it first proves that they are.
A mutant may be refused; if it is read, then exactly as `expected` reads it. `python -m support.scanner_fuzz 20000 1 [file.gz ...]`.
"""

from __future__ import annotations

import gzip
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from hft.records import MARKET
from hft.venues.binance.scan import FrameKind, new_scanner, scan
from shm.jit import JIT_ENABLED, njit
from support.binance_frames import DEPTH, PREFIX, QUOTE, SNAPSHOT, TRADE, Refused, expected, instruments, summary

SYMBOLS = ["BTCUSDT", "ETHUSDT"]
READ = (FrameKind.DEPTH, FrameKind.QUOTE, FrameKind.TRADE)
#: Bytes that mean something to a scanner of JSON numbers and strings.
TELLING = b'"\\{}[]:,.-+0123456789eEtfnu \x00\x1f\x7f\x80\xc3\xed\xff'


def frames(paths: list[Path]) -> list[bytes]:
    """Real frames of each kind, short and long; made ones where there are no recordings."""
    if not paths:
        return [PREFIX + event + b"}" for event in (DEPTH, QUOTE, TRADE)] + [DEPTH, QUOTE, TRADE, SNAPSHOT]
    found: list[bytes] = []
    for path in paths:
        with gzip.open(path) as lines:
            found += [line.split(b" ", 1)[1].strip() for _, line in zip(range(3000), lines, strict=False)]
    return [frame for frame in found if len(frame) < 1500]


def mutate(frame: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to three changes: a bit, a byte, digits, a cut, a splice, a repeat, a swap of fields."""
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not data:
            break
        at = rng.randrange(len(data))
        choice = rng.randrange(9)
        if choice == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            data[at] = rng.choice(TELLING)
        elif choice == 2:
            data.insert(at, rng.choice(TELLING))
        elif choice == 3:
            del data[at : at + rng.choice((1, 1, 2, 8))]
        elif choice == 4:
            del data[at:]
        elif choice == 5:
            cut = rng.randrange(len(other))
            data[at:] = other[cut:]
        elif choice == 6:
            digits = [i for i in range(at, min(at + 40, len(data))) if 48 <= data[i] <= 57]
            if digits:
                data[rng.choice(digits)] = rng.choice(b"0123456789")
        elif choice == 7:
            end = at + rng.randrange(1, 30)
            data[at:at] = data[at:end]
        else:
            _swap_fields(data, rng)
    return bytes(data)


def _swap_fields(data: bytearray, rng: random.Random) -> None:
    """Exchange two pieces between commas: levels, keys with their values, halves of levels."""
    pieces = bytes(data).split(b",")
    if len(pieces) > 2:
        i, j = rng.randrange(len(pieces)), rng.randrange(len(pieces))
        pieces[i], pieces[j] = pieces[j], pieces[i]
        data[:] = b",".join(pieces)


def run(mutants: int, seed: int, paths: list[Path]) -> dict[str, int]:
    """Try this many mutants; AssertionError names the seed and shows the mutant that was read wrongly."""
    rng = random.Random(seed)
    table = instruments(rows=2)
    scanner = new_scanner(table, SYMBOLS)
    real = frames(paths)
    outcomes: Counter[str] = Counter()
    buffer, out = np.zeros(1 << 13, np.uint8), np.zeros(512, MARKET)
    for n in range(mutants):
        mutant = mutate(rng.choice(real), rng.choice(real), rng)[:4096]
        # At the very end of its array, so that one byte too far is out of bounds; after bytes that look like more of it.
        start = len(buffer) - len(mutant)
        buffer[max(0, start - 64) : start] = 49
        if mutant:
            buffer[start:] = np.frombuffer(mutant, np.uint8)
        kind = FrameKind(scan(scanner, buffer, start, len(buffer), 7, out))
        outcomes[kind.name] += 1
        if kind in READ:
            _compare(summary(scanner, kind, out), mutant, table, f"seed {seed} mutant {n}: {mutant!r}")
    return dict(outcomes)


def _compare(found: dict[str, Any], mutant: bytes, table: Any, where: str) -> None:
    try:
        wanted = expected(mutant, table, SYMBOLS)
    except Refused as error:
        raise AssertionError(f"{where}: read, but must be refused: {error}") from error
    assert found == wanted, f"{where}: {found} instead of {wanted}"


@njit
def _read(data: Any, at: int) -> int:
    return int(data[np.uint64(at)])


def bounds_are_checked() -> bool:
    """Whether a read past the end raises, as the scanner would do it."""
    try:
        _read(np.zeros(4, np.uint8), 4)
    except IndexError:
        return True
    return False


def main() -> int:
    mutants, seed, paths = int(sys.argv[1]), int(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
    if not bounds_are_checked():
        print("bounds are not checked: set NUMBA_BOUNDSCHECK=1 and an own NUMBA_CACHE_DIR", file=sys.stderr)
        return 2
    print(json.dumps({"jit": JIT_ENABLED, "mutants": mutants, **run(mutants, seed, paths)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
