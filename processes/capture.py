"""Capture: reads recorded market data line by line, in the forms that recorders write.

    <receive ns> <json>                     one message a line
    <receive ns> b64:<base64>               a binary message
    <receive ns> {"recorder":...}           what `hftctl record` notes of its connection, see `processes/segment_writer.py`
    <ISO time> <json>                       one message a line
    <json>                                  a message without a time
    <epoch s>: <json>                       cryptofeed `.ws`; `<url> <-> <ts>` marks a connection
    <url> -> <epoch s>: <json>              cryptofeed `.http`: REST replies, also read from `depth_snapshots.http`, or a file of the same
                                            name, beside a `.ws`

Files may be packed by gzip, bzip2 or xz. A folder is a recorded session, whose newest segment may be torn, or captures that follow
each other by name. What is not a message keeps its line number and its bytes, for whoever counts it.
"""

from __future__ import annotations

import binascii
import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from processes.errors import EngineError

#: What a folder of recorded segments is known by; the segments are the `.gz` files in it.
NOTES = "recording.jsonl"
#: How a line of a binary message goes on behind its time.
BASE64 = b"b64:"
#: How a note of the recorder begins.
NOTE = b'{"recorder":'

_STREAMS, _SNAPSHOTS = "streams.ws", "depth_snapshots.http"
_SUFFIXES = (".ws", ".jsonl", ".gz", ".bz2", ".xz")
_NS_LINE = re.compile(rb"(\d{10,19})[ \t]+(?=\S)")
_ISO_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*(?:Z|\+00:00)?[ \t]+(?=\S)")
_CRYPTOFEED_LINE = re.compile(rb"(\d+\.?\d*):[ \t]*(?=\S)")
_HTTP_LINE = re.compile(rb"(https?://\S+) -> (\d+\.?\d*):[ \t]*(?=\S)")
_CONNECT_LINE = re.compile(rb"\S+ <-> \d+\.?\d*\s*$")
_SENT_LINE = re.compile(rb"\S+ <- \d+\.?\d*:")
_SETTINGS_LINE = re.compile(rb"configuration: ")
_BOOK_OF = re.compile(rb"/depth\?(?:.*&)?symbol=([A-Za-z0-9_-]+)|/products/([A-Za-z0-9_-]+)/book\b")
_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_STRANGE = {b"\x28\xb5\x2f\xfd": "zstandard", b"PK\x03\x04": "zip", b"PAR1": "Parquet"}


class CaptureError(EngineError):
    """A capture cannot be read; the message names the file, the line and what was found."""


class Line(NamedTuple):
    """One line of a capture."""

    number: int  #: from 1; 0 for a reply from a file of its own
    stamp: float  #: as recorded, s or ns; 0 if none
    payload: bytes
    symbol: str = ""  #: of a REST reply, if its URL tells
    connects: bool = False  #: a connection began or ended here; no payload
    binary: bool = False
    torn: bool = False  #: here a segment breaks off; no payload
    reply: bool = False  #: the body of a REST reply: a whole book
    file: int = 0  #: which of `capture_files`, from 0


class _Note(msgspec.Struct):
    recorder: str = ""
    symbol: str = ""


_decode_note = msgspec.json.Decoder(_Note).decode


def read_capture(path: Path) -> Iterator[Line]:
    """Every line with something on it, REST replies merged in by their times. Raises CaptureError."""
    files, recorded = capture_files(path)
    for n, file in enumerate(files):
        if n and not recorded:
            yield Line(0, 0.0, b"", connects=True, file=n)
        for line in _read_file(file, recorded):
            yield line._replace(file=n) if n else line


def capture_files(path: Path) -> tuple[list[Path], bool]:
    """The files of a capture, in order, and whether they are segments of a recorded session. Raises CaptureError if there are none."""
    if not path.exists():
        raise CaptureError(f"{path}: no such capture")
    if path.is_file():
        return [path], (path.parent / NOTES).is_file()
    if not path.is_dir():
        raise CaptureError(f"{path}: expected a file")
    if (path / NOTES).is_file():
        segments = sorted(path.glob("*.gz"))
        if not segments:
            raise CaptureError(f"{path}: nothing was recorded: there is no segment beside {NOTES}")
        return segments, True
    if (path / _STREAMS).is_file():
        return [path / _STREAMS], False
    files = sorted(file for file in path.iterdir() if file.is_file() and any(suffix in _SUFFIXES for suffix in file.suffixes))
    if not files:
        raise CaptureError(f"{path / _STREAMS}: no such capture, and no other in this folder")
    return files, False


