"""Record: `hftctl record`: writes what a venue's market data says, as it says it, into packed segments.

The connection and what is said on it are the feed's own (`hft/venues/markets.py`), over picows; nothing is decoded. Where whole books
come by REST, one of each symbol is asked for once the connection delivers, and again at the beginning of each segment, and written
between the messages that came meanwhile. Elsewhere a segment begins with subscribing the books anew, which brings them whole. So each
segment can be read by itself.

Where the venue cuts a connection at a certain age, a second one is opened before that, and takes over when both have delivered for a
while. What only the second brought by then is written behind what the first did: nothing is missing, and no book begins anew.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import numpy as np

from hft.config import SYMBOL, Venue
from hft.http_client import HttpError, parse_url
from hft.reconnect import AttemptWindow, Reconnect
from hft.venues.interface import Call, Outgoing, Text
from hft.venues.markets import SessionOrder, open_session
from processes.calls import Answer, Calls
from processes.credentials import read_credentials
from processes.errors import EngineError
from processes.record_connection import Connection, Heard, Overlap
from processes.segment_writer import SegmentLimits, SegmentWriter
from processes.standby import Standby, is_old
from processes.transport.connect import Kills, Link, LinkEvent, Settings
from processes.transport.stream import tls_context
from processes.transport.wire import ORDERS, queue_text

#: Where a venue's public market data is: WebSocket, REST.
PUBLIC = {
    "binance": ("wss://stream.binance.com:9443", "https://api.binance.com"),
    "coinbase": ("wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
    "kraken": ("wss://ws.kraken.com/v2", "https://api.kraken.com"),
}
_SECOND_NS = 1_000_000_000
_TURN_S = 0.005
#: A snapshot is asked for once the connection has delivered for so long: it must not be older than the first message.
_SNAPSHOT_AFTER_NS = _SECOND_NS
_RETRY_NS = 2 * _SECOND_NS
#: How much longer a connection that took over may bring what the one before it did.
_REPEATS_NS = 2 * _SECOND_NS
#: How long a connection's orderly end is waited for.
_CLOSE_NS = 2 * _SECOND_NS


class Order(NamedTuple):
    """What to record."""

    venue: str
    section: Venue  #: where and how; an empty `rest_url` asks for no snapshots
    symbols: tuple[str, ...]  #: as on the wire
    folder: Path
    limits: SegmentLimits = SegmentLimits()


class Recorder:
    """One recording: `connect`, `turn` often, `close`."""

    def __init__(self, order: Order) -> None:
        """Raises EngineError for options that do not fit, or a folder that cannot be recorded into."""
        section, rows = order.section, list(range(len(order.symbols)))
        self.order = order
        self._tls = None if section.ca_file is None else tls_context(Path(section.ca_file))
        credentials = None if section.credentials is None else read_credentials(Path(section.credentials))
        try:
            parse_url(section.stream_url, ("ws", "wss"))
            asked = SessionOrder(section, list(order.symbols), rows, credentials, time.time_ns, oracle=True)
            self._opened = open_session(order.venue, asked)
        except (HttpError, ValueError) as error:
            raise EngineError(str(error)) from error
        self._calls = Calls(section.rest_url, self._tls)
        self._make_link: Callable[[Connection], Link] | None = None
        self._now = Connection()
        self._next: Connection | None = None  # the second one, which is to take over
        self._standby: Standby | None = None  # its link
        self._overlap = Overlap()
        self._past: Overlap | None = None  # with the connection before this one
        self._past_until_ns = 0
        self._due_ns: dict[int, int] = {}  # row -> when its whole book is to be asked for
        self._waiting: set[int] = set()  # rows whose whole book was asked for and has not come
        self._asked: dict[int, str] = {}  # row -> what was asked
        counted = ("messages", "bytes", "connects", "disconnects", "replaced", "snapshots", "snapshots_failed")
        self.counts = dict.fromkeys(counted, 0)
        about = {"url": section.stream_url, "symbols": order.symbols, "codec": section.codec, "channel": section.channel}
        self.writer = SegmentWriter(order.folder, order.venue, about, order.limits, time.time_ns, time.monotonic_ns)

    def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin connecting, on a loop that runs."""
        from processes.transport import picows_transport

        picows_transport.warm()
        window = AttemptWindow(self._opened.attempts.most, self._opened.attempts.window_ns)

        def make_link(connection: Connection) -> Link:
            endpoint = self._opened.session.endpoint()
            settings = Settings(url=endpoint.url, headers=endpoint.headers, tls=self._tls)
            retry = Reconnect(random.Random(os.urandom(8)), window=window)
            kills = Kills(np.zeros(2, np.int64), 0, 1)
            return picows_transport.PicowsLink(settings, connection.wire, retry, kills, loop, self.take)

        self._make_link = make_link
        self._now.link = make_link(self._now)

    def take(self) -> None:
        """Write every message that is waiting; what the second connection brings is held until it takes over."""
        waiting_ns = self._now.waiting_ns()
        if self._now.opened_anew():
            self.counts["connects"] += 1
            self.writer.note(time.monotonic_ns() if waiting_ns is None else waiting_ns, "connected", url=self._link.url.label)
        for heard in self._now.heard():
            if self._past is not None and self._past.repeats(heard):
                continue
            self._write(heard)
            if self._next is not None:
                self._overlap.first(heard)
        for heard in () if self._next is None else self._next.heard():
            self._overlap.second(heard)

    def turn(self, now_ns: int) -> None:
        """Get on with the connections, the snapshots and the segments. Raises EngineError when the venue is given up."""
        self._follow(now_ns)
        self._replace(now_ns)
        if now_ns > self._past_until_ns:
            self._past = None
        if self._link.open:
            self._say(self._opened.session.tick(now_ns), self._now)
            self._snapshots(now_ns)
            self._link.flush()
        if self.writer.turn(now_ns) and self._link.open:
            self._want(now_ns)

    async def close(self) -> None:
        """End the connection in order, and the recording."""
        if self._standby is not None:
            self._standby.link.drop()
            self._standby.tick(time.monotonic_ns())
            self._standby.link.close(time.monotonic_ns())
        if self._now.link is not None:
            self._link.close(time.monotonic_ns())
            until_ns = time.monotonic_ns() + _CLOSE_NS
            while not self._link.closed and time.monotonic_ns() < until_ns:
                self._link.tick(time.monotonic_ns())
                self._link.poll(time.monotonic_ns())
                self._link.flush()
                self.take()
                await asyncio.sleep(_TURN_S)
            self._link.drop()
            self._link.tick(time.monotonic_ns())
        self._calls.close()
        self.writer.close()

    @property
    def error(self) -> str:
        """Why there is no connection, if there is none."""
        link = self._now.link
        return "" if link is None or link.open else str(link.error or "connecting")

    def document(self) -> dict[str, Any]:
        """What was recorded so far."""
        order, writer = self.order, self.writer
        counts = {**self.counts, "segments": writer.segments, "packed_bytes": writer.packed_bytes}
        return {"venue": order.venue, "folder": str(order.folder), "symbols": list(order.symbols), **counts, "error": self.error}

    @property
    def _link(self) -> Link:
        assert self._now.link is not None
        return self._now.link

    def _write(self, heard: Heard) -> None:
        self.writer.message(heard.at_ns, heard.payload, heard.binary)
        self.counts["messages"] += 1
        self.counts["bytes"] += len(heard.payload)

    def _follow(self, now_ns: int) -> None:
        """Notice what became of the connection."""
        event = self._link.tick(now_ns)
        self.take()
        if event is LinkEvent.OPENED:
            self._now.opened_ns = now_ns
            self._say(self._opened.session.hello(now_ns), self._now)
            self._begin_books(now_ns)
        elif event is LinkEvent.ENDED:
            self.counts["disconnects"] += 1
            if self._standby is not None and self._standby.link.open:
                self._take_over(now_ns, anew=False)
                return
            self.writer.note(now_ns, "disconnected", why=str(self._link.error))
            self._calls.close()
            self._due_ns.clear()
            self._waiting.clear()
        elif event is LinkEvent.REFUSED:
            raise EngineError(str(self._link.error))

    def _replace(self, now_ns: int) -> None:
        """Open a second connection when the first has not long to live, and let it take over once it has delivered for a while."""
        if self._standby is None or self._next is None:
            if not self._link.open or not is_old(self._now.opened_ns, self._opened.session.life_ns, now_ns):
                return
            assert self._make_link is not None
            self._next, self._overlap = Connection(), Overlap()
            self._next.link = self._make_link(self._next)
            self._standby = Standby(self._next.link)
        event = self._standby.tick(now_ns)
        self.take()
        if event is LinkEvent.OPENED:
            self._say(self._opened.session.hello(now_ns), self._next)
            # The session has forgotten what it was to ask for.
            self._due_ns |= dict.fromkeys(self._waiting, now_ns)
            if not self._link.open:
                self._take_over(now_ns, anew=True)
                return
        elif event is not LinkEvent.NOTHING:
            self._overlap = Overlap()  # It begins with the next attempt.
        if self._standby.link.open:
            self._standby.link.flush()
        if self._standby.may_take_over(now_ns):
            self._take_over(now_ns, anew=False)

    def _take_over(self, now_ns: int, anew: bool) -> None:
        """The second connection is the first from here; `anew` if the first has not delivered until now, so that books begin again."""
        assert self._standby is not None and self._next is not None
        self.take()
        old, self._now, opened_ns = self._link, self._next, self._standby.opened_ns
        self._next = self._standby = None
        self._now.opened_ns = opened_ns
        self._now.opened_anew()
        self.counts["connects"] += 1
        self.counts["replaced"] += not anew
        self.writer.note(now_ns, "connected" if anew else "replaced", url=self._link.url.label)
        for heard in self._overlap.rest():
            self._write(heard)
        # The first may have been ahead of it.
        self._past, self._past_until_ns = self._overlap, now_ns + _REPEATS_NS
        self._overlap = Overlap()
        old.drop()
        old.tick(now_ns)
        old.close(now_ns)
        if anew:
            self._begin_books(now_ns)

    def _begin_books(self, now_ns: int) -> None:
        """Ask for whole books once the connection has delivered for a while."""
        if self._opened.snapshots_by_call:
            self._want(now_ns + _SNAPSHOT_AFTER_NS)

    def _want(self, due_ns: int) -> None:
        if self._opened.snapshots_by_call and not self.order.section.rest_url:
            return
        self._due_ns |= dict.fromkeys(range(len(self.order.symbols)), due_ns)

    def _snapshots(self, now_ns: int) -> None:
        """Ask for the whole books that are due, and write those that came."""
        for row in [row for row, due_ns in self._due_ns.items() if due_ns <= now_ns]:
            del self._due_ns[row]
            self._waiting.add(row)
            self._say(self._opened.session.resync(row, now_ns), self._now)
        for answer in self._calls.poll(now_ns):
            self._answered(answer, time.monotonic_ns())

    def _answered(self, answer: Answer, now_ns: int) -> None:
        if answer.status != 200:
            self.counts["snapshots_failed"] += 1
            self._due_ns[answer.tag] = now_ns + max(answer.retry_after_ns, _RETRY_NS)
            return
        # What came before the answer is written before it.
        self.take()
        self.counts["snapshots"] += 1
        self._waiting.discard(answer.tag)
        self.writer.note(now_ns, "reply", symbol=self.order.symbols[answer.tag], target=self._asked.get(answer.tag, ""))
        self.writer.message(now_ns, answer.body)

    def _say(self, outgoing: list[Outgoing], connection: Connection) -> None:
        for each in outgoing:
            if isinstance(each, Text):
                data = np.frombuffer(each.data, np.uint8)
                if not queue_text(connection.wire, ORDERS, data, 0, len(data)):
                    raise EngineError(f"a message of {len(data)} bytes to the venue did not fit")
            elif isinstance(each, Call) and self.order.section.rest_url:
                self._asked[each.tag] = each.target
                self._calls.add([each])


