"""Journal reader: yields a journal's entries, recovers a torn tail and refuses damage; imports nothing compiled.

    reader = JournalReader(folder, "risk", epoch)
    for entry in reader.entries(): ...       # a journal at rest: to its end, which `reader.tail` then describes
    reader.poll()                            # a journal being written: what is new

`journal_format` says what is recovered and what is refused.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import stat
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.crc32c_table import checksum_runs
from hft.journal_format import (
    ENTRY_BYTES,
    HEADER_BYTES,
    MARK_WORD,
    RECORD_OF_KIND,
    JournalDamage,
    JournalError,
    JournalMismatch,
    Mark,
    check_stage,
    file_name,
    unpack_header,
    unpack_mark,
)
from hft.records import JournalKind

#: A block of entries is checked at once: past either bound it ends.
BLOCK_BYTES = 1 << 18
BLOCK_ENTRIES = 2048

_KINDS = frozenset(int(kind) for kind in JournalKind)
_KIND_MAX = max(_KINDS)
_FILE_NAME = re.compile(r"(?P<stage>.+)\.(?P<number>[0-9]{6})\.journal\Z")


class Entry(NamedTuple):
    """One entry; `payload` is a view of file `file_number` at `payload_offset`."""

    sequence: int
    kind: int
    aux: int
    record_count: int
    payload: memoryview
    file_number: int
    payload_offset: int

    def records(self) -> NDArray[Any]:
        """The payload as a read-only array of its kind's record; raises JournalError if it is none."""
        dtype = RECORD_OF_KIND.get(self.kind)
        if dtype is None or len(self.payload) != self.record_count * dtype.itemsize:
            raise JournalError(f"entry {self.sequence} of kind {self.kind}: {len(self.payload)} bytes are not {self.record_count} records")
        return np.frombuffer(self.payload, dtype)

    def json(self) -> Any:
        """The payload of a SESSION, BALANCES or END."""
        return json.loads(bytes(self.payload))


class Tail(NamedTuple):
    """Where a journal ends: `offset` in `path`; `dropped_bytes` after it are a torn tail; `closed` if END is its last entry."""

    path: Path
    offset: int
    dropped_bytes: int
    closed: bool
    last_sequence: int


class Stop(IntEnum):
    """Why a block of entries ended."""

    FULL = 1  #: there may be more
    END = 2  #: no entry has been written there
    BAD = 3  #: what is there is not a whole entry


