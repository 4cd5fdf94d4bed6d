"""Naive fill rate: every fill as a list, and the average slice by slice, the readable twin of `hft.fill_rate`."""

from __future__ import annotations

from typing import Any

from hft.breakers import SLICES


class NaiveFillRate:
    """Limits are read from the same row as the kernel's."""

    def __init__(self, firm: Any, strategies: int) -> None:
        self.firm = firm
        self.fills: list[list[tuple[int, int]]] = [[] for _ in range(strategies)]  #: (slice, value)
        self.newest: list[int | None] = [None] * strategies
        self.usual = [0] * strategies

    def _sum(self, strategy: int, number: int) -> int:
        return sum(value for at, value in self.fills[strategy] if number - SLICES <= at <= number)

    def on_fill(self, strategy: int, value_e8: int, at_ns: int) -> bool:
        """Whether that is too much."""
        number = at_ns * SLICES // int(self.firm["filled_window_ns"])
        begin = self.newest[strategy] if self.newest[strategy] is not None else number
        assert begin is not None
        number = max(number, begin)
        for ended in range(begin, min(number, begin + SLICES + 1)):
            self.usual[strategy] += (self._sum(strategy, ended) - self.usual[strategy]) // (8 * SLICES)
        quiet = max(number - begin - SLICES - 1, 0)
        self.usual[strategy] //= 2 ** (quiet // 89)
        for _ in range(quiet % 89):
            self.usual[strategy] += (0 - self.usual[strategy]) // (8 * SLICES)
        self.newest[strategy] = number
        self.fills[strategy].append((number, value_e8))
        usual = max(self.usual[strategy], int(self.firm["filled_expected_e8"]))
        return self._sum(strategy, number) * 100 > usual * int(self.firm["filled_max_percent"])

    def forget(self, strategy: int) -> None:
        self.fills[strategy].clear()
