"""Naive messages: what each strategy sent and what was filled, as plain lists, the readable twin of `hft.messages`."""

from __future__ import annotations

from typing import Any

from hft.breakers import SLICES


class NaiveMessages:
    """Limits are read from the same row as the kernel's."""

    def __init__(self, firm: Any, strategies: int) -> None:
        self.firm = firm
        self.sent: list[list[int]] = [[] for _ in range(strategies)]
        self.filled: list[list[int]] = [[] for _ in range(strategies)]

    def _slice(self, at_ns: int, strategy: int) -> int:
        """Never before what is known already."""
        number = at_ns * SLICES // int(self.firm["messages_window_ns"])
        return max([number, *self.sent[strategy][-1:], *self.filled[strategy][-1:]])

    def on_message(self, strategy: int, at_ns: int) -> None:
        self.sent[strategy].append(self._slice(at_ns, strategy))

    def on_fill(self, strategy: int, at_ns: int) -> None:
        self.filled[strategy].append(self._slice(at_ns, strategy))

    def is_over(self, strategy: int, now_ns: int) -> bool:
        first = self._slice(now_ns, strategy) - SLICES
        sent, filled = (sum(number >= first for number in told[strategy]) for told in (self.sent, self.filled))
        return sent + 1 > int(self.firm["messages_per_fill_max"]) * max(filled, 1)
