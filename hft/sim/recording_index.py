"""A recording's index says what is in it: lines of `<receive ns> <json>`, combined-stream messages and REST snapshots.

`scan` reads everything once, so that a damaged file is refused before anything is served, and notes what playback must
know in advance: the snapshots (a client asks for one before playback reaches it), the pairs, the clock difference between
venue and recorder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

import msgspec

from hft.sim.market import BookText, EventKind, Level, SimError, SymbolInfo, decode_depth

MS = 1_000_000
PLACES = 8
QUOTES = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "USD", "BTC", "ETH", "BNB", "EUR", "TRY", "BRL", "JPY")
NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?")


class RecordingError(SimError):
    """A recording cannot be played; the message names the file, the line and what was found."""


class RecordingFile(NamedTuple):
    """A recording by name, and how to read its lines from the start."""

    name: str
    lines: Callable[[], Iterable[bytes]]
    #: file and line of the nth of `lines`, from 1; None: it is one file, and they are all its lines
    place_of: Callable[[int], str] | None = None

    def place(self, n: int) -> str:
        """Return where the nth of its lines is, for a message about it."""
        return f"{self.name} line {n}" if self.place_of is None else self.place_of(n)


class Snapshot(NamedTuple):
    """A recorded REST snapshot."""

    symbol: str
    file: int
    line: int
    book: BookText
    body: bytes


class Index(NamedTuple):
    """What `scan` learned about a recording."""

    files: tuple[RecordingFile, ...]
    symbols: dict[str, SymbolInfo]
    snapshots: list[Snapshot]  #: in the order of playback
    first_ids: dict[str, int]  #: symbol -> first update id of its first diff
    streams: frozenset[str]
    first_ns: int  #: receive stamp of the first message
    span_ns: int
    lead_ns: int  #: the most that an exchange stamp runs ahead of its receive stamp
    messages: int
    ignored: int  #: lines that are neither messages nor snapshots, such as answers to SUBSCRIBE


class Line(msgspec.Struct):
    """A line's JSON: a message of a stream, a snapshot, a note of the recorder, or neither."""

    recorder: str = ""
    symbol: str = ""  #: of a note: whose snapshot comes next
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    lastUpdateId: int = -1


class _Snapshot(msgspec.Struct):
    lastUpdateId: int
    bids: list[Level]
    asks: list[Level]


class _Stamped(msgspec.Struct):
    E: int = 0


decode_line = msgspec.json.Decoder(Line).decode
_decode_snapshot = msgspec.json.Decoder(_Snapshot).decode
_decode_stamped = msgspec.json.Decoder(_Stamped).decode


def symbol_of(stream: str) -> str:
    """Return the pair a stream is about; empty for streams over all pairs."""
    name, at, _ = stream.partition("@")
    return name.upper() if at and name.isalnum() and name.isascii() else ""


def kind_of(stream: str) -> EventKind:
    """Return what a stream carries."""
    topic = stream.partition("@")[2]
    if topic.startswith("depth") and topic.removeprefix("depth") in ("", "@100ms", "@1000ms"):
        return EventKind.DEPTH
    return {"bookTicker": EventKind.TICKER, "trade": EventKind.TRADE}.get(topic, EventKind.OTHER)


def numbered(file: RecordingFile) -> Iterator[tuple[int, bytes]]:
    """Yield (number from 1, line) of each line that is not blank. Raises RecordingError when the file cannot be read on."""
    number = 0
    try:
        for number, line in enumerate(file.lines(), 1):
            line = line.strip()
            if line:
                yield number, line
    except (OSError, EOFError) as error:
        where = f"{file.place(number)}: unreadable after it" if number else f"{file.name}: unreadable"
        raise RecordingError(f"{where}: {error}") from error


def beginning(*files: RecordingFile) -> str:
    """Return how recordings begin that are none of a venue's, for a message that ends with it; empty if nothing is in them."""
    for file in files:
        for number, line in numbered(file):
            return f"; {file.place(number)} is {line[:60]!r}"
    return ""


def read_lines(file: RecordingFile) -> Iterator[tuple[int, int, bytes]]:
    """Yield (receive ns, line number from 1, JSON) of each line that is not blank. Raises RecordingError."""
    for number, line in numbered(file):
        stamp, _, payload = line.partition(b" ")
        if not payload:
            raise RecordingError(f"{file.place(number)}: expected `<receive ns> <json>`, found {line[:60]!r}")
        if not (stamp.isdigit() and len(stamp) == 19):
            raise RecordingError(f"{file.place(number)}: expected a receive time of 19 digits, found {stamp[:40]!r}")
        yield int(stamp), number, payload


def _step(exponents: Counter[int]) -> str:
    """Return the smallest power of ten that more than one number in 1000 needs, as 8-digit text.

    Real books hold a few old orders whose size is off today's step.
    """
    total, seen = sum(exponents.values()), 0
    for exponent in range(PLACES):
        seen += exponents[exponent]
        if seen * 1000 > total:
            return f"0.{10**exponent:0{PLACES}d}"
    return "1.00000000"


@lru_cache(maxsize=65536)
def _exponent(number: str) -> int:
    """Return how many of the 8 decimal digits a number does not need. Raises ValueError unless it is plain decimal text."""
    if not NUMBER.fullmatch(number):
        raise ValueError(f"expected a decimal number, found {number[:40]!r}")
    return PLACES - len(number.partition(".")[2].rstrip("0"))


