"""Journal format: lays out files, entries and the committed mark, for the writer (compiled) and the reader (not).

A journal is `<folder>/<stage>.<6-digit number>.journal`, numbered from 1; all words are little endian.

    file    header 256 B | entry | entry | ... | zeros
    header  identity and what came before (192 B, checksummed once) | mark 0 (32 B) | mark 1 (32 B)
    entry   0 length i4 | 4 kind i4 | 8 sequence i8 | 16 aux i8 | 24 crc u4 | 28 count i4 | payload, padded to 8 with zeros

*Entries.* Sequences count from 1 without holes, across files. CRC32C covers the whole padded entry with `crc` zero. The first
word (length and kind; kinds begin at 1) is stored last, with release: a zero word is the end, and whoever sees another sees a
whole entry. The death of a process therefore never leaves half an entry, only a loss of power does.

*Marks.* An entry that fails its checksum is a torn tail or damage, and its bytes cannot tell. So the writer states how far the
journal is whole: offset and last sequence, in two slots written in turn, each with its own checksum; the newer valid one
holds. What fails before it is damage, and so is what fails with a valid entry after it; only what is neither is a torn tail.
An entry after the mark whose damage looks like a torn tail is reported as one: mark what must not be lost.

*Power.* A mark says "written", not "on disk", unless `JournalWriter.sync` made it. After a loss of power a file whose pages
reached the disk out of order is refused, never shortened behind a mark.

*Files.* Each header names the sequence it begins with and the checksum of the entry before; the last mark of a file that was
rotated names the file that follows. So a lost, foreign or shortened file is noticed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import records
from hft.crc32c_table import checksum
from hft.records import JournalKind

MAGIC = b"HFTJRNL\x01"
VERSION = 1
HEADER_BYTES = 256
ENTRY_BYTES = 32
PAGE_BYTES = 4096
STAGE_BYTES_MAX = 32
#: Kept free at the end of a file for END.
END_RESERVE_BYTES = 4096
#: Smallest file: one page for entries before the reserve.
FILE_BYTES_MIN = PAGE_BYTES + END_RESERVE_BYTES

#: Positions of the two marks in int64 words, and of the words in a mark.
MARK_WORD = 24
MARK_WORDS = 4
MARK_OFFSET, MARK_SEQUENCE, MARK_NEXT_FILE, MARK_CHECK = 0, 1, 2, 3

HEADER = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<i4"),
        ("header_bytes", "<i4"),
        ("layout_id", "<i8"),
        ("epoch", "<i8"),
        ("number", "<i8"),
        ("first_sequence", "<i8"),  # one more than the previous file's last
        ("previous_crc", "<i8"),  # of the previous file's last entry; 0 in the first file
        ("file_bytes", "<i8"),
        ("created_realtime_ns", "<i8"),
        ("created_monotonic_ns", "<i8"),
        ("stage", f"S{STAGE_BYTES_MAX}"),
        ("reserved", "(9,)<i8"),
        ("reserved4", "<i4"),
        ("crc", "<u4"),  # of the 188 bytes before
    ]
)
assert HEADER.itemsize == MARK_WORD * 8 and HEADER.itemsize + 2 * MARK_WORDS * 8 == HEADER_BYTES

#: What each kind's payload is an array of; kinds not here hold JSON.
RECORD_OF_KIND: dict[int, np.dtype[Any]] = {
    JournalKind.MARKET: records.MARKET,
    JournalKind.INPUT: records.INPUT,
    JournalKind.INTENT: records.INTENT,
    JournalKind.VERDICT: records.REPORT,
    JournalKind.ORDER: records.ORDER,
    JournalKind.SENDING: records.ORDER,
    JournalKind.REPORT: records.REPORT,
    JournalKind.VENUE_EVENT: records.VENUE_EVENT,
    JournalKind.POSITION: records.POSITION,
}

_STAGE = re.compile(r"[a-z0-9_][a-z0-9_.-]*\Z")


class JournalError(Exception):
    """A journal cannot be written or read.

    JournalError
    +-- JournalMismatch    not the journal asked for
    +-- JournalDamage      its content is not what was written
    """


class JournalMismatch(JournalError):
    """A file is whole but another's: `field` is `found`, not `expected`."""

    def __init__(self, path: Path, field: str, found: object, expected: object) -> None:
        super().__init__(f"{path.name}: {field} is {found}, expected {expected}")
        self.path, self.field, self.found, self.expected = path, field, found, expected


