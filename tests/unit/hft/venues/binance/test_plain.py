"""Plain frames: what is written as the venue writes it is read at once, and gives what the scanner gives for any other form of it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.records import MARKET
from hft.venues.binance.plain import OTHERWISE, read_plain_depth
from hft.venues.binance.scan import FrameKind, new_scanner, scan
from hft.venues.binance.tables import Found, ScanCount
from support.binance_frames import instruments
from support.binance_stream import depth

SEED = 20_261_125
#: As much room behind a frame as a wire has.
BEHIND = bytes(64)


class Reader:
    """A scanner of one symbol, and what it wrote."""

    def __init__(self) -> None:
        self.scanner = new_scanner(instruments(), ["BTCUSDT"], [0])
        self.out = np.zeros(64, MARKET)

    def plain(self, text: bytes) -> int:
        data = np.frombuffer(bytearray(text + BEHIND), np.uint8)
        return int(read_plain_depth(self.scanner, data, 0, len(text), 7, self.out))

    def any(self, text: bytes) -> int:
        data = np.frombuffer(bytearray(text + BEHIND), np.uint8)
        return int(scan(self.scanner, data, 0, len(text), 7, self.out))

    def read(self) -> bytes:
        return self.out[: self.scanner.found[Found.RECORDS]].tobytes()


def some_depth(rng: random.Random) -> bytes:
    def levels(count: int) -> list[tuple[str, str]]:
        return [
            (f"{rng.randrange(1, 99_999)}.{rng.randrange(100):02d}000000", f"{rng.randrange(100)}.{rng.randrange(10**5):05d}000")
            for _ in range(count)
        ]

    first = rng.randrange(1, 10**12)
    return depth(first, first + rng.randrange(100), levels(rng.randrange(4)), levels(rng.randrange(4)))


def test_plain_frames_are_read_without_the_scanner_and_alike() -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        text = some_depth(rng)
        plain, other = Reader(), Reader()
        assert plain.plain(text) == FrameKind.DEPTH, (SEED, text)
        spaced = text.replace(b',"data"', b', "data"')
        assert other.plain(spaced) == OTHERWISE and other.any(spaced) == FrameKind.DEPTH
        assert plain.read() == other.read() and plain.scanner.found[Found.LAST_ID] == other.scanner.found[Found.LAST_ID], (SEED, text)


@pytest.mark.parametrize(
    "change",
    [
        (b"depthUpdate", b"depthupdate"),
        (b"BTCUSDT", b"XTCUSDT"),
        (b'"U":', b'"V":'),
        (b"}}", b"}} "),
        (b"}}", b"}"),
        (b'"u":', b'"u":-'),
        (b'{"stream":"', b'{"stream":"\x01'),
    ],
    ids=lambda change: repr(change[1]),
)
def test_whatever_differs_is_left_to_the_scanner_with_nothing_changed(change: tuple[bytes, bytes]) -> None:
    reader = Reader()
    text = depth(5, 6, [("100.00000000", "1.00000000")], [("101.00000000", "0.00000000")])
    assert reader.plain(text) == FrameKind.DEPTH
    head, _, tail = text.rpartition(change[0])
    changed = head + change[1] + tail
    reader.scanner.found[Found.RECORDS] = 0
    assert reader.plain(changed) == OTHERWISE
    assert reader.scanner.found[Found.RECORDS] == 0 and reader.scanner.counts[ScanCount.OFF_LOT] == 0


def test_numbers_of_another_length_and_sizes_off_the_lot_are_read_the_long_way() -> None:
    reader = Reader()
    text = depth(5, 6, [("100.00", "1.5"), ("99.00000000", "1.00000900")], [])
    assert reader.plain(text) == FrameKind.DEPTH
    assert reader.scanner.counts[ScanCount.OFF_LOT] == 1
    assert list(reader.out[:2]["price_ticks"]) == [10_000, 9_900] and list(reader.out[:2]["qty_lots"]) == [150_000, 100_000]
