"""Rate counters: they rise with each request, fall all the time, and refuse what would lift them over their limit."""

from __future__ import annotations

from hft.sim.texts import SECOND_NS


class RateCounter:
    """One counter, in thousandths. A token bucket is the same thing: what its tokens are short of is what is counted here."""

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

    def fits(self, units_thousandths: int, now_ns: int) -> bool:
        """Charge a request; return False, and charge nothing, when it would exceed the maximum."""
        if self.value(now_ns) + units_thousandths > self._maximum and not self._unlimited:
            return False
        self._scaled += units_thousandths * SECOND_NS
        return True

    def charge(self, units_thousandths: int, now_ns: int) -> None:
        """Charge a request that is never refused."""
        self.value(now_ns)
        self._scaled += units_thousandths * SECOND_NS
