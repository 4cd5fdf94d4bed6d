"""Replay: takes journals apart into what a stage was given and what it decided, and compares two runs of it.

Decisions depend on record contents, `now_ns` and `received_ns` alone, so a stage that is given the journaled INPUTs again must
write the same outputs byte for byte, but for the stamps that only measure (`MEASURED_FIELDS`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.journal_format import RECORD_OF_KIND
from hft.journal_reader import Entry, JournalReader
from hft.records import INPUT, JournalKind

#: Stamps written by a burst and read by no decision.
MEASURED_FIELDS = ("decode_ns", "decoded_ns", "decided_ns", "approved_ns", "sent_ns", "reported_ns")

#: What a stage decided.
OUTPUT_KINDS = frozenset({JournalKind.INTENT, JournalKind.VERDICT, JournalKind.ORDER, JournalKind.SENDING, JournalKind.REPORT})


class ReplayError(Exception):
    """A journal is whole but cannot have been written by a stage."""


class Output(NamedTuple):
    """One entry that a stage wrote: a JournalKind and its records."""

    kind: int
    records: NDArray[Any]


class Work(NamedTuple):
    """One `work` call that took something in; number 0 is what the stage wrote before its first."""

    number: int
    now_ns: int
    inputs: NDArray[Any]  # INPUT records, in order
    outputs: tuple[Output, ...]


class StageJournal:
    """A deciding stage's journal as the works it consists of; iterate it once.

    `inputs` and `decisions` count the records yielded so far.
    """

    def __init__(self, reader: JournalReader) -> None:
        """Take over `reader`, which has read nothing yet."""
        self.reader = reader
        #: Content of the SESSION entry, once iteration has begun.
        self.session: Any = None
        self.inputs = 0
        self.decisions = 0

    def __iter__(self) -> Iterator[Work]:
        """Raises JournalDamage, and ReplayError if work numbers or times do not fit together."""
        work = _Unfinished(0, 0)
        for entry in self.reader.entries():
            if entry.kind == JournalKind.SESSION:
                self.session = entry.json()
            elif entry.kind == JournalKind.INPUT:
                for row in entry.records():
                    if row["work"] != work.number:
                        yield from self._finish(work)
                        work = _following(work, row, entry)
                    elif row["now_ns"] != work.now_ns:
                        raise ReplayError(f"entry {entry.sequence}: work {work.number} at {row['now_ns']} ns and at {work.now_ns} ns")
                    work.inputs.append(row)
            elif entry.kind in OUTPUT_KINDS:
                work.outputs.append(Output(entry.kind, entry.records()))
        yield from self._finish(work)

    def _finish(self, work: _Unfinished) -> Iterator[Work]:
        if work.number or work.outputs:
            self.inputs += len(work.inputs)
            self.decisions += sum(len(output.records) for output in work.outputs)
            yield Work(work.number, work.now_ns, np.array(work.inputs, INPUT), tuple(work.outputs))


class _Unfinished:
    def __init__(self, number: int, now_ns: int) -> None:
        self.number, self.now_ns = number, now_ns
        self.inputs: list[Any] = []
        self.outputs: list[Output] = []


def _following(work: _Unfinished, row: Any, entry: Entry) -> _Unfinished:
    number = int(row["work"])
    if number < work.number:
        raise ReplayError(f"entry {entry.sequence}: work {number} after work {work.number}")
    return _Unfinished(number, int(row["now_ns"]))


def mask(rows: NDArray[Any]) -> NDArray[Any]:
    """A copy of `rows` with every stamp that only measures set to 0."""
    masked = rows.copy()
    for field in MEASURED_FIELDS:
        if field in (rows.dtype.names or ()):
            masked[field] = 0
    return masked


def first_difference(expected: Iterable[Work], actual: Iterable[Work]) -> dict[str, Any] | None:
    """Where the outputs of two runs first differ, measured stamps aside; None if nowhere.

    `work`, `entry` (index among the work's outputs), `kind`, `record` (index in the entry), `field`, `expected` and `found`;
    `field` is "entry" where one run wrote another kind or number of records, or nothing.
    """
    for left, right in zip_longest(_with_outputs(expected), _with_outputs(actual)):
        if right is None or (left is not None and left.number < right.number):
            right = left._replace(outputs=())
        elif left is None or right.number < left.number:
            left = right._replace(outputs=())
        for i, (wanted, found) in enumerate(zip_longest(left.outputs, right.outputs)):
            difference = _output_difference(wanted, found)
            if difference is not None:
                return {"work": left.number, "entry": i, **difference}
    return None


def _with_outputs(works: Iterable[Work]) -> Iterator[Work]:
    return (work for work in works if work.outputs)


def _output_difference(wanted: Output | None, found: Output | None) -> dict[str, Any] | None:
    if wanted is None or found is None or wanted.kind != found.kind or len(wanted.records) != len(found.records):
        kind = JournalKind((wanted or found).kind).name  # type: ignore[union-attr]
        return {"kind": kind, "record": 0, "field": "entry", "expected": _name(wanted), "found": _name(found)}
    left, right = mask(wanted.records), mask(found.records)
    if left.tobytes() == right.tobytes():
        return None
    for i, (row, other) in enumerate(zip(left, right, strict=True)):
        for field in left.dtype.names or ():
            if row[field].tobytes() != other[field].tobytes():
                values = {"expected": row[field].tolist(), "found": other[field].tolist()}
                return {"kind": JournalKind(wanted.kind).name, "record": i, "field": field, **values}
    raise AssertionError("records that differ in no field: the layout has padding")


def _name(output: Output | None) -> str | None:
    return None if output is None else f"{len(output.records)} {JournalKind(output.kind).name}"


class RingJournal:
    """A producer's journal as the records that went to one of its rings, addressed by ring sequence.

    Those are the records of every entry of one kind whose `aux` has bit `bit` (None: of every entry of that kind), so the ring
    sequence of a record is the number of such records before it, from 0. Only where entries are is kept, 24 bytes each.
    """

    def __init__(self, reader: JournalReader, kind: JournalKind, bit: int | None) -> None:
        """Read all of `reader`, which has read nothing yet. Raises JournalDamage."""
        self._dtype = RECORD_OF_KIND[kind]
        self._files = reader.files
        self._firsts, self._file_numbers, self._offsets = array("q"), array("q"), array("q")
        self.end = 0  #: one past the last ring sequence
        for entry in reader.entries():
            if entry.kind == kind and (bit is None or entry.aux >> bit & 1):
                self._firsts.append(self.end)
                self._file_numbers.append(entry.file_number)
                self._offsets.append(entry.payload_offset)
                self.end += len(entry.records())

    def records(self, first: int, last: int) -> NDArray[Any]:
        """The records with ring sequences `first` to `last - 1`; a view if one entry holds them all.

        Raises ReplayError if the journal does not have them.
        """
        if not 0 <= first <= last <= self.end:
            raise ReplayError(f"ring sequences {first} to {last} of a journal that has 0 to {self.end}")
        if first == last:
            return np.empty(0, self._dtype)
        begin, end = bisect_right(self._firsts, first) - 1, bisect_right(self._firsts, last - 1)
        parts = [self._records_of(i) for i in range(begin, end)]
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        skipped = self._firsts[begin]
        return rows[first - skipped : last - skipped]

    def _records_of(self, i: int) -> NDArray[Any]:
        following = self._firsts[i + 1] if i + 1 < len(self._firsts) else self.end
        file = self._files[self._file_numbers[i] - 1]
        return np.frombuffer(file.view, self._dtype, following - self._firsts[i], self._offsets[i])


class MarketJournal(RingJournal):
    """A feed's journal as the MARKET records that went to its ring number `bit`."""

    def __init__(self, reader: JournalReader, bit: int) -> None:
        super().__init__(reader, JournalKind.MARKET, bit)
