"""Kraken REST budget: how far execution may raise a key's REST counter, which rises with each call and falls all the time.

History calls cost 2, others 1. The counter is the key's, whoever asks: most calls leave a part of it to people and their tools. An order
whose fate is not known is exposure, so questions for orders may take nearly all of it.
"""

from __future__ import annotations

_SECOND_NS = 1_000_000_000

#: tier -> (maximum, fall a second in thousandths), as the venue documents
TIERS = {"starter": (15, 330), "intermediate": (20, 500), "pro": (20, 1000)}

#: How full the counter may become by a call, in per cent: by any, and by a question for an order.
PERCENT, URGENT_PERCENT = 70, 95


class Budget:
    """The counter, as far as this process raises it."""

    def __init__(self, tier: str = "starter") -> None:
        """Raises ValueError for an unknown tier."""
        if tier not in TIERS:
            raise ValueError(f"tier: expected one of {tuple(TIERS)}, was {tier!r}")
        self._maximum, self._fall = TIERS[tier]
        self._counter = 0  #: in 1e-9
        self._fell_ns = self._refused_until_ns = 0

    def spend(self, weight: int, now_ns: int, urgent: bool = False) -> bool:
        """Count a call of this weight, if it fits."""
        self._drain(now_ns)
        if now_ns < self._refused_until_ns or self._counter + weight * _SECOND_NS > self._most(URGENT_PERCENT if urgent else PERCENT):
            return False
        self._counter += weight * _SECOND_NS
        return True

    def refused(self, now_ns: int) -> None:
        """The venue says that the counter is full, by whomever: nothing is asked until it has fallen by one."""
        self._drain(now_ns)
        self._counter = max(self._counter, self._most(PERCENT))
        self._refused_until_ns = now_ns + 1000 * _SECOND_NS // self._fall

    def _most(self, percent: int) -> int:
        return self._maximum * percent * _SECOND_NS // 100

    def _drain(self, now_ns: int) -> None:
        elapsed_ns = max(now_ns - self._fell_ns, 0)
        self._counter = max(self._counter - elapsed_ns * self._fall // 1000, 0)
        self._fell_ns = max(now_ns, self._fell_ns)
