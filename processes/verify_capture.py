"""Verify capture: runs a recorded capture through the venue's decoder and books, against the venue's own oracle.

Each venue's package knows its messages and its oracle (`hft/venues/<venue>/capture.py`). The capture is read twice: first for its
symbols, the digits that their prices and sizes need (so that nothing is rounded) and what else it tells of itself; then message by
message through the very kernels that a feed runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from hft.book import book_at, state_hash
from processes.capture import CaptureError, Line, capture_files, read_capture

#: (update id, state hash) of a book.
BOOK = np.dtype([("update_id", "<i8"), ("hash", "<i8")])

#: More lines than a file of a capture has: a Binance player is told of a line by its file's place times this, and its number.
_LINES_MAX = 1 << 40

#: What every report has, 0 where a venue has no such thing.
_COUNTS = ("messages", "book_updates", "compared", "equal", "gaps", "crossed", "checksum_ok", "checksum_bad", "refused")


def verify(venue: str, path: Path) -> dict[str, Any]:
    """Verify a capture; the document that `hftctl verify-capture` prints, whose `wrong` is empty if all is well. Raises CaptureError.

    Files of a folder that is no recorded session are verified one by one, and their counts added up.
    """
    if venue not in _VENUES:
        raise CaptureError(f"captures of {venue!r} are not supported: expected {', '.join(_VENUES)}")
    files, recorded = capture_files(path)
    if recorded or len(files) == 1:
        return _verify_one(venue, path)
    reports = [_verify_one(venue, file) for file in files]
    total: dict[str, Any] = {"venue": venue, "capture": str(path), "files": [file.name for file in files]}
    for name in dict.fromkeys(name for report in reports for name in report if name not in total):
        values = [report[name] for report in reports if name in report]
        if isinstance(values[0], int):
            total[name] = sum(values)
        elif isinstance(values[0], list):
            total[name] = [one for value in values for one in value]
    total["symbols"] = {
        f"{file.name} {symbol}": row for file, report in zip(files, reports, strict=True) for symbol, row in report["symbols"].items()
    }
    return total


def _verify_one(venue: str, path: Path) -> dict[str, Any]:
    files = [file.name for file in capture_files(path)[0]]
    try:
        player, take, messages = _VENUES[venue](lambda: _shown(path, "reading"))
    except ValueError as error:
        begins = next((line for line in read_capture(path) if line.payload), None)
        if begins is None:
            raise CaptureError(f"{path}: {error}") from error
        where = f"{capture_files(path)[0][begins.file]} line {begins.number}"
        raise CaptureError(f"{where}: {error}; the capture begins with {_text(begins.payload)!r}") from error
    torn = 0
    for line in _shown(path, "checking", messages):
        torn += line.torn
        if line.connects:
            player.connects()
            continue
        shown = len(player.refused)
        take(line)
        for refused in player.refused[shown:]:
            refused |= {"file": files[line.file], "line": line.number}
    report = player.report()
    for one in report.get("first_differing", ()):
        one |= {"file": files[one["line"] // _LINES_MAX], "line": one["line"] % _LINES_MAX}
    counts = {name: report.pop(name, 0) for name in _COUNTS}
    document = {"venue": venue, "capture": str(path), **counts, "torn": torn, **report}
    return document | {"wrong": [f"{path}: {what}" for what in _wrong(document)]}


def _wrong(document: dict[str, Any]) -> Iterator[str]:
    """What keeps a capture from being as its venue says."""
    sides = document.get("sides", {})
    if not document["compared"] and not any(sides.values()):
        yield f"nothing was compared with what the venue says, in {document['messages']} messages"
    if differing := document["compared"] - document["equal"]:
        yield f"{differing} of {document['compared']} comparisons differ"
    if same := sides.get("same", 0):
        yield f"{same} trades whose maker and taker are on the same side"
    for name, what in (("gaps", "gaps"), ("crossed", "crossed books"), ("checksum_bad", "wrong checksums")):
        if document[name]:
            yield f"{document[name]} {what}"
    if document["refused"]:
        first = document["first_refused"][0]
        place = f"{first['file']} line {first['line']}"
        yield f"{document['refused']} messages refused, the first at {place}: {first['reason']}: {first['found']!r}"


def _text(payload: bytes) -> str:
    return payload[:60].decode("utf-8", "backslashreplace")


#: The lines of a capture, from the first.
_Lines = Callable[[], Iterator[Line]]
#: A player, what it takes a line with, and how many messages there are.
_Played = tuple[Any, Callable[[Line], object], int]


def _ordinal(line: Line) -> int:
    return line.file * _LINES_MAX + line.number


def _binance(lines: _Lines) -> _Played:
    from hft.venues.binance.capture import Message, Player, survey

    found = survey(Message(line.payload, line.symbol, line.binary) for line in lines() if not line.connects)
    player = Player(found)
    return player, lambda line: player.take(Message(line.payload, line.symbol, line.binary, _ordinal(line))), found.messages


def _coinbase(lines: _Lines) -> _Played:
    from hft.venues.coinbase.capture import Player, survey

    payloads = (line.payload for line in lines() if not line.connects and not line.reply)
    found = survey(payloads, ((line.symbol, line.payload) for line in lines() if line.reply))
    player = Player(found)
    return player, lambda line: player.snapshot(line.symbol, line.payload) if line.reply else player.take(line.payload), found.messages


def _kraken(lines: _Lines) -> _Played:
    from hft.venues.kraken.capture import Player, survey

    found = survey(line.payload for line in lines() if not line.connects)
    player = Player(found)
    return player, lambda line: player.take(line.payload), found.messages


_VENUES: Mapping[str, Callable[[_Lines], _Played]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}


def books(path: Path) -> dict[str, NDArray[Any]]:
    """Of a Binance capture, symbol -> BOOK rows: the book's hash at every update id at which it was valid. Raises CaptureError."""
    player, take, _ = _binance(lambda: read_capture(path))
    rows: list[list[tuple[int, int]]] = [[] for _ in player.symbols]
    for line in read_capture(path):
        if line.connects:
            player.connects()
            continue
        take(line)
        if player.moved is not None:
            row, update_id = player.moved
            rows[row].append((update_id, int(state_hash(book_at(player.feed.books, row)))))
    return {symbol: np.array(rows[row], BOOK) for row, symbol in enumerate(player.symbols)}


