"""Journal: appends checksummed entries to memory-mapped files that were allocated and touched before; one writer.

`journal_format` has the layout and what each guarantee rests on. Kernels append and mark; Python makes, rotates and closes
files. Every file is allocated in full when it is made, so a full disk is an error there and never a signal in a kernel.
Epochs are never reused and files are made exclusively, so a second writer of the same stage and epoch is refused.
"""

from __future__ import annotations

import json
import mmap
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.crc32c import LANE_WORDS, crc32c_past_lane, crc32c_word, word_at
from hft.crc32c_table import INITIAL
from hft.journal_format import (
    END_RESERVE_BYTES,
    ENTRY_BYTES,
    FILE_BYTES_MIN,
    HEADER_BYTES,
    MARK_WORD,
    MARK_WORDS,
    PAGE_BYTES,
    Header,
    JournalError,
    check_stage,
    file_name,
    pack_header,
)
from hft.records import JournalKind
from shm.atomics import store_release
from shm.copying import expect_write
from shm.jit import njit

# Words of Journal.words.
OFFSET = 0  #: where the next entry goes, bytes
NEXT_SEQUENCE = 1
LIMIT = 2  #: entries end here at the latest, bytes; 0 once the file is closed
LAST_CRC = 3  #: checksum of the newest entry
MARKED = 4  #: offset of the newest mark
MARK_SLOT = 5  #: slot of the next mark
FETCHED = 6  #: cache lines up to here were fetched for the entries to come, bytes
STATE_WORDS = 8

#: How far ahead cache lines are fetched: an event of a book feed with its entries.
AHEAD_BYTES = 2048


class Journal(NamedTuple):
    """One open file as kernels see it."""

    words: NDArray[np.int64]  # the writer's own state, not in the file
    file: NDArray[np.int64]  # the mapped file


@njit
def room(journal: Journal) -> int:
    """Bytes of payload that still fit as one entry; negative if not even an empty one does."""
    return ((journal.words[LIMIT] - journal.words[OFFSET] - ENTRY_BYTES) >> 3) << 3


@njit
def fetch_ahead(journal: Journal) -> None:
    """Fetch the cache lines that the next entries will be written to, while nothing waits for them."""
    words = journal.words
    until = min(words[OFFSET] + AHEAD_BYTES, words[LIMIT])
    start = max(words[FETCHED], words[OFFSET])
    if start < until:
        expect_write(journal.file, start >> 3, until - start)
        words[FETCHED] = until


@njit
def append(journal: Journal, kind: int, aux: int, count: int, source: NDArray[np.uint8], offset: int, n_bytes: int) -> int:
    """Append `source[offset:offset + n_bytes]`, `count` records of JournalKind `kind`; its sequence, or -1 if it does not fit."""
    return append2(journal, kind, aux, count, source, offset, n_bytes, 0, 0)


@njit
def append2(
    journal: Journal,
    kind: int,
    aux: int,
    count: int,
    source: NDArray[np.uint8],
    offset: int,
    n_bytes: int,
    second_offset: int,
    second_bytes: int,
) -> int:
    """Append two runs of `source` as one entry, as records lie in a ring that wraps; its sequence, or -1 if it does not fit.

    The first run is whole words if there is a second. Runs outside `source` count as not fitting.
    """
    words = journal.words
    file = journal.file
    start = words[OFFSET]
    length = n_bytes + second_bytes
    end = start + ENTRY_BYTES + (((length + 7) >> 3) << 3)
    if end > words[LIMIT] or offset < 0 or n_bytes < 0 or offset + n_bytes > source.size:
        return -1
    if second_offset < 0 or second_bytes < 0 or second_offset + second_bytes > source.size or (second_bytes > 0 and n_bytes & 7):
        return -1
    at = start >> 3
    sequence = words[NEXT_SEQUENCE]
    first_word: Any = np.int64(length) | (np.int64(kind) << 32)
    last_word = np.int64(count) << 32
    crc = crc32c_word(crc32c_word(crc32c_word(crc32c_word(INITIAL, first_word), sequence), np.int64(aux)), last_word)
    crc = _copy(file, at + 4, source, offset, n_bytes, crc)
    if second_bytes > 0:
        crc = _copy(file, at + 4 + (n_bytes >> 3), source, second_offset, second_bytes, crc)
    crc ^= INITIAL
    file[at + 1] = sequence
    file[at + 2] = aux
    file[at + 3] = crc | last_word
    # SYNC first word: pairs with the read of an entry's first word in JournalReader. The entry is whole before it is not zero.
    store_release(file, at, first_word)
    words[OFFSET] = end
    words[NEXT_SEQUENCE] = sequence + 1
    words[LAST_CRC] = crc
    return sequence


