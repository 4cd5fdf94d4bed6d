"""Background: lets the exchange see the events of a market, each as what it does to the book that accounts trade against."""

from __future__ import annotations

from decimal import Decimal

from hft.sim.exchange.exchange import Exchange
from hft.sim.market import BookText, Event, EventKind, Level, decode_depth, decode_ticker, decode_trade


class Units:
    """Turns decimal text of one instrument into ticks and lots; text between two is cut towards zero."""

    def __init__(self, tick: Decimal, lot: Decimal) -> None:
        self._tick, self._lot = tick, lot
        #: Text comes back often: the levels of a book, the sizes of a maker.
        self._ticks: dict[str, int] = {}

    def ticks(self, text: str) -> int:
        """Return a price in ticks."""
        found = self._ticks.get(text)
        if found is None:
            if len(self._ticks) > 100_000:
                self._ticks.clear()
            found = self._ticks[text] = int(Decimal(text) / self._tick)
        return found

    def lots(self, text: str) -> int:
        """Return a size in lots."""
        return int(Decimal(text) / self._lot)

    def levels(self, levels: list[Level]) -> list[tuple[int, int]]:
        """Return levels as (ticks, lots)."""
        return [(self.ticks(price), self.lots(qty)) for price, qty in levels]


class Background:
    """Follows a market for an exchange whose instruments are keyed by the market's own symbols, or by `names` of them."""

    def __init__(self, exchange: Exchange, names: dict[str, str] | None = None) -> None:
        """`names` maps a symbol of the market to the exchange's, where they differ."""
        self._exchange = exchange
        self._last_ticks: dict[str, int] = {}
        self._names = names or {symbol: symbol for symbol in exchange.instruments}
        self._units = {
            market: Units(exchange.instruments[name].tick, exchange.instruments[name].lot) for market, name in self._names.items()
        }

    def last_ticks(self, market_symbol: str) -> int:
        """Return the price of the last public trade; 0 before any."""
        return self._last_ticks.get(market_symbol, 0)

    def load(self, market_symbol: str, book: BookText, now_ns: int) -> None:
        """Begin with, or go over to, a whole book."""
        units = self._units[market_symbol]
        self._exchange.show_book(self._names[market_symbol], units.levels(book.bids), units.levels(book.asks), now_ns)

    def follow(self, event: Event, now_ns: int) -> None:
        """Take an event of the market: levels of the 100 ms diffs, best prices in between, and trades."""
        name = self._names.get(event.symbol)
        if name is None:
            return
        units = self._units[event.symbol]
        if event.kind is EventKind.DEPTH:
            if event.stream.endswith("@100ms"):
                update = decode_depth(event.body)
                self._exchange.show_levels(name, units.levels(update.b), units.levels(update.a), now_ns)
        elif event.kind is EventKind.TICKER:
            ticker = decode_ticker(event.body)
            bid, ask = (units.ticks(ticker.b), units.lots(ticker.B)), (units.ticks(ticker.a), units.lots(ticker.A))
            self._exchange.show_best(name, bid, ask, now_ns)
        elif event.kind is EventKind.TRADE:
            trade = decode_trade(event.body)
            ticks = self._last_ticks[event.symbol] = units.ticks(trade.p)
            self._exchange.public_trade(name, -1 if trade.m else 1, ticks, units.lots(trade.q), now_ns)