def _shown(path: Path, what: str, total: int | None = None) -> Iterator[Line]:
    """The capture's lines, with a bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield from read_capture(path)
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        for done, line in enumerate(read_capture(path)):
            if done % 1000 == 0:
                progress.update(task, completed=done)
            yield line


def print_capture(document: dict[str, Any]) -> None:
    """What was compared, and what was wrong."""
    click.echo(f"{document['messages']} messages, {document['book_updates']} book updates, {document.get('trades', 0)} trades")
    for symbol, row in document["symbols"].items():
        told = ", ".join(f"{name} {value}" for name, value in row.items())
        click.echo(f"{symbol:<16}{told}")
    click.echo(f"compared {document['compared']}, equal {document['equal']}; checksums {document['checksum_ok']} right, ", nl=False)
    click.echo(f"{document['checksum_bad']} wrong; gaps {document['gaps']}, crossed {document['crossed']}, refused {document['refused']}")
    for refused in document["first_refused"]:
        click.echo(f"{refused['file']} line {refused['line']}: {refused['reason']}: {refused['found']!r}")
    for one in document.get("first_differing", ()):
        place = f"{one['file']} line {one['line']}"
        click.echo(f"{place}: {one['symbol']} at {one['update_id']}: book {one['book']}, bookTicker {one['bookTicker']}")
    if document["torn"]:
        click.echo(f"{document['torn']} segments break off; what was before the tear was read")
