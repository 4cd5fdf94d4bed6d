"""A recorded market plays an indexed recording again; memory holds its snapshots and books only."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Mapping
from operator import itemgetter

from hft.sim.market import BookText, DiffMerger, Event, EventKind, Hold, Stamp, SymbolInfo, TextBook, decode_depth
from hft.sim.recording_index import Index, Snapshot, decode_line, exchange_ns, kind_of, read_lines, symbol_of

STAMP_PATTERN = re.compile(rb'("[ET]"\s*:\s*)(\d+)')


class RecordedMarket:
    """Plays an indexed recording once."""

    def __init__(self, index: Index, as_recorded: bool = False) -> None:
        """Play `index`; `as_recorded` leaves every byte of a message as it was, stamps included."""
        self._index = index
        self._as_recorded = as_recorded
        self._lines = heapq.merge(*(self._file_lines(number) for number in range(len(index.files))), key=itemgetter(0))
        self._next = next(self._lines, None)
        self._at_ns = 0
        self._held = False
        self._ahead: dict[str, list[Snapshot]] = {name: [] for name in index.symbols}
        for snapshot in reversed(index.snapshots):
            self._ahead[snapshot.symbol].append(snapshot)
        self._by_place = {(snapshot.file, snapshot.line): snapshot for snapshot in index.snapshots}
        self._books = {name: TextBook(max(index.first_ids[name] - 1, 0)) for name in index.symbols}
        self._mergers = {
            name: DiffMerger(name)
            for name in index.symbols
            if f"{name.lower()}@depth@100ms" in index.streams and f"{name.lower()}@depth" not in index.streams
        }
        self._stamp: Stamp = _unshifted
        self._hold: Hold = _never

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return the pairs it plays; their filters are inferred from the recorded prices and sizes."""
        return self._index.symbols

    def begin(self, stamp: Stamp, hold: Hold) -> None:
        """Start at the first line."""
        self._stamp, self._hold = stamp, hold

    def due_ns(self) -> int | None:
        """Return the position of the next line; None at the end."""
        return None if self._next is None else max(self._next[0] - self._index.first_ns, self._at_ns)

    def held(self) -> bool:
        """Return whether playback waits before a snapshot."""
        return self._held

    def advance(self, until_ns: int, limit: int) -> list[Event]:
        """Return the next messages; see Market."""
        events: list[Event] = []
        self._held = False
        while self._next is not None and len(events) < limit:
            at_ns = max(self._next[0] - self._index.first_ns, self._at_ns)
            if at_ns > until_ns:
                break
            _, number, line, payload = self._next
            snapshot = self._by_place.get((number, line))
            if snapshot is not None and not self._pass(snapshot, events):
                self._held = True
                break
            self._at_ns = at_ns
            if snapshot is None:
                self._message(at_ns, payload, events)
            self._next = next(self._lines, None)
        return events

    def depth(self, symbol: str, limit: int) -> bytes:
        """Return the next recorded snapshot until playback reached it, then the simulator's own book."""
        ahead, book = self._ahead[symbol], self._books[symbol]
        if book.exact or not ahead:
            return book.text().body(limit)
        recorded = ahead[-1]
        if limit >= max(len(recorded.book.bids), len(recorded.book.asks)):
            return recorded.body
        return recorded.book.body(limit)

    def book(self, symbol: str) -> BookText:
        """Return the simulator's own book: the last snapshot passed and the diffs since, or what the diffs alone tell."""
        return self._books[symbol].text()

    def last_update_id(self, symbol: str) -> int:
        """Return the id of that book."""
        return self._books[symbol].last_update_id

    def describe(self) -> dict[str, object]:
        """Return the files, the span and what was counted."""
        index = self._index
        names = [file.name for file in index.files]
        return {"market": "recording", "files": names, "span_ns": index.span_ns, "messages": index.messages, "ignored": index.ignored}

    def _file_lines(self, number: int) -> Iterator[tuple[int, int, int, bytes]]:
        for received_ns, line, payload in read_lines(self._index.files[number]):
            yield received_ns, number, line, payload

    def _pass(self, snapshot: Snapshot, events: list[Event]) -> bool:
        """Move past a snapshot's place, unless playback should wait there."""
        if self._hold(snapshot.symbol):
            return False
        self._ahead[snapshot.symbol].pop()
        if not self._books[snapshot.symbol].exact:
            self._books[snapshot.symbol].load(snapshot.book)
            events.append(Event(self._at_ns, EventKind.BOOK, snapshot.symbol, "", b""))
        return True

    def _message(self, at_ns: int, payload: bytes, events: list[Event]) -> None:
        message = decode_line(payload)
        stream = message.stream
        symbol = symbol_of(stream)
        if not stream:
            return
        body = bytes(message.data)
        if not self._as_recorded:
            body = STAMP_PATTERN.sub(self._shifted, body)
        kind = kind_of(stream)
        events.append(Event(at_ns, kind, symbol, stream, body))
        if kind == EventKind.DEPTH:
            update = decode_depth(body)
            self._books[symbol].apply(update)
            merged = self._mergers[symbol].merge(at_ns, update) if symbol in self._mergers else None
            if merged is not None:
                events.append(merged)

    def _shifted(self, found: re.Match[bytes]) -> bytes:
        """Return an exchange stamp moved to now, in as many digits as it had."""
        recorded = int(found[2])
        position_ns = exchange_ns(recorded) - self._index.lead_ns - self._index.first_ns
        unit_ns = exchange_ns(recorded) // recorded if recorded else 1
        return found[1] + str(self._stamp(position_ns) // unit_ns).encode()


def _unshifted(position_ns: int) -> int:
    return position_ns


def _never(_: str) -> bool:
    return False