@njit
def _copy(file: NDArray[np.int64], at: int, source: NDArray[np.uint8], offset: int, n_bytes: int, crc: int) -> int:
    """Copy a run to `file[at:]`, the last word padded with zeros; the CRC state after it."""
    n_words = n_bytes >> 3
    in_lanes = n_words // (3 * LANE_WORDS) * (3 * LANE_WORDS)
    for i in range(0, in_lanes, 3 * LANE_WORDS):
        crc = _copy_lanes(file, at + i, source, offset + 8 * i, crc)
    for i in range(in_lanes, n_words):
        word = word_at(source, offset + 8 * i)
        file[at + i] = word
        crc = crc32c_word(crc, word)
    if n_bytes & 7:
        rest = np.int64(0)
        for i in range(n_bytes & 7):
            rest |= np.int64(source[offset + (n_words << 3) + i]) << (8 * i)
        file[at + n_words] = rest
        crc = crc32c_word(crc, rest)
    return crc


@njit
def _copy_lanes(file: NDArray[np.int64], at: int, source: NDArray[np.uint8], offset: int, crc: int) -> int:
    """Copy three lanes to `file[at:]`; the CRC state after them."""
    first: Any = np.int64(crc)
    second: Any = np.int64(0)
    third: Any = np.int64(0)
    for i in range(LANE_WORDS):
        word = word_at(source, offset + 8 * i)
        file[at + i] = word
        first = crc32c_word(first, word)
        word = word_at(source, offset + 8 * (LANE_WORDS + i))
        file[at + LANE_WORDS + i] = word
        second = crc32c_word(second, word)
        word = word_at(source, offset + 8 * (2 * LANE_WORDS + i))
        file[at + 2 * LANE_WORDS + i] = word
        third = crc32c_word(third, word)
    return crc32c_past_lane(crc32c_past_lane(first) ^ second) ^ third


@njit
def commit(journal: Journal) -> None:
    """Mark everything appended so far as whole: from here on its damage is refused, not taken for a torn tail."""
    if journal.words[MARKED] != journal.words[OFFSET]:
        write_mark(journal, 0)


@njit
def write_mark(journal: Journal, next_file: int) -> None:
    """Write the next mark; `next_file` is the number of the file that follows, or 0."""
    words = journal.words
    offset = words[OFFSET]
    sequence = words[NEXT_SEQUENCE] - 1
    crc = crc32c_word(crc32c_word(crc32c_word(INITIAL, offset), sequence), next_file) ^ INITIAL
    at = MARK_WORD + words[MARK_SLOT] * MARK_WORDS
    journal.file[at] = offset
    journal.file[at + 1] = sequence
    journal.file[at + 2] = next_file
    journal.file[at + 3] = crc
    words[MARKED] = offset
    words[MARK_SLOT] = 1 - words[MARK_SLOT]


