"""Kraken REST budget: execution's part of a key's REST counter, which rises with each call and falls all the time.

History calls cost 2, others 1. The counter is the key's, whoever asks, so execution leaves a part of it alone.
"""

from __future__ import annotations

_SECOND_NS = 1_000_000_000

#: tier -> (maximum, fall a second in thousandths), as the venue documents
TIERS = {"starter": (15, 330), "intermediate": (20, 500), "pro": (20, 1000)}

#: Execution's part of the counter, in per cent. Feeds ask nothing of an account; the rest is for people, and their tools.
EXECUTION_PERCENT = 70


class Budget:
    """One part of the counter."""

    def __init__(self, tier: str = "starter", percent: int = EXECUTION_PERCENT) -> None:
        """Raises ValueError for an unknown tier."""
        if tier not in TIERS:
            raise ValueError(f"tier: expected one of {tuple(TIERS)}, was {tier!r}")
        maximum, fall = TIERS[tier]
        self._maximum = maximum * percent * _SECOND_NS // 100
        self._fall = fall * percent
        self._counter = 0
        self._fell_ns = 0

    def spend(self, weight: int, now_ns: int) -> bool:
        """Count a call of this weight, if it fits."""
        self._drain(now_ns)
        if self._counter + weight * _SECOND_NS > self._maximum:
            return False
        self._counter += weight * _SECOND_NS
        return True

    def fill(self, now_ns: int) -> None:
        """The venue says that the counter is full."""
        self._drain(now_ns)
        self._counter = self._maximum

    def _drain(self, now_ns: int) -> None:
        elapsed_ns = max(now_ns - self._fell_ns, 0)
        self._counter = max(self._counter - elapsed_ns * self._fall // 100_000, 0)
        self._fell_ns = max(now_ns, self._fell_ns)
