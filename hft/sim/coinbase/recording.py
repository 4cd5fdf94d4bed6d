"""A recording of Coinbase's feed as a market: raw messages, one a line, with or without the receive time before them.

Books are those of `level2` or `level2_batch`, and trades those of `matches`; or both are those of `full`, with the answers to REST requests
for whole books that a recorder put beside it. Products are those that have a whole book; their increments are the finest that were
recorded, unless they are known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from hft.sim.coinbase.products import PRODUCTS, Product
from hft.sim.coinbase.recorded_orders import MOVING, RecordedOrders
from hft.sim.market import SymbolInfo
from hft.sim.recorded_frames import Frame, Recording, Side, Survey, Trade, number_of
from hft.sim.recording_index import RecordingError, RecordingFile, numbered
from hft.sim.synthetic import PLACES
from hft.sim.texts import decode_json, parse_rfc3339

#: How lines begin that a recorder wrote about its connection.
ABOUT = (b"ws", b"http")


def scan(file: RecordingFile) -> Recording:
    """Read a recording once. Raises RecordingError when it cannot be played."""
    survey = Survey(file, read_frames)
    #: symbol -> decimals of prices and of sizes
    decimals: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for frame in survey.frames():
        sides = [side for change in frame.changes for side in change]
        prices = [*(price for side in sides for price in side), *(trade.price for trade in frame.trades)]
        sizes = [*(size for side in sides for size in side.values()), *(trade.qty for trade in frame.trades)]
        before = decimals[frame.symbol]
        decimals[frame.symbol] = max(before[0], _decimals(prices)), max(before[1], _decimals(sizes))
    for symbol in survey.first:
        if max(decimals[symbol]) > PLACES:
            raise RecordingError(f"{file.name}: prices and sizes of {symbol} have more than {PLACES} decimals")
    infos = {symbol: _info(symbol, *decimals[symbol]) for symbol in survey.first}
    return survey.recording(infos, dict.fromkeys(infos, 0), "any product")


def products_of(recording: Recording) -> list[Product]:
    """Return the recorded products."""
    return [
        Product(info.symbol, info.base, info.quote, _places(info.tick), _places(info.lot), info.notional_min)
        for info in recording.infos.values()
    ]


def read_frames(file: RecordingFile) -> Iterator[Frame]:
    """Yield the messages about books and trades in order. Raises RecordingError at a line that is no message of this venue."""
    reader = _Reader()
    for number, line in numbered(file):
        text = line.partition(b" ")[2] if line[:1].isdigit() else line
        if text.startswith(ABOUT):
            continue
        try:
            message = decode_json(text)
            if isinstance(message, dict):
                yield from reader.take(message)
        except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise RecordingError(f"{file.place(number)}: expected a message of the feed, found {text[:60]!r} ({error})") from error


class _Reader:
    """Makes frames of messages: of levels as they are, of orders as the levels behind them."""

    def __init__(self) -> None:
        self._at_ns = 0
        #: Products whose levels are told; their orders are not looked at.
        self._leveled: set[str] = set()
        self._orders: defaultdict[str, RecordedOrders] = defaultdict(RecordedOrders)
        #: Product of the answer to a REST request that the next line is; "" if it is none.
        self._answered = ""

    def take(self, message: Mapping[str, Any]) -> Iterator[Frame]:
        """Yield what a message says of a book and of trades."""
        answered, self._answered = self._answered, ""
        if message.get("recorder") == "reply":
            self._answered = str(message["symbol"])
            return
        if "time" in message:
            self._at_ns = max(self._at_ns, parse_rfc3339(message["time"]))
        kind = message.get("type")
        if kind is None and answered and answered not in self._leveled:
            yield Frame(self._at_ns, True, answered, [self._orders[answered].load(message)], [])
        elif kind in ("snapshot", "l2update"):
            symbol = str(message["product_id"])
            self._leveled.add(symbol)
            yield Frame(self._at_ns, kind == "snapshot", symbol, [_levels(message)], [])
        elif kind in MOVING:
            yield from self._order(str(message["product_id"]), message)

    def _order(self, symbol: str, message: Mapping[str, Any]) -> Iterator[Frame]:
        if message["type"] == "match":
            yield Frame(self._at_ns, False, symbol, [], [_trade(message)])
        if symbol not in self._leveled:
            changed = self._orders[symbol].take(message)
            if changed is not None:
                yield Frame(self._at_ns, False, symbol, [changed], [])


def _levels(message: Mapping[str, Any]) -> tuple[Side, Side]:
    """Return bids and asks; of a price that comes twice, the last size."""
    if message["type"] == "snapshot":
        return _side(message["bids"]), _side(message["asks"])
    sides: dict[str, Side] = {"buy": {}, "sell": {}}
    for side, price, size in message["changes"]:
        sides[side][number_of(price)] = number_of(size)
    return sides["buy"], sides["sell"]


def _side(levels: Iterable[Any]) -> Side:
    return {number_of(price): number_of(size) for price, size in levels}


def _trade(message: Mapping[str, Any]) -> Trade:
    # The side is the maker's.
    return Trade(int(message["trade_id"]), number_of(message["price"]), number_of(message["size"]), message["side"] == "buy")


def _decimals(values: Iterable[Decimal]) -> int:
    return max((-exponent for value in values if (exponent := int(value.normalize().as_tuple().exponent)) < 0), default=0)


def _info(symbol: str, price_decimals: int, qty_decimals: int) -> SymbolInfo:
    known = PRODUCTS.get(symbol)
    if known is not None and known.price_decimals >= price_decimals and known.qty_decimals >= qty_decimals:
        product = known
    else:
        base, _, quote = symbol.partition("-")
        product = Product(symbol, base, quote, price_decimals, qty_decimals, "0")
    return SymbolInfo(symbol, product.base, product.quote, product.quote_increment, product.base_increment, "0", "0", product.funds_min)


def _places(increment: str) -> int:
    return len(increment.partition(".")[2])