class _Pair:
    """What a scan gathers about one pair."""

    def __init__(self) -> None:
        self.first_id = 0
        self.last_id = 0
        self.price_exponents: Counter[int] = Counter()
        self.qty_exponents: Counter[int] = Counter()

    def see(self, levels: list[Level]) -> None:
        for price, qty in levels:
            self.price_exponents[_exponent(price)] += 1
            self.qty_exponents[_exponent(qty)] += 1

    def info(self, symbol: str) -> SymbolInfo:
        quote = next((quote for quote in QUOTES if symbol.endswith(quote) and symbol != quote), symbol[-3:])
        base = symbol.removesuffix(quote)
        return SymbolInfo(
            symbol,
            base,
            quote,
            tick=_step(self.price_exponents),
            lot=_step(self.qty_exponents),
            price_max="1000000.00000000",
            qty_max="9000000.00000000",
            notional_min="5.00000000" if quote not in ("BTC", "ETH", "BNB") else "0.00010000",
        )


class _Scan:
    """Reads all files once; see `scan`."""

    def __init__(self, files: tuple[RecordingFile, ...]) -> None:
        self.files = files
        self.pairs: dict[str, _Pair] = {}
        self.found: list[tuple[int, int, int, BookText, bytes, str]] = []  # receive ns, file, line, book, body, whose it is if told
        self.told = ""
        self.streams: set[str] = set()
        self.pairs_of_file: list[set[str]] = [set() for _ in files]
        self.received_ns: list[int] = []
        self.lead_ns = -(2**62)
        self.messages = 0
        self.ignored = 0

    def read(self, number: int) -> None:
        file = self.files[number]
        first_ns = last_ns = 0
        for received_ns, line, payload in read_lines(file):
            first_ns = first_ns or received_ns
            last_ns = max(last_ns, received_ns)
            try:
                self.take(number, received_ns, line, payload)
            except (msgspec.MsgspecError, ValueError, UnicodeDecodeError) as error:
                raise RecordingError(f"{file.place(line)}: {error}; found {payload[:60]!r}") from error
        self.received_ns += [first_ns, last_ns]

    def take(self, number: int, received_ns: int, line: int, payload: bytes) -> None:
        message = decode_line(payload)
        told, self.told = self.told, ""
        if message.recorder:
            self.told = message.symbol
        elif message.stream:
            self.messages += 1
            self.message(number, received_ns, message.stream, bytes(message.data))
        elif message.lastUpdateId >= 0:
            snapshot = _decode_snapshot(payload)
            _Pair().see(snapshot.bids + snapshot.asks)
            self.found.append((received_ns, number, line, BookText(snapshot.lastUpdateId, snapshot.bids, snapshot.asks), payload, told))
        else:
            self.ignored += 1

    def message(self, number: int, received_ns: int, stream: str, body: bytes) -> None:
        kind, symbol = kind_of(stream), symbol_of(stream)
        self.streams.add(stream)
        exchange = 0
        if kind == EventKind.DEPTH:
            update = decode_depth(body)
            pair = self.pair(number, symbol)
            pair.first_id = pair.first_id or update.U
            pair.last_id = update.u
            pair.see(update.b)
            pair.see(update.a)
            exchange = update.E
        else:
            if kind != EventKind.OTHER:
                self.pair(number, symbol)
            if b'"E"' in body:
                exchange = _decode_stamped(body).E
        if exchange:
            self.lead_ns = max(self.lead_ns, exchange_ns(exchange) - received_ns)

    def pair(self, number: int, symbol: str) -> _Pair:
        if not symbol:
            raise ValueError("expected a stream name such as btcusdt@trade")
        self.pairs_of_file[number].add(symbol)
        return self.pairs.setdefault(symbol, _Pair())

    def owner(self, number: int, book: BookText) -> str:
        """Return the pair a snapshot belongs to: it carries no name, only an id."""
        names = self.pairs_of_file[number]
        if len(names) == 1:
            return next(iter(names))
        fits = [name for name in sorted(names) if self.pairs[name].first_id <= book.last_update_id + 1 <= self.pairs[name].last_id]
        return fits[0] if len(fits) == 1 else ""

    def result(self) -> Index:
        if not self.pairs:
            names = ", ".join(file.name for file in self.files)
            raise RecordingError(f"{names}: no market data found ({self.ignored} other lines){beginning(*self.files)}")
        snapshots = []
        for _, number, line, book, body, told in sorted(self.found, key=itemgetter(0, 1, 2)):
            symbol = told if told in self.pairs else self.owner(number, book)
            if symbol:
                snapshots.append(Snapshot(symbol, number, line, book, body))
                self.pairs[symbol].see(book.bids + book.asks)
        first_ns = min(stamp for stamp in self.received_ns if stamp)
        return Index(
            files=self.files,
            symbols={name: pair.info(name) for name, pair in sorted(self.pairs.items())},
            snapshots=snapshots,
            first_ids={name: pair.first_id for name, pair in self.pairs.items()},
            streams=frozenset(self.streams),
            first_ns=first_ns,
            span_ns=max(self.received_ns) - first_ns,
            lead_ns=self.lead_ns if self.lead_ns > -(2**62) else 0,
            messages=self.messages,
            ignored=self.ignored + len(self.found) - len(snapshots),
        )


def scan(files: Iterable[RecordingFile]) -> Index:
    """Read recordings through. Raises RecordingError naming the first line that is not playable, or when nothing is."""
    reader = _Scan(tuple(files))
    for number in range(len(reader.files)):
        reader.read(number)
    return reader.result()


def exchange_ns(stamp: int) -> int:
    """Return a venue stamp in ns: 13 digits are milliseconds, 16 are microseconds."""
    return stamp * MS if stamp < 10**14 else stamp * 1000