def prepare_file(folder: Path, stage: str, number: int, file_bytes: int) -> Path:
    """Make the stage's file `number` ahead of its use, all zeros and allocated in full; any process may.

    Returns its path, `<journal name>.prepared`. Raises JournalError: the disk is full, or the file is there already.
    """
    check_stage(stage)
    if file_bytes < FILE_BYTES_MIN or file_bytes % PAGE_BYTES:
        raise JournalError(f"a journal file is a multiple of {PAGE_BYTES} bytes, at least {FILE_BYTES_MIN}; got {file_bytes}")
    path = folder / f"{file_name(stage, number)}.prepared"
    making = path.with_suffix(f".making-{os.getpid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(making, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise JournalError(f"{making}: {error.strerror}") from error
    try:
        os.posix_fallocate(descriptor, 0, file_bytes)
        os.link(making, path)  # Unlike a rename it refuses to replace.
    except OSError as error:
        raise JournalError(f"{path}: {error.strerror}") from error
    finally:
        os.close(descriptor)
        making.unlink()
    return path


class JournalWriter:
    """Writes one stage's journal of one epoch.

    `context` is what kernels take; `rotate` and `close` replace it. Clocks are the caller's: CLOCK_REALTIME and
    CLOCK_MONOTONIC at the call, kept in the file's header so that a reader can relate the two.
    """

    context: Journal
    path: Path
    _current: _MappedFile

    def __init__(self, folder: Path, stage: str, epoch: int, file_bytes: int, realtime_ns: int, monotonic_ns: int) -> None:
        """Make and open file 1; raises JournalError if there is one, or the disk is full."""
        self.folder, self.stage, self.epoch, self.file_bytes = folder, stage, epoch, file_bytes
        self.number = 0
        self._next: _MappedFile | None = None
        if (folder / file_name(stage, 1)).exists():
            raise JournalError(f"{folder / file_name(stage, 1)}: there is a journal of this stage and epoch already")
        self.prepare_next()
        self._open_next(1, 0, realtime_ns, monotonic_ns)

    @property
    def last_sequence(self) -> int:
        """The newest entry's sequence; 0 if there is none."""
        return int(self.context.words[NEXT_SEQUENCE]) - 1

    @property
    def prepared(self) -> bool:
        """Whether `rotate` can be called."""
        return self._next is not None and self._next.untouched == 0

    def prepare_next(self, pages: int | None = None) -> bool:
        """Make the next file, or adopt it if `prepare_file` has, and touch up to `pages` of it (None: all); whether it is ready.

        Cold, but a bounded `pages` keeps each call short, so it can be spread over many bursts.
        """
        if self._next is None:
            path = self.folder / f"{file_name(self.stage, self.number + 1)}.prepared"
            if not path.exists():
                prepare_file(self.folder, self.stage, self.number + 1, self.file_bytes)
            self._next = _MappedFile(path, self.file_bytes)
        self._next.touch(pages)
        return self.prepared

    def rotate(self, realtime_ns: int, monotonic_ns: int) -> Journal:
        """Go on in the next file; the new context. Raises JournalError, with nothing changed, if none is prepared."""
        if not self.prepared:
            raise JournalError(f"{self.path.name}: full, and no next file is prepared")
        full = self.context
        self._open_next(int(full.words[NEXT_SEQUENCE]), int(full.words[LAST_CRC]), realtime_ns, monotonic_ns)
        write_mark(full, self.number)
        full.words[LIMIT] = 0
        return self.context

    def append_json(self, kind: JournalKind, content: object) -> int:
        """Append `content` as JSON (SESSION, END); its sequence. Raises JournalError if it does not fit."""
        data = json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
        sequence = int(append(self.context, int(kind), 0, 1, np.frombuffer(bytearray(data), np.uint8), 0, len(data)))
        if sequence < 0:
            raise JournalError(f"{self.path.name}: {kind.name} of {len(data)} bytes does not fit in {room(self.context)}")
        return sequence

    def sync(self) -> None:
        """Put everything appended on the disk, then a mark that says so. Takes milliseconds: never between bursts that trade."""
        self._current.sync()
        commit(self.context)
        self._current.sync()
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # Else the file may be there without its name.
        finally:
            os.close(folder)

    def close(self, reason: str) -> None:
        """Append END with `reason`, mark the file whole, and give back the space that was not used."""
        words = self.context.words
        if not words[LIMIT]:
            return
        words[LIMIT] = self.file_bytes
        self.append_json(JournalKind.END, {"reason": reason[: END_RESERVE_BYTES // 16]})
        commit(self.context)
        words[LIMIT] = 0
        # The page after the last entry stays: a reader that follows looks there for a first word.
        used = -(-(int(words[OFFSET]) + 8) // PAGE_BYTES) * PAGE_BYTES
        self._current.close(used)
        if self._next is not None:
            self._next.path.unlink()
            self._next.close(0)
            self._next = None

    def abandon(self) -> None:
        """Let go of the files as they are, without END: what is left when a process dies."""
        self.context.words[LIMIT] = 0
        for file in (self._current, self._next):
            if file is not None:
                file.abandon()

    def _open_next(self, first_sequence: int, previous_crc: int, realtime_ns: int, monotonic_ns: int) -> None:
        opened = self._next
        assert opened is not None
        header = Header(self.stage, self.epoch, self.number + 1, first_sequence, previous_crc, self.file_bytes, realtime_ns, monotonic_ns)
        opened.words[:MARK_WORD] = np.frombuffer(pack_header(header), np.int64)
        words = np.zeros(STATE_WORDS, np.int64)
        words[OFFSET], words[NEXT_SEQUENCE], words[LAST_CRC] = HEADER_BYTES, first_sequence, previous_crc
        words[LIMIT] = self.file_bytes - END_RESERVE_BYTES
        context = Journal(words, opened.words)
        write_mark(context, 0)
        write_mark(context, 0)
        path = self.folder / file_name(self.stage, header.number)
        try:
            os.link(opened.path, path)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}") from error
        opened.path.unlink()
        opened.path = path
        if self.number:
            self._current.close(self.file_bytes)
        self._current, self._next, self.number, self.path, self.context = opened, None, header.number, path, context


class _MappedFile:
    """A file mapped for writing."""

    def __init__(self, path: Path, file_bytes: int) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            raise JournalError(f"{path}: {error.strerror}") from error
        found = os.fstat(self._descriptor).st_size
        if found != file_bytes:
            os.close(self._descriptor)
            raise JournalError(f"{path.name}: prepared with {found} bytes, expected {file_bytes}")
        self.words: NDArray[Any] = np.frombuffer(mmap.mmap(self._descriptor, file_bytes), np.int64)
        self.untouched = file_bytes // PAGE_BYTES

    def touch(self, pages: int | None) -> None:
        """Write a zero to each of the next pages, so that no store of an append is the first to its page."""
        total = self.words.size * 8 // PAGE_BYTES
        done = total - self.untouched
        until = total if pages is None else min(total, done + pages)
        words_per_page = PAGE_BYTES // 8
        self.words[done * words_per_page : until * words_per_page : words_per_page] = 0
        self.untouched = total - until

    def abandon(self) -> None:
        """Close it as it is; the mapping goes with its last view."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self, file_bytes: int) -> None:
        """Shorten the file and close it; the mapping goes with its last view."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, file_bytes)
            os.close(self._descriptor)
            self._descriptor = -1
