"""Pacing: how often a session says what it may say: messages of one budget, and resyncs of rows that keep falling out of step."""

from __future__ import annotations

from typing import NamedTuple

_SECOND_NS = 1_000_000_000


class MessageBudget:
    """Messages that a connection may send: so many at once, and so many a second."""

    def __init__(self, at_once: int, per_s: float) -> None:
        self._at_once, self._per_s = float(at_once), per_s
        self._left = float(at_once)
        self._at_ns = 0

    def renew(self, now_ns: int) -> None:
        """A new connection begins with the whole budget."""
        self._left, self._at_ns = self._at_once, now_ns

    def spend(self, wanted: int, now_ns: int) -> int:
        """How many of the messages wanted may be sent now."""
        refill = max(0, now_ns - self._at_ns) * self._per_s / _SECOND_NS
        self._left, self._at_ns = min(self._at_once, self._left + refill), now_ns
        count = min(wanted, int(self._left))
        self._left -= count
        return count


class ResyncLimits(NamedTuple):
    """How far apart the resyncs of a row are: doubling from the least to the most; one that held long enough is forgiven."""

    least_ns: int
    most_ns: int
    forgiven_ns: int


class Resyncs:
    """The rows that wait for their resync."""

    def __init__(self, limits: ResyncLimits) -> None:
        self._limits = limits
        self._waiting: dict[int, tuple[int, bool]] = {}  # row -> (when its resync is due, whether the one before held)
        self._newest: dict[int, tuple[int, int]] = {}  # row -> (when it was resynced, how far apart the next must be)

    def clear(self) -> None:
        """A new connection: nothing waits, and all is forgiven."""
        self._waiting.clear()
        self._newest.clear()

    def want(self, row: int, now_ns: int) -> None:
        """Have a row resynced, at once or when its turn comes."""
        newest_ns, apart_ns = self._newest.get(row, (now_ns - self._limits.forgiven_ns, 0))
        # What held is the time until the resync failed, without that for which the next one had to wait.
        held = now_ns - newest_ns >= self._limits.forgiven_ns
        self._waiting.setdefault(row, (now_ns if held else newest_ns + apart_ns, held))

    def due(self, now_ns: int) -> list[int]:
        """The rows whose turn it is; they are taken for resynced."""
        rows = [row for row, (due_ns, _) in self._waiting.items() if due_ns <= now_ns]
        for row in rows:
            held = self._waiting.pop(row)[1]
            apart_ns = self._newest.get(row, (0, 0))[1]
            self._newest[row] = (now_ns, self._limits.least_ns if held else min(2 * apart_ns, self._limits.most_ns))
        return rows
