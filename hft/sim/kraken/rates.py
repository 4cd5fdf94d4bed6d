"""Kraken's rate counters: of the trading engine, where young orders cost more, and of private REST."""

from __future__ import annotations

from hft.sim.kraken.wire import KrakenError
from hft.sim.rates import RateCounter
from hft.sim.texts import SECOND_NS

#: Of the trading engine, for a pair and a customer of the highest tier; thousandths.
TRADING_MAX, TRADING_PER_S = 180_000, 3_750
#: Of private REST, for a customer.
REST_MAX, REST_PER_S = 20_000, 1_000
#: (age of the order below s, units)
_CANCEL = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
_AMEND = ((5, 3), (10, 2), (15, 1))


class Counter(RateCounter):
    """One counter of this venue, in thousandths."""

    def spend(self, units_thousandths: int, now_ns: int, error: str) -> None:
        """Charge a request. Raises KrakenError, and charges nothing, when it would exceed the maximum."""
        if not self.fits(units_thousandths, now_ns):
            raise KrakenError(error)


class TradingLimits:
    """The counters of the trading engine, one a customer and pair; socket and REST share them."""

    ERROR = "EOrder:Rate limit exceeded"

    def __init__(self, unlimited: bool) -> None:
        self._unlimited = unlimited
        self._counters: dict[tuple[str, str], Counter] = {}

    def counter(self, account: str, symbol: str) -> Counter:
        """Return a counter."""
        key = (account, symbol)
        if key not in self._counters:
            self._counters[key] = Counter(TRADING_MAX, TRADING_PER_S, self._unlimited)
        return self._counters[key]

    def add(self, account: str, symbol: str, now_ns: int, orders: int = 1) -> None:
        """Charge one new order, or a batch of them at half price. Raises KrakenError."""
        units = 1000 if orders == 1 else 500 * orders
        self.counter(account, symbol).spend(units, now_ns, self.ERROR)

    def amend(self, account: str, symbol: str, age_ns: int, now_ns: int) -> None:
        """Charge an amendment of an order that has been as it is for `age_ns`. Raises KrakenError."""
        self.counter(account, symbol).spend(1000 + _by_age(_AMEND, age_ns), now_ns, self.ERROR)

    def cancel(self, account: str, symbol: str, age_ns: int, now_ns: int) -> None:
        """Charge a cancellation, which lifts the counter but always goes through."""
        self.counter(account, symbol).charge(_by_age(_CANCEL, age_ns), now_ns)


def _by_age(steps: tuple[tuple[int, int], ...], age_ns: int) -> int:
    return next((units * 1000 for below_s, units in steps if age_ns < below_s * SECOND_NS), 0)
