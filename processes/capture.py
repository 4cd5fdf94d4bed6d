"""Capture: reads recorded market data line by line, in the forms that recorders write.

    <receive ns> <json>                     one message a line
    <json>                                  the same without a time
    <epoch s>: <json>                       cryptofeed `.ws`; `<url> <-> <ts>` marks a connection
    <url> -> <epoch s>: <json>              cryptofeed `.http`: REST replies, read from `depth_snapshots.http` beside a `.ws`

Files may be gzipped. What is not a message keeps its line number and its bytes, for whoever counts it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

from processes.errors import EngineError

_STREAMS, _SNAPSHOTS = "streams.ws", "depth_snapshots.http"
_NS_LINE = re.compile(rb"(\d{10,19})[ \t]+(?=\S)")
_CRYPTOFEED_LINE = re.compile(rb"(\d+\.?\d*):[ \t]*(?=\S)")
_HTTP_LINE = re.compile(rb"(\S+) -> (\d+\.?\d*):[ \t]*(?=\S)")
_CONNECT_LINE = re.compile(rb"\S+ <-> \d+\.?\d*\s*$")
_SENT_LINE = re.compile(rb"\S+ <- \d+\.?\d*:")
_SYMBOL = re.compile(rb"[?&]symbol=([A-Za-z0-9_-]+)")
_GZIP_MAGIC = b"\x1f\x8b"


class CaptureError(EngineError):
    """A capture cannot be read; the message names the file, the line and what was found."""


class Line(NamedTuple):
    """One line of a capture."""

    number: int  #: from 1; 0 for a reply from a file of its own
    stamp: float  #: as recorded, s or ns; 0 if none
    payload: bytes
    symbol: str = ""  #: of a REST reply, if its URL tells
    connects: bool = False  #: a new connection began here; no payload


def read_capture(path: Path) -> Iterator[Line]:
    """Every line with something on it, REST replies merged in by their times. Raises CaptureError."""
    path = _main_file(path)
    replies = list(_read_replies(path.with_name(_SNAPSHOTS))) if path.suffix == ".ws" else []
    for line in _read_messages(path):
        while replies and line.stamp and replies[0].stamp <= line.stamp:
            yield replies.pop(0)
        yield line
    yield from replies


def _main_file(path: Path) -> Path:
    if path.is_dir():
        path = path / _STREAMS
    if not path.exists():
        raise CaptureError(f"{path}: no such capture")
    if not path.is_file():
        raise CaptureError(f"{path}: expected a file")
    return path


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
    with gzip.open(path) if zipped else path.open("rb") as lines:
        yield lines


def _numbered(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _opened(path) as lines:
            for number, line in enumerate(lines, 1):
                line = line.strip()
                if line:
                    yield number, line
    except EOFError as error:
        raise CaptureError(f"{path}: the file is cut off after line {number}; record or copy it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CaptureError(f"{path}: damaged after line {number}: {error}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read after line {number}: {error}") from error


def _read_messages(path: Path) -> Iterator[Line]:
    for number, line in _numbered(path):
        match = _NS_LINE.match(line) or _CRYPTOFEED_LINE.match(line)
        if match:
            yield Line(number, float(match[1]), line[match.end() :])
        elif _CONNECT_LINE.match(line):
            yield Line(number, 0.0, b"", connects=True)
        elif not _SENT_LINE.match(line):
            yield Line(number, 0.0, line)


def _read_replies(path: Path) -> Iterator[Line]:
    if not path.is_file():
        return
    replies = []
    for number, line in _numbered(path):
        match = _HTTP_LINE.match(line)
        if not match:
            raise CaptureError(f"{path} line {number}: expected `<url> -> <time>: <json>`, found {line[:60]!r}")
        symbol = _SYMBOL.search(match[1])
        replies.append(Line(0, float(match[2]), line[match.end() :], symbol[1].decode().upper() if symbol else ""))
    yield from sorted(replies, key=lambda reply: reply.stamp)