async def _run(recorder: Recorder, seconds: float | None, quiet: bool) -> str:
    """Record; why there is no connection at the end, if there is none."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    recorder.connect(loop)
    until_s = None if seconds is None else time.monotonic() + seconds
    show = _Shown(sys.stderr.isatty())
    try:
        while not stopping.is_set() and (until_s is None or time.monotonic() < until_s):
            recorder.turn(time.monotonic_ns())
            if not quiet:
                show.turn(recorder, time.monotonic_ns())
            await asyncio.sleep(_TURN_S)
        return recorder.error
    finally:
        await recorder.close()


class _Shown:
    """Tells on stderr how a recording gets on: one line that changes on a terminal, elsewhere a line when the connection changes."""

    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal
        self._at_ns = 0
        self._state = ""

    def turn(self, recorder: Recorder, now_ns: int) -> None:
        """Once a second, tell what there is to tell."""
        if now_ns - self._at_ns < _SECOND_NS:
            return
        told = recorder.document()
        state = told["error"] or "connected"
        if self._terminal:
            line = f"{told['messages']} messages, {told['packed_bytes'] / 1e6:.1f} MB in {told['segments']} segments, {state}"
            click.echo(f"\r\x1b[K{line[:120]}", nl=False, err=True)
        elif state != self._state:
            click.echo(f"hftctl: {recorder.order.section.stream_url}: {state}", err=True)
        self._at_ns, self._state = now_ns, state


def record(order: Order, seconds: float | None, quiet: bool = False) -> dict[str, Any]:
    """Record until told to stop, or for so long; what was recorded. Raises EngineError."""
    recorder = Recorder(order)
    try:
        error_at_end = asyncio.run(_run(recorder, seconds, quiet))
    except OSError as error:
        raise EngineError(f"{order.folder}: {error.strerror}") from error
    if not quiet and sys.stderr.isatty():
        click.echo(err=True)
    return recorder.document() | {"error": error_at_end}


def order_of(venue: str, options: dict[str, Any]) -> Order:
    """An order from the options of `hftctl record`; without a URL it is the venue's public market data. Raises EngineError."""
    stream_url, rest_url = options["url"], options["rest_url"]
    if stream_url is None:
        stream_url, rest_url = PUBLIC[venue][0], rest_url or PUBLIC[venue][1]
    symbols = tuple(symbol for symbol in options["symbols"].split(",") if symbol)
    if not symbols or len(set(symbols)) != len(symbols) or not all(re.fullmatch(SYMBOL, symbol) for symbol in symbols):
        raise EngineError(f"symbols: expected some, each once and as the venue writes them, found {options['symbols'][:80]!r}")
    named = {name: options[name] for name in ("codec", "channel", "snapshot_levels", "ca_file", "credentials")}
    named |= {"stream_url": stream_url, "rest_url": rest_url or "", "depth": int(options["depth"])}
    section = msgspec.convert(named, Venue)
    limits = SegmentLimits(int(options["segment_mb"] * 1e6), int(options["segment_minutes"] * 60 * _SECOND_NS))
    return Order(venue, section, symbols, options["folder"], limits)


def print_record(document: dict[str, Any]) -> None:
    """What was recorded."""
    folder = click.format_filename(document["folder"])
    click.echo(f"{document['messages']} messages and {document['snapshots']} snapshots in {document['segments']} segments of {folder}")
