"""Kraken's rate counters: they rise with each request, fall all the time, and refuse what would lift them over their limit."""

from __future__ import annotations

from hft.sim.kraken.wire import SECOND_NS, KrakenError

#: Of the trading engine, for a pair and a customer of the highest tier; thousandths.
TRADING_MAX, TRADING_PER_S = 180_000, 3_750
#: Of private REST, for a customer.
REST_MAX, REST_PER_S = 20_000, 1_000
#: (age of the order below s, units)
_CANCEL = ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1))
_AMEND = ((5, 3), (10, 2), (15, 1))


class Counter:
    """One counter, in thousandths."""

    def __init__(self, maximum: int, per_s: int, unlimited: bool = False) -> None:
        self._maximum, self._per_s, self._unlimited = maximum, per_s, unlimited
        #: The counter times SECOND_NS, so that it falls evenly however often it is read.
        self._scaled = 0
        self._at_ns = 0

    def value(self, now_ns: int) -> int:
        """Return the counter now."""
        if now_ns > self._at_ns:
            self._scaled = max(0, self._scaled - (now_ns - self._at_ns) * self._per_s)
            self._at_ns = now_ns
        return -(-self._scaled // SECOND_NS)

    def spend(self, units_thousandths: int, now_ns: int, error: str) -> None:
        """Charge a request. Raises KrakenError, and charges nothing, when it would exceed the maximum."""
        if self.value(now_ns) + units_thousandths > self._maximum and not self._unlimited:
            raise KrakenError(error)
        self._scaled += units_thousandths * SECOND_NS

    def charge(self, units_thousandths: int, now_ns: int) -> None:
        """Charge a request that is never refused."""
        self.value(now_ns)
        self._scaled += units_thousandths * SECOND_NS


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