def raw_lines(path: Path) -> Iterator[bytes]:
    """The lines of a capture as they are in its files, which follow each other; a torn segment ends at its tear. Raises CaptureError."""
    for _, _, line in _placed(path):
        yield line


def place_of(path: Path, n: int) -> str:
    """File and line of the `n`th of `raw_lines`, from 1, for a message about it; reads up to it again."""
    for file, number, _ in _placed(path):
        n -= 1
        if n == 0:
            return f"{file.name} line {number}"
    return f"{path.name}: the end"


def _placed(path: Path) -> Iterator[tuple[Path, int, bytes]]:
    files, recorded = capture_files(path)
    for file in files:
        for number, line in _numbered(file, recorded):
            if number:
                yield file, number, line


def _read_file(path: Path, recorded: bool) -> Iterator[Line]:
    replies = _replies_beside(path)
    symbol = ""
    for line in _read_messages(path, recorded):
        while replies and line.stamp and replies[0].stamp <= line.stamp:
            yield replies.pop(0)
        note = _note(line)
        if note is not None:
            symbol = note.symbol
            if note.recorder in ("connected", "disconnected"):
                yield Line(line.number, line.stamp, b"", connects=True)
            continue
        yield line._replace(symbol=symbol, reply=True) if symbol else line
        symbol = ""
    yield from replies


def _note(line: Line) -> _Note | None:
    if not line.payload.startswith(NOTE):
        return None
    try:
        return _decode_note(line.payload)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    with path.open("rb") as file:
        head = file.read(6)
    for magic, name in _STRANGE.items():
        if head.startswith(magic):
            raise CaptureError(f"{path}: {name} files are not read: unpack it, or pack it with gzip")
    opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)
    with path.open("rb") if opener is None else opener(path, "rb") as lines:
        yield lines


def _numbered(path: Path, torn_ok: bool = False) -> Iterator[tuple[int, bytes]]:
    """(number, line) of each line that is not blank; (0, b"") last if the file breaks off there and may."""
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if line:
                    yield number, line
    except EOFError as error:
        if not torn_ok:
            raise CaptureError(f"{path}: the file is cut off after line {number}; record or copy it again") from error
        yield 0, b""
    except (gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise CaptureError(f"{path}: damaged after line {number}: {error}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read after line {number}: {error}") from error


def _read_messages(path: Path, torn_ok: bool) -> Iterator[Line]:
    for number, line in _numbered(path, torn_ok):
        match = _NS_LINE.match(line) or _CRYPTOFEED_LINE.match(line)
        if match:
            yield _message(number, float(match[1]), line[match.end() :])
        elif iso := _ISO_LINE.match(line):
            yield _message(number, 0.0, line[iso.end() :])
        elif number == 0:
            yield Line(0, 0.0, b"", connects=True, torn=True)
        elif _CONNECT_LINE.match(line):
            yield Line(number, 0.0, b"", connects=True)
        elif reply := _HTTP_LINE.match(line):
            yield from _reply(number, reply, line)
        elif not _SENT_LINE.match(line) and not _SETTINGS_LINE.match(line):
            yield Line(number, 0.0, line)


def _message(number: int, stamp: float, payload: bytes) -> Line:
    if payload.startswith(BASE64):
        try:
            return Line(number, stamp, binascii.a2b_base64(payload[len(BASE64) :], strict_mode=True), binary=True)
        except binascii.Error:
            pass  # It stays what it is, and the decoder will refuse it.
    return Line(number, stamp, payload)


def _reply(number: int, match: re.Match[bytes], line: bytes) -> Iterator[Line]:
    """The whole book that a reply brings; nothing if it is about something else."""
    found = _BOOK_OF.search(match[1])
    if found:
        symbol = (found[1] or found[2]).decode().upper()
        yield Line(number, float(match[2]), line[match.end() :], symbol, reply=True)


def _replies_beside(path: Path) -> list[Line]:
    """What REST replied meanwhile, by time, from the files beside a `.ws`."""
    if ".ws" not in path.suffixes:
        return []
    beside = dict.fromkeys((path.with_name(_SNAPSHOTS), path.with_name(path.name.replace(".ws", ".http"))))
    replies = [reply for file in beside if file.is_file() for reply in _read_replies(file)]
    return sorted(replies, key=lambda reply: reply.stamp)


def _read_replies(path: Path) -> Iterator[Line]:
    for number, line in _numbered(path):
        match = _HTTP_LINE.match(line)
        if match:
            yield from _reply(0, match, line)
        elif not _SETTINGS_LINE.match(line):
            raise CaptureError(f"{path} line {number}: expected `<url> -> <time>: <json>`, found {line[:60]!r}")
