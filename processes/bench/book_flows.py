"""Book flows: what each venue sends of its books, for the book bench: recorded messages, or those of its simulator.

A recording is looked for beside the checkout, in `shared/data`. Kraken's is of the frozen WebSocket v1, whose levels, digits and
checksums are those of v2: its messages are written here in the words of v2. Where there is no recording, the simulated venue plays
a seeded market in virtual time.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT
from hft.sim.binance.sbe import Encoder
from hft.sim.coinbase import products as coinbase_products
from hft.sim.coinbase.venue import CoinbaseVenue
from hft.sim.kraken import pairs as kraken_pairs
from hft.sim.kraken.venue import KrakenVenue
from hft.sim.market import SymbolInfo
from hft.sim.player import Settings
from hft.sim.synthetic import FlowSpec, SyntheticMarket
from hft.venues.coinbase import capture as coinbase_capture
from hft.venues.kraken import capture as kraken_capture
from hft.websocket import Opcode
from processes.bench.book_references import checksum_of
from processes.bench.messages import RECORDED, Messages
from processes.capture import read_capture

_COINBASE, _KRAKEN = RECORDED / "coinbase" / "level2_ticker_matches_2021.ws", RECORDED / "kraken_v1" / "book1000_2021.ws"
#: Simulated: events of each pair in a second, and messages that are made where nothing says how many.
_EVENTS_PER_S, _MADE = 100.0, 3000
_UTC_NS = 1_800_000_000_000_000_000
_PLACES = "0.00000001"
#: How far into a message its type is looked for.
_HEAD = 80
_SILENT_TURNS_MAX = 100_000


class Flow(NamedTuple):
    """Messages of one connection: `before` bring every book into step, each of `frames` then moves one."""

    venue: str
    before: list[bytes]
    frames: list[bytes]
    symbols: list[str]
    instruments: NDArray[Any]  #: INSTRUMENT rows that hold every price and size exactly, in the order of `symbols`
    recorded: bool
    opcode: int = int(Opcode.TEXT)

    def packed(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The frames end to end, and where each begins; one more offset than frames."""
        offsets = np.cumsum([0, *(len(frame) for frame in self.frames)])
        return np.frombuffer(bytearray(b"".join(self.frames)), np.uint8), offsets.astype(np.int64)


def binance_flow(markets: list[Messages]) -> Flow:
    """The depth updates of all symbols; `before` has what came ahead of the snapshots, which are no messages of the connection."""
    rows = _rows([(2, 8)] * len(markets))
    frames = [frame for market in markets for frame in market.frames]
    before = [frame for market in markets for frame in market.earlier]
    return Flow("binance", before, frames, [market.symbol for market in markets], rows, markets[0].recorded)


def binance_sbe_flow(markets: list[Messages]) -> Flow:
    """The same updates in the venue's binary encoding."""

    def encoded(market: Messages, frames: Iterable[bytes]) -> Iterator[bytes]:
        encoder = Encoder(SymbolInfo(market.symbol, "", "", "0.01", _PLACES, "", "", ""))
        for frame in frames:
            body = frame[frame.index(b'"data":') + len(b'"data":') : -1]
            yield encoder.diff(body)

    flow = binance_flow(markets)
    frames = [frame for market in markets for frame in encoded(market, market.frames)]
    before = [frame for market in markets for frame in encoded(market, market.earlier)]
    return flow._replace(venue="binance_sbe", before=before, frames=frames, opcode=int(Opcode.BINARY))


def coinbase_flow(limit: int | None = None, path: Path = _COINBASE, seed: int = 1) -> Flow:
    """Changes of `level2`, at most `limit`."""
    recorded = path.is_file()
    payloads = _payloads(path) if recorded else _simulated_coinbase(seed)
    before, frames = _split(payloads, b'"type":"snapshot"', b'"type":"l2update"', limit if recorded else limit or _MADE)
    products = coinbase_capture.survey([*before, *frames]).products
    symbols = sorted(products)
    rows = _rows([(products[symbol].price_decimals, products[symbol].qty_decimals) for symbol in symbols])
    return Flow("coinbase", before, frames, symbols, rows, recorded)