class JournalDamage(JournalError):
    """At `offset` of a file there is `found` where `expected` was written."""

    def __init__(self, path: Path, offset: int, found: str, expected: str) -> None:
        super().__init__(f"{path.name}: damage at offset {offset}: found {found}, expected {expected}")
        self.path, self.offset, self.found, self.expected = path, offset, found, expected


class Header(NamedTuple):
    """What a file's header says beyond the constants; nanoseconds, and the writer's clocks at creation."""

    stage: str
    epoch: int
    number: int
    first_sequence: int
    previous_crc: int
    file_bytes: int
    created_realtime_ns: int
    created_monotonic_ns: int


class Mark(NamedTuple):
    """How far a file is whole: every byte before `offset`, whose last entry is `sequence`; the file after it, or 0."""

    offset: int
    sequence: int
    next_file: int


def check_stage(stage: str) -> None:
    """Raise JournalError unless `stage` can name a file."""
    if not _STAGE.match(stage) or len(stage) > STAGE_BYTES_MAX:
        raise JournalError(
            f"a stage's name is 1..{STAGE_BYTES_MAX} of a-z, 0-9, '_', '.', '-', not beginning with '.' or '-'; got {stage!r}"
        )


def file_name(stage: str, number: int) -> str:
    """The name of the stage's file `number`."""
    return f"{stage}.{number:06d}.journal"


def pack_header(header: Header) -> bytes:
    """The first 192 bytes of a file."""
    row = np.zeros(1, HEADER)
    row["magic"], row["version"], row["header_bytes"], row["layout_id"] = MAGIC, VERSION, HEADER_BYTES, records.LAYOUT_ID
    for field, value in header._asdict().items():
        row[field] = value.encode() if field == "stage" else value
    row["crc"] = checksum(row.tobytes()[:-4])
    return row.tobytes()


def unpack_header(path: Path, data: bytes) -> Header:
    """The header in `data`; raises JournalMismatch for another format's, JournalDamage for a broken one."""
    if len(data) < HEADER_BYTES:
        raise JournalDamage(path, len(data), f"the end of the file after {len(data)} bytes", f"a header of {HEADER_BYTES} bytes")
    row = np.frombuffer(data, HEADER, 1)[0]
    if row["magic"] != MAGIC.rstrip(b"\0"):
        raise JournalMismatch(path, "magic", data[:8], MAGIC)
    if row["version"] != VERSION:
        raise JournalMismatch(path, "version", row["version"], VERSION)
    crc = checksum(data[: HEADER.itemsize - 4])
    if row["crc"] != crc:
        raise JournalDamage(path, HEADER.itemsize - 4, f"header checksum {row['crc']:#010x}", f"{crc:#010x}")
    if row["layout_id"] != records.LAYOUT_ID:
        raise JournalMismatch(path, "layout id", f"{row['layout_id']:#x}", f"{records.LAYOUT_ID:#x}")
    return Header(row["stage"].decode(), *(int(row[field]) for field in Header._fields[1:]))


def unpack_mark(words: NDArray[np.int64]) -> Mark | None:
    """The newer of the valid marks in a file's first 32 words; None if neither is valid."""
    found = []
    for slot in (0, 1):
        at = MARK_WORD + slot * MARK_WORDS
        mark = words[at : at + MARK_WORDS].copy()
        if checksum(mark[:MARK_CHECK].tobytes()) == mark[MARK_CHECK]:
            found.append(Mark(int(mark[MARK_OFFSET]), int(mark[MARK_SEQUENCE]), int(mark[MARK_NEXT_FILE])))
    return max(found, key=lambda mark: (mark.offset, mark.next_file), default=None)
