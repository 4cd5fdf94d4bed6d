"""Segment writer: what a recorder hears, as packed lines in segments that follow each other.

A folder holds the `.gz` segments of one venue, whose names sort by time, and `recording.jsonl`. A line of a segment is

    <receive ns> <json>                                              a text message, as it came; a line break in it is a space here
    <receive ns> b64:<base64>                                        a binary message
    <receive ns> {"recorder":"connected"|"disconnected",...}         what became of the connection
    <receive ns> {"recorder":"replaced",...}                         another connection goes on from here, and nothing is missing
    <receive ns> {"recorder":"reply","symbol":...,"target":...}      the next line is the body of a REST reply about this symbol

`recording.jsonl` has a line for each recording that begun, with what it was to record, and one for each segment that begun or ended.
Receive times are UTC, and never go back within a segment: they are CLOCK_MONOTONIC plus the segment's `utc_minus_monotonic_ns`, so
that both clocks' times are known of each message. What the difference was at the segment's end is noted there.

What was flushed stays readable whatever becomes of the recorder: a segment without an end is read up to its tear.
"""

from __future__ import annotations

import binascii
import fcntl
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from processes.capture import BASE64, NOTES
from processes.errors import EngineError

_SECOND_NS = 1_000_000_000
_GZIP = 31  # zlib's number for a window of 32 KiB and gzip's header
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")


class SegmentLimits(NamedTuple):
    """When a new segment begins."""

    bytes_max: int = 64 << 20  #: packed
    age_max_ns: int = 3600 * _SECOND_NS
    flush_ns: int = _SECOND_NS  #: at most so much is lost with the process


class SegmentWriter:
    """Writes one recording; no other may write to the same folder meanwhile."""

    def __init__(
        self,
        folder: Path,
        venue: str,
        about: dict[str, Any],
        limits: SegmentLimits,
        utc_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
    ) -> None:
        """`about` is noted; the folder is made. Raises EngineError if another venue was, or anyone is, recorded into it."""
        self.folder, self._venue, self._limits = folder, venue, limits
        self._utc_ns, self._monotonic_ns = utc_ns, monotonic_ns
        folder.mkdir(parents=True, exist_ok=True)
        self._notes = os.open(folder / NOTES, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._file = -1
        self._name = ""
        self._packer = zlib.compressobj(wbits=_GZIP)
        self._offset_ns = 0
        self._begun_ns = self._flushed_ns = self._newest_ns = 0
        self._segment_bytes = self._segment_lines = 0
        self.segments = self.lines = self.packed_bytes = 0
        try:
            self._claim()
            self._tell({"recording": 1, "venue": venue, **about, "begun_ns": utc_ns()})
        except BaseException:
            os.close(self._notes)
            raise

    def message(self, at_ns: int, payload: bytes, binary: bool = False) -> None:
        """Write a message that was received at CLOCK_MONOTONIC `at_ns`."""
        self._write(at_ns, BASE64 + binascii.b2a_base64(payload, newline=False) if binary else payload.translate(_LINE_BREAKS))

    def note(self, at_ns: int, what: str, **fields: Any) -> None:
        """Write a note of the recorder's own."""
        self._write(at_ns, msgspec.json.encode({"recorder": what, **fields}))

    def turn(self, now_ns: int) -> bool:
        """Flush, or end the segment, when that is due; True when it ended: the next message begins another."""
        if self._file < 0:
            return False
        if now_ns - self._begun_ns >= self._limits.age_max_ns or self._segment_bytes >= self._limits.bytes_max:
            self._end()
            return True
        if now_ns - self._flushed_ns >= self._limits.flush_ns:
            self._flushed_ns = now_ns
            self._put(self._packer.flush(zlib.Z_SYNC_FLUSH))
        return False

    def close(self) -> None:
        """End the segment and the recording; again, it does nothing."""
        self._end()
        if self._notes >= 0:
            os.close(self._notes)
            self._notes = -1

    def _claim(self) -> None:
        try:
            fcntl.flock(self._notes, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EngineError(f"{self.folder}: is being recorded into already") from None
        head = os.pread(self._notes, 65536, 0).split(b"\n", 1)[0]
        try:
            venue = msgspec.json.decode(head)["venue"] if head else self._venue
        except (msgspec.DecodeError, KeyError, TypeError):
            raise EngineError(f"{self.folder / NOTES}: is not of a recording, begins {head[:60]!r}") from None
        if venue != self._venue:
            raise EngineError(f"{self.folder}: holds recordings of {venue}, not of {self._venue}")

    def _begin(self) -> None:
        self._begun_ns = self._flushed_ns = self._monotonic_ns()
        self._newest_ns = 0
        begun_utc_ns = self._utc_ns()
        self._offset_ns = begun_utc_ns - self._begun_ns
        clock = time.strftime("%Y%m%dT%H%M%S", time.gmtime(begun_utc_ns // _SECOND_NS))
        self._name = f"{self._venue}-{clock}.{begun_utc_ns % _SECOND_NS:09d}Z.gz"
        # Told before it exists: whoever finds a segment knows its clock.
        self._tell({"segment": self._name, "utc_minus_monotonic_ns": self._offset_ns})
        self._file = os.open(self.folder / self._name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._packer = zlib.compressobj(wbits=_GZIP)
        self._segment_bytes = self._segment_lines = 0
        self.segments += 1

    def _end(self) -> None:
        if self._file < 0:
            return
        self._put(self._packer.flush())
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1
        offset_ns = self._utc_ns() - self._monotonic_ns()
        told = {"ended": self._name, "lines": self._segment_lines, "bytes": self._segment_bytes, "utc_minus_monotonic_ns": offset_ns}
        self._tell(told)

    def _write(self, at_ns: int, body: bytes) -> None:
        if self._file < 0:
            self._begin()
        # What came on one of two connections may be written behind what came later on the other.
        self._newest_ns = max(self._newest_ns, at_ns)
        self._put(self._packer.compress(b"%d %s\n" % (self._newest_ns + self._offset_ns, body)))
        self._segment_lines += 1
        self.lines += 1

    def _put(self, packed: bytes) -> None:
        self._segment_bytes += len(packed)
        self.packed_bytes += len(packed)
        left = memoryview(packed)
        while left:
            left = left[os.write(self._file, left) :]

    def _tell(self, fields: dict[str, Any]) -> None:
        os.write(self._notes, msgspec.json.encode(fields) + b"\n")