def kraken_flow(limit: int | None = None, path: Path = _KRAKEN, seed: int = 1) -> Flow:
    """Updates of `book`, each with its checksum, at most `limit`."""
    recorded = path.is_file()
    payloads = _as_v2(_payloads(path)) if recorded else _simulated_kraken(seed)
    before, frames = _split(
        payloads, b'"channel":"book","type":"snapshot"', b'"channel":"book","type":"update"', limit if recorded else limit or _MADE
    )
    pairs = kraken_capture.survey([*before, *frames]).pairs
    symbols = sorted(pairs)
    return Flow("kraken", before, frames, symbols, _rows([(pairs[s].price_decimals, pairs[s].qty_decimals) for s in symbols]), recorded)


def _rows(decimals: list[tuple[int, int]]) -> NDArray[Any]:
    rows = np.zeros(len(decimals), INSTRUMENT)
    rows["tick_units"] = rows["lot_units"] = 1
    rows["price_decimals"], rows["qty_decimals"] = np.array(decimals).T
    return rows


def _payloads(path: Path) -> Iterator[bytes]:
    return (line.payload for line in read_capture(path) if line.payload and not line.connects and not line.reply)


def _split(payloads: Iterable[bytes], whole: bytes, change: bytes, limit: int | None) -> tuple[list[bytes], list[bytes]]:
    """Snapshots first, then changes. Books of one connection do not depend on each other, so that their order is of no matter."""
    before: list[bytes] = []
    frames: list[bytes] = []
    for payload in payloads:
        if whole in payload[:_HEAD]:
            before.append(payload)
        elif change in payload[:_HEAD]:
            frames.append(payload)
            if len(frames) == limit:
                break
    return before, frames


def _as_v2(payloads: Iterable[bytes]) -> Iterator[bytes]:
    """The book messages of v1 in the words of v2; a snapshot, which had no checksum, gets one."""
    for payload in payloads:
        message = json.loads(payload)
        if not isinstance(message, list):
            continue
        sides = {name: levels for part in message[1:-2] for name, levels in part.items()}
        whole = "as" in sides or "bs" in sides
        asks, bids = (sides.get(name + "s" * whole, []) for name in "ab")
        checksum = checksum_of(asks, bids) if whole else int(sides["c"])
        time_s = max((float(level[2]) for level in asks + bids), default=0.0)
        stamp = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        texts = [",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty, *_ in levels) for levels in (bids, asks)]
        yield (
            f'{{"channel":"book","type":"{"snapshot" if whole else "update"}","data":[{{"symbol":"{message[-1]}",'
            f'"bids":[{texts[0]}],"asks":[{texts[1]}],"checksum":{checksum},"timestamp":"{stamp}"}}]}}'
        ).encode()


def _market(specs: list[FlowSpec], names: list[str], seed: int) -> Callable[[], SyntheticMarket]:
    uniforms = [random.Random(f"{seed}:{name}").random for name in names]
    return lambda: SyntheticMarket(specs, uniforms, _EVENTS_PER_S, seed)


def _simulated_coinbase(seed: int) -> Iterator[bytes]:
    names = ["BTC-USD", "ETH-USD"]
    products = tuple(coinbase_products.PRODUCTS[name] for name in names)
    make = _market([coinbase_products.flow(product) for product in products], names, seed)
    venue = CoinbaseVenue(make, Settings(unlimited=True), _UTC_NS, products, (), True)
    return _simulated(venue, "/", {"type": "subscribe", "product_ids": names, "channels": ["level2_batch"]})


def _simulated_kraken(seed: int) -> Iterator[bytes]:
    names = ["BTC/USD", "ETH/USD"]
    make = _market([kraken_pairs.flow(kraken_pairs.PAIRS[name]) for name in names], names, seed)
    venue = KrakenVenue(make, Settings(unlimited=True), _UTC_NS, tuple(names), ())
    params = {"channel": "book", "symbol": names, "depth": 1000}
    return _simulated(venue, "/v2", {"method": "subscribe", "params": params})


def _simulated(venue: Any, path: str, subscription: dict[str, Any]) -> Iterator[bytes]:
    """What a simulated venue sends a client until it falls silent, which it does not; the time goes from deadline to deadline."""
    now_ns = 0
    session = venue.open(venue.admit(path, {}, now_ns), now_ns)
    venue.receive(session, int(Opcode.TEXT), json.dumps(subscription).encode(), now_ns)
    silent_turns = 0
    while silent_turns < _SILENT_TURNS_MAX:
        silent_turns = 0 if session.outbox else silent_turns + 1
        yield from [payload for opcode, payload in session.outbox if opcode == Opcode.TEXT]
        session.outbox.clear()
        now_ns += 1
        if not venue.work(now_ns, 1000):
            now_ns = max(venue.deadline_ns(), now_ns)
