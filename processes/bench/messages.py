"""Bench messages: the depth updates that the codec and book benches decode: recorded ones, or seeded ones of the same shape.

A recording is looked for beside the checkout, in `shared/data`. A made message has as many levels as real ones (median 16, mean
about 35, some hundreds in a burst), spread over the book like real ones, and the same text form.
"""

from __future__ import annotations

import json
import random
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT
from processes.capture import read_capture

#: Where recordings are, if there are any.
RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data"
_FILES = {"BTCUSDT": "btcusdt_20240808.gz", "ETHUSDT": "ethusdt_20240808.gz"}
PRICE_DECIMALS, QTY_DECIMALS = 2, 8
#: Updates before the snapshot that may reach beyond it.
_EARLIER_MAX = 64


class Messages(NamedTuple):
    """One symbol's snapshot and the depth updates after it, as they came."""

    symbol: str
    snapshot: bytes
    frames: list[bytes]
    recorded: bool
    earlier: tuple[bytes, ...] = ()  #: updates that came before the snapshot and are partly newer than it

    def packed(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The frames end to end, and where each begins; one more offset than frames."""
        offsets = np.cumsum([0, *(len(frame) for frame in self.frames)])
        return np.frombuffer(bytearray(b"".join(self.frames)), np.uint8), offsets.astype(np.int64)


def load_messages(limit: int | None = None, folder: Path = RECORDED / "binance_spot", seed: int = 1) -> list[Messages]:
    """The messages of each symbol, at most `limit` updates; made with `seed` where `folder` has no recordings."""
    if all((folder / name).is_file() for name in _FILES.values()):
        return [_recorded(symbol, folder / name, limit) for symbol, name in _FILES.items()]
    return [_made(symbol, limit or 3000, seed + n) for n, symbol in enumerate(_FILES)]


def instrument_row() -> NDArray[Any]:
    """One INSTRUMENT row that holds every price and size of the messages exactly."""
    row = np.zeros(1, INSTRUMENT)
    row["tick_units"] = row["lot_units"] = 1
    row["price_decimals"], row["qty_decimals"] = PRICE_DECIMALS, QTY_DECIMALS
    return row


def _recorded(symbol: str, path: Path, limit: int | None) -> Messages:
    snapshot, frames = b"", []
    earlier: deque[bytes] = deque(maxlen=_EARLIER_MAX)
    for line in read_capture(path):
        if line.payload.startswith(b'{"lastUpdateId"'):
            snapshot = line.payload
        elif b'"depthUpdate"' in line.payload and not snapshot:
            earlier.append(line.payload)
        elif b'"depthUpdate"' in line.payload:
            frames.append(line.payload)
            if len(frames) == limit:
                break
    newest = json.loads(snapshot)["lastUpdateId"]
    straddling = tuple(payload for payload in earlier if json.loads(payload)["data"]["u"] > newest)
    return Messages(symbol, snapshot, frames, recorded=True, earlier=straddling)


def _made(symbol: str, count: int, seed: int) -> Messages:
    rng = random.Random(seed)
    best, update_id = 6_000_000, 50_000_000_000

    def level(side: int, size: str) -> list[str]:
        away = int(rng.lognormvariate(5.0, 2.5))
        price = max(best - side * (1 + min(away, best // 2)), 1)
        return [f"{price // 100}.{price % 100:02d}000000", size]

    def size() -> str:
        return f"{rng.lognormvariate(-2, 2):.5f}000" if rng.random() < 0.55 else "0.00000000"

    def levels(side: int, n: int) -> list[list[str]]:
        return sorted((level(side, size()) for _ in range(n)), key=lambda pair: -side * float(pair[0]))

    sides = {name: [level(side, "0.50000000") for _ in range(1000)] for name, side in (("bids", 1), ("asks", -1))}
    snapshot = json.dumps({"lastUpdateId": update_id, **sides}, separators=(",", ":")).encode()
    frames = []
    for n in range(count):
        first, update_id = update_id + 1, update_id + rng.randint(1, 60)
        many = max(1, min(int(rng.lognormvariate(2.08, 1.25)), 500))
        event: dict[str, Any] = {"e": "depthUpdate", "E": 1723161255408 + 100 * n, "s": symbol, "U": first, "u": update_id}
        event |= {"b": levels(1, many), "a": levels(-1, max(1, int(many * rng.uniform(0.5, 1.5))))}
        frames.append(json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": event}, separators=(",", ":")).encode())
    return Messages(symbol, snapshot, frames, recorded=False)