class JournalFile:
    """One file, mapped for reading."""

    def __init__(self, path: Path, stage: str, epoch: int, number: int) -> None:
        """Raises JournalMismatch or JournalDamage if its header is not that of the file asked for."""
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}") from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise JournalError(f"{path}: not a regular file")
            self.header = unpack_header(path, os.pread(descriptor, HEADER_BYTES, 0))
            self._mapped = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        for field, expected in (("stage", stage), ("epoch", epoch), ("number", number)):
            if getattr(self.header, field) != expected:
                raise JournalMismatch(path, field, getattr(self.header, field), expected)
        self.view = memoryview(self._mapped)
        self.words: NDArray[np.int64] = np.frombuffer(self._mapped, np.int64, status.st_size // 8)

    def mark(self) -> Mark:
        """The newest mark. Raises JournalDamage if there is none."""
        for _ in range(3):  # A writer may be between the words of one while the other is read.
            mark = unpack_mark(self.words)
            if mark is not None:
                return mark
        raise JournalDamage(self.path, MARK_WORD * 8, "two marks that fail their checksums", "a valid one")

    def take(self, offset: int) -> tuple[list[tuple[int, int]], Stop]:
        """The (start, end) of each whole entry from `offset` on, for one block, and why it ended."""
        bounds, stop = self._walk(offset)
        if not bounds:
            return [], stop
        starts, ends = np.array(bounds, np.int64).T
        wrong = np.flatnonzero(~self._whole(starts, ends))
        return (bounds[: int(wrong[0])], Stop.BAD) if len(wrong) else (bounds, stop)

    def _walk(self, offset: int) -> tuple[list[tuple[int, int]], Stop]:
        bounds: list[tuple[int, int]] = []
        at, size = offset, self.words.size * 8
        while len(bounds) < BLOCK_ENTRIES and at - offset < BLOCK_BYTES:
            # SYNC first word: pairs with store_release(file, first word) in append. What follows it is read after it.
            first = int(self.words[at >> 3]) if at < size else 0
            if first == 0:
                return bounds, Stop.END
            length = first & 0xFFFFFFFF
            end = at + ENTRY_BYTES + ((length + 7) & ~7)
            if end > size:
                return bounds, Stop.BAD
            bounds.append((at, end))
            at = end
        return bounds, Stop.FULL

    def _whole(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each entry has its checksum."""
        base = int(starts.min())
        block = self.words[base >> 3 : int(ends.max()) >> 3].copy()
        fields = (starts - base) // 4 + 6
        stored = block.view(np.uint32)[fields].astype(np.int64)
        block.view(np.uint32)[fields] = 0
        return checksum_runs(block.view(np.uint8), starts - base, ends - base) == stored

    def survivor(self, offset: int, expected: int) -> tuple[int, int] | None:
        """Offset and sequence of the first whole entry behind `offset` that belongs after entry `expected - 1`, if any."""
        first = (offset >> 3) + 1
        words = self.words
        at = first + np.flatnonzero(words[first:])
        at = at[at + 4 <= words.size]
        kinds, lengths, sequences = words[at] >> 32, words[at] & 0xFFFFFFFF, words[at + 1]
        ends = at * 8 + ENTRY_BYTES + ((lengths + 7) & ~7)
        plausible = (kinds >= 1) & (kinds <= _KIND_MAX) & (ends <= words.size * 8)
        plausible &= (sequences >= expected) & (sequences <= expected + words.size // 4)
        for start, end, sequence in zip(at[plausible] * 8, ends[plausible], sequences[plausible], strict=True):
            if self._whole(np.array([start]), np.array([end]))[0]:
                return int(start), int(sequence)
        return None

    def residue_bytes(self, offset: int) -> int:
        """How many bytes from `offset` to the last that is not zero."""
        used = np.flatnonzero(np.frombuffer(self.view[offset:], np.uint8)) if offset < len(self.view) else np.empty(0)
        return int(used[-1]) + 1 if len(used) else 0

    def describe(self, offset: int) -> str:
        """What is at `offset`, for a person."""
        if offset + ENTRY_BYTES > self.words.size * 8:
            return f"the end of the file at {len(self.view)}"
        first = int(self.words[offset >> 3])
        if first == 0:
            return "no entry"
        return f"length {first & 0xFFFFFFFF} and kind {first >> 32} that fail their checksum"


class JournalReader:
    """Reads one stage's journal of one epoch, from its first entry on."""

    def __init__(self, folder: Path, stage: str, epoch: int) -> None:
        """Open file 1; raises JournalError if there is none, JournalMismatch or JournalDamage if it is not what it should be."""
        check_stage(stage)
        self.folder, self.stage, self.epoch = folder, stage, epoch
        #: The files opened so far; number N is at N - 1.
        self.files = [JournalFile(folder / file_name(stage, 1), stage, epoch, 1)]
        #: Where `entries` found the end.
        self.tail: Tail | None = None
        self._offset = HEADER_BYTES
        self._expected = self.files[0].header.first_sequence
        self._last_kind = 0
        self._last_crc = 0
        if self._expected != 1:
            raise JournalMismatch(self.files[0].path, "first sequence", self._expected, 1)

    def entries(self) -> Iterator[Entry]:
        """Every entry from here to the end of a journal that nobody writes; then `tail` is set. Raises JournalDamage.

        Leaving it half-way leaves the reader at an unspecified entry.
        """
        while True:
            entries, stop = self._take()
            yield from entries
            if stop is not Stop.FULL and not self._advance():
                break
        file = self.files[-1]
        survivor = file.survivor(self._offset, self._expected)
        if survivor is not None:
            expected = f"entry {self._expected}, since entry {survivor[1]} follows at {survivor[0]}"
            raise JournalDamage(file.path, self._offset, file.describe(self._offset), expected)
        closed = self._last_kind == JournalKind.END
        self.tail = Tail(file.path, self._offset, file.residue_bytes(self._offset), closed, self._expected - 1)

    def poll(self) -> list[Entry]:
        """What has been appended since, at most a block; empty if nothing. For a journal that is being written.

        Raises JournalDamage for an entry that fails its checksum: a writer that lives shows only whole ones.
        """
        entries, stop = self._take()
        if not entries and stop is Stop.END and self._next_path().exists():
            entries, stop = self._take()  # Entries may have come between the look at the file and that for the next.
            if not entries and stop is Stop.END:
                self._advance()
                entries, stop = self._take()
        if not entries and stop is Stop.BAD:
            file = self.files[-1]
            raise JournalDamage(file.path, self._offset, file.describe(self._offset), f"entry {self._expected}")
        return entries

    def _take(self) -> tuple[list[Entry], Stop]:
        file = self.files[-1]
        bounds, stop = file.take(self._offset)
        entries = [self._entry(file, start, end) for start, end in bounds]
        return entries, stop

    def _entry(self, file: JournalFile, start: int, end: int) -> Entry:
        """The whole entry at `start`, and go on behind it."""
        first, sequence, aux, last = file.words[start >> 3 : (start >> 3) + 4].tolist()
        kind, length = first >> 32, first & 0xFFFFFFFF
        if sequence != self._expected:
            raise JournalDamage(file.path, start, f"sequence {sequence}", f"sequence {self._expected}")
        if kind not in _KINDS:
            raise JournalDamage(file.path, start, f"kind {kind}", "a JournalKind")
        self._offset, self._expected, self._last_kind, self._last_crc = end, sequence + 1, kind, last & 0xFFFFFFFF
        at = start + ENTRY_BYTES
        return Entry(sequence, kind, aux, last >> 32, file.view[at : at + length], file.header.number, at)

    def _next_path(self) -> Path:
        return self.folder / file_name(self.stage, len(self.files) + 1)

    def _advance(self) -> bool:
        """Go on to the next file, or return False if this is the last. Raises JournalDamage if this one ends too early."""
        file, offset = self.files[-1], self._offset
        mark = file.mark()
        if offset < mark.offset:
            expected = f"entry {self._expected}, of {mark.sequence} marked whole up to {mark.offset}"
            raise JournalDamage(file.path, offset, file.describe(offset), expected)
        if not self._next_path().exists():
            later = [number for stage, number in _files(self.folder) if stage == self.stage and number > len(self.files)]
            if mark.next_file or later:
                raise JournalDamage(file.path, offset, f"no file {self._next_path().name}", f"file {max(later, default=mark.next_file)}")
            return False
        following = JournalFile(self._next_path(), self.stage, self.epoch, len(self.files) + 1)
        begins = following.header.first_sequence
        if begins != self._expected:
            expected = f"entry {self._expected}, since {following.path.name} begins with {begins}"
            raise JournalDamage(file.path, offset, file.describe(offset), expected)
        if following.header.previous_crc != self._last_crc:
            found = f"a file that follows an entry with checksum {following.header.previous_crc:#010x}"
            raise JournalDamage(following.path, 0, found, f"{self._last_crc:#010x}")
        self.files.append(following)
        self._offset = HEADER_BYTES
        return True


def stages(folder: Path) -> list[str]:
    """The stages that have a journal in `folder`, sorted."""
    return sorted({stage for stage, _ in _files(folder)})


def _files(folder: Path) -> list[tuple[str, int]]:
    matches = (_FILE_NAME.match(path.name) for path in folder.iterdir())
    return [(match["stage"], int(match["number"])) for match in matches if match]
