"""The naive feed: one symbol's synchronisation by the venue's published rule, on dicts, and what it makes valid and invalid."""

from __future__ import annotations

from dataclasses import dataclass, field

Diff = tuple[int, int, list[tuple[int, int, int]]]  # U, u, [(side, ticks, lots)]


@dataclass
class NaiveFeed:
    """`synced`, `last_id`, `book` {(side, ticks): lots} and `wants` say where it stands; each method returns what it announced."""

    synced: bool = False
    last_id: int = 0
    wants: bool = False
    reason: int = 1001
    book: dict[tuple[int, int], int] = field(default_factory=dict)
    buffer: list[Diff] = field(default_factory=list)
    quotes: list[tuple[int, tuple[int, int, int, int]]] = field(default_factory=list)
    mismatches: int = 0
    newest_quote: int = -1

    def diff(self, diff: Diff) -> str:
        first, last, changes = diff
        if not self.synced:
            self._keep(diff)
            return ""
        if last <= self.last_id:
            return ""
        if first > self.last_id + 1:
            self._keep(diff)
            return self._invalid(1002)
        self._set(changes)
        self.last_id = last
        if self._crossed():
            return self._invalid(1003)
        if not self._agrees():
            return self._invalid(1002)
        return "TOP"

    def quote(self, last: int, best: tuple[int, int, int, int]) -> str:
        if last <= self.newest_quote:
            return ""
        self.newest_quote = last
        self.quotes.append((last, best))
        return "QUOTE"

    def malformed(self) -> str:
        return self._invalid(1006) if self.synced else ""

    def snapshot(self, last: int, book: dict[tuple[int, int], int]) -> str:
        if self.synced:
            return ""
        if self.buffer and last + 1 < self.buffer[0][0]:
            self.wants = True
            return ""
        self.book, self.last_id = dict(book), last
        waiting, self.buffer = self.buffer, []
        for first, through, changes in waiting:
            if through <= self.last_id:
                continue
            if first > self.last_id + 1:
                self.wants = True
                return ""
            self._set(changes)
            self.last_id = through
        if self._crossed():
            self.wants = True
            return ""
        self.synced, self.wants = True, False
        return "BOOK"

    def disconnect(self) -> str:
        self.buffer, self.wants, self.quotes, self.newest_quote = [], False, [], -1
        return self._invalid(1005) if self.synced else ""

    def best(self) -> tuple[int, int, int, int]:
        bid = max((ticks for side, ticks in self.book if side > 0), default=0)
        ask = min((ticks for side, ticks in self.book if side < 0), default=0)
        return bid, self.book.get((1, bid), 0), ask, self.book.get((-1, ask), 0)

    def _keep(self, diff: Diff) -> None:
        if not self.buffer:
            self.wants = True
        self.buffer.append(diff)

    def _set(self, changes: list[tuple[int, int, int]]) -> None:
        for side, ticks, lots in changes:
            self.book.pop((side, ticks), None)
            if lots:
                self.book[side, ticks] = lots

    def _crossed(self) -> bool:
        bid, _, ask, _ = self.best()
        return 0 < ask <= bid

    def _agrees(self) -> bool:
        known = [best for last, best in self.quotes if last <= self.last_id]
        # Quotes come in the order of their ids, so the known ones are the oldest.
        self.quotes = self.quotes[len(known) :]
        if not known:
            return True
        if known[-1] == self.best():
            self.mismatches = 0
            return True
        self.mismatches += 1
        return self.mismatches < 2

    def _invalid(self, reason: int) -> str:
        self.synced, self.reason, self.mismatches = False, reason, 0
        if self.buffer:
            self.wants = True
        return f"INVALID {reason}"
