"""A ladder is one side of an integer order book that remembers which levels changed.

Levels are kept under a *key* that is greatest at the best price on both sides: the ticks of a bid, minus the ticks of an
ask. The sorted keys thus have the best level last, where adding and removing is cheapest.
"""

from __future__ import annotations

from bisect import bisect_left


class Ladder:
    """Price levels of one side, sizes in lots."""

    __slots__ = ("_changed", "keys", "lots")

    def __init__(self) -> None:
        #: Sorted; the best is `keys[-1]`.
        self.keys: list[int] = []
        #: key -> size in lots, positive
        self.lots: dict[int, int] = {}
        self._changed: set[int] = set()

    def __len__(self) -> int:
        return len(self.keys)

    def change(self, key: int, lots: int) -> None:
        """Add lots (negative: take away; never 0) at a level, which appears and disappears as needed."""
        before = self.lots.get(key, 0)
        after = before + lots
        if after < 0:
            raise ValueError(f"level {key} has {before} lots, cannot take {-lots}")
        self._changed.add(key)
        if after == 0:
            del self.lots[key]
            del self.keys[bisect_left(self.keys, key)]
            return
        self.lots[key] = after
        if not before:
            self.keys.insert(bisect_left(self.keys, key), key)

    def changes(self) -> list[tuple[int, int]]:
        """Return (key, lots) of each level changed since the last call, best first; 0 lots means it is gone."""
        keys = sorted(self._changed, reverse=True)
        self._changed.clear()
        return [(key, self.lots.get(key, 0)) for key in keys]

    def levels(self) -> list[tuple[int, int]]:
        """Return (key, lots) of every level, best first."""
        return [(key, self.lots[key]) for key in reversed(self.keys)]
