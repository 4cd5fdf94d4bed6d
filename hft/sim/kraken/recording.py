"""A recording of Kraken's WebSocket v2 as a market: raw frames, one a line, with or without the receive time in ns before them.

Each pair begins with its first recorded snapshot. What follows comes at the frames' own times. Levels that fell out of the
recorded depth leave the market's book, as they left the books of those who listened; so books served from a recording have
its checksums, down to its depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from hft.sim.kraken.book import DEPTHS
from hft.sim.kraken.pairs import PAIRS, flow
from hft.sim.recorded_frames import Frame, Recording, Side, Survey, Trade, number_of
from hft.sim.recording_index import RecordingError, RecordingFile, numbered
from hft.sim.texts import decode_json, parse_rfc3339


def scan(file: RecordingFile) -> Recording:
    """Read a recording once. Raises RecordingError when it cannot be played."""
    survey = Survey(file, read_frames)
    for _ in survey.frames():
        pass
    deepest = {symbol: max(map(len, sides)) for symbol, sides in survey.first.items()}
    depths = {symbol: next((depth for depth in DEPTHS if depth >= levels), levels) for symbol, levels in deepest.items()}
    return survey.recording({symbol: flow(PAIRS[symbol]).info for symbol in survey.first}, depths, ", ".join(PAIRS))


def read_frames(file: RecordingFile) -> Iterator[Frame]:
    """Yield the messages of known pairs in order. Raises RecordingError at a line that is no message of this venue."""
    at_ns = 0
    for number, line in numbered(file):
        text = line.partition(b" ")[2] if line[:1].isdigit() else line
        try:
            message = decode_json(text)
            channel = message.get("channel")
            if channel not in ("book", "trade") or message["data"][0]["symbol"] not in PAIRS:
                continue
            rows = message["data"]
            at_ns = max(at_ns, parse_rfc3339(rows[-1]["timestamp"]) if "timestamp" in rows[-1] else at_ns)
            changes = [_levels(row) for row in rows] if channel == "book" else []
            trades = [_trade(row) for row in rows] if channel == "trade" else []
            yield Frame(at_ns, message["type"] == "snapshot", rows[0]["symbol"], changes, trades)
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise RecordingError(f"{file.place(number)}: expected a message of WebSocket v2, found {text[:60]!r} ({error})") from error


def _levels(row: Mapping[str, Any]) -> tuple[Side, Side]:
    """Return bids and asks of a message; of a price that comes twice, the last size."""
    bids, asks = ({number_of(level["price"]): number_of(level["qty"]) for level in row[name]} for name in ("bids", "asks"))
    return bids, asks


def _trade(row: Mapping[str, Any]) -> Trade:
    return Trade(int(row["trade_id"]), number_of(row["price"]), number_of(row["qty"]), row["side"] == "sell")
