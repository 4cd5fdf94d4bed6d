"""Symbols: each one is found by its bytes and nothing else is, wherever in its array it stands."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.records import INSTRUMENT
from hft.venues.symbols import SYMBOL_BYTES_MAX, Symbols, find_symbol, new_symbols

SEED = 20_261_205
NAMES = (
    "A",
    "BTCUSDT",
    "ETHUSDT",
    "BTC/USD",
    "BTC-USDT",
    "1BTC-USDT",
    "2BTC-USDT",
    "X" * SYMBOL_BYTES_MAX,
    "X" * 9,
    "TUSDT",
    "EÄ",
    "ÄE",
    "Ä",
)


def made(names: tuple[str, ...]) -> Symbols:
    table = np.zeros(len(names) + 3, INSTRUMENT)
    table["tick_units"] = table["lot_units"] = 1
    return new_symbols(table, names, range(3, len(names) + 3))


@pytest.mark.parametrize("before", [b"", b"7", b'{"s":"', b"9" * 20])
def test_every_symbol_is_found_and_its_neighbours_in_the_bytes_are_not(before: bytes) -> None:
    symbols, encoded = made(NAMES), [name.encode() for name in NAMES]
    for i, name in enumerate(encoded):
        for behind in (b"", b'","u":12345678'):
            data = np.frombuffer(bytearray(before + name + behind), np.uint8)
            assert find_symbol(symbols, data, len(before), len(before) + len(name)) == 3 + i
            for start, end in ((0, len(name) - 1), (1, len(name))):
                part = name[start:end]
                wanted = 3 + encoded.index(part) if part in encoded else -1
                assert find_symbol(symbols, data, len(before) + start, len(before) + end) == wanted, (name, part)


def test_no_other_text_is_taken_for_a_symbol() -> None:
    rng, symbols = random.Random(SEED), made(NAMES)
    encoded = [name.encode() for name in NAMES]
    for _ in range(3000):
        text = bytearray(rng.choice(encoded))
        at = rng.randrange(len(text))
        text[at : at + rng.randrange(2)] = rng.choice([b"", b"A", b"\0", bytes([rng.randrange(256)])])
        data = np.frombuffer(bytearray(b"12345" + bytes(text) + b"A"), np.uint8)
        wanted = 3 + encoded.index(bytes(text)) if bytes(text) in encoded else -1
        assert find_symbol(symbols, data, 5, 5 + len(text)) == wanted, (SEED, bytes(text))


def test_hundreds_of_symbols_are_told_apart() -> None:
    rng = random.Random(SEED)
    names = tuple(sorted({"".join(rng.choice("ABCD") for _ in range(rng.randrange(1, 12))) for _ in range(500)}))
    symbols = made(names)
    for i, name in enumerate(names):
        data = np.frombuffer(bytearray(b'"' + name.encode() + b'"'), np.uint8)
        assert find_symbol(symbols, data, 1, 1 + len(name)) == 3 + i, (SEED, name)
