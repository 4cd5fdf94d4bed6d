"""Feed stage: the cold side of a feed: connection, subscription, REST snapshots."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable

import numpy as np

from hft.config import Config
from hft.counters import FeedCounter
from hft.http_client import HttpError, UnexpectedStatus
from hft.reconnect import AttemptWindow, Reconnect
from hft.records import MARKET
from hft.tables import Tables
from hft.topology import StageSpec
from hft.venues.binance import feed as binance_feed
from hft.venues.binance.feed import BinanceFeed, new_feed, on_disconnect, on_snapshot
from hft.venues.book_feed import SHUTDOWN, WANTS_SYNC
from processes.common import Common
from processes.feed import ANY_LOST, FEED_WORDS, Feed, publish_event
from processes.logs import log
from processes.resources import Resources
from processes.stage import Stage
from processes.transport import connect
from processes.transport.connect import DirectLink, Kills, Link, LinkEvent, Settings
from processes.transport.rest import Request
from processes.transport.stream import TransportError
from processes.transport.wire import make_wire

#: Levels that a feed's book holds on each side: the venue's deepest snapshot, and what updates add.
LEVELS_MAX = 8000
_SNAPSHOT_TIMEOUT_NS = 10_000_000_000
_SNAPSHOT_RETRY_NS = 250_000_000
#: A refused snapshot is asked for again after this long, if the venue does not say.
_REFUSED_RETRY_NS = 2_000_000_000


class FeedStage(Stage):
    """`feed.binance`."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        self.venue = config.venues[spec.subject]
        self.rows = tables.rows_of_venue(spec.subject)
        self.wire = make_wire(message_bytes_max=1 << 22)
        self.kills = np.zeros(2, np.int64)
        self._feed: BinanceFeed | None = None
        self._link: Link | None = None
        self._requests: dict[int, Request] = {}
        self._not_before_ns: dict[int, int] = {}

    @property
    def uses_event_loop(self) -> bool:
        """Whether this stage needs an asyncio loop under it."""
        return self.venue.transport == "picows"

    def make_context(self, common: Common, resources: Resources) -> Feed:
        if self._feed is None:
            symbols = [self.tables.symbols[row] for row in self.rows]
            silence_ns = self.venue.silence_ms * 1_000_000
            # What a feed that died left in the gauges: its books and its connection went with it.
            common.counters[FeedCounter.BOOKS_VALID] = 0
            common.counters[FeedCounter.DISCONNECTS] = common.counters[FeedCounter.CONNECTS]
            self._feed = new_feed(self.tables.instrument_rows, symbols, self.rows, LEVELS_MAX, silence_ns, common.counters)
        outputs = self.spec.outputs
        staging = np.zeros(max(2 * LEVELS_MAX + 8, binance_feed.BUFFER_LEVELS), MARKET)
        words = np.zeros(FEED_WORDS, np.int64)
        words[ANY_LOST] = 1
        return Feed(
            common=common,
            wire=self.wire,
            book=self._feed,
            out=tuple(resources.producer(ring) for ring in outputs),
            depth=np.array([ring.kind == "market" for ring in outputs], np.int64),
            # New rings know nothing: each instrument begins as lost, and is given as it stands.
            lost=np.ones((len(outputs), len(self.tables.instruments)), np.int64),
            staging=staging,
            staging_bytes=staging.view(np.uint8),
            words=words,
            kills=self.kills,
            direct=np.array([not self.uses_event_loop], np.int64),
        )

    def warm(self) -> None:
        if self.uses_event_loop:
            from processes.transport import picows_transport

            picows_transport.warm()
        else:
            connect.warm()
        self._hand_over(self.rows[0], b"{}")
        self._forget(0)
        publish_event(self.context, 0)

    def connect(self, loop: asyncio.AbstractEventLoop | None, on_messages: Callable[[], object]) -> None:
        """Begin connecting; `cold` gets on with it. With picows, `on_messages` is called when the loop has queued messages."""
        streams = "/".join(
            f"{self.tables.symbols[row].lower()}@{kind}" for row in self.rows for kind in ("depth@100ms", "bookTicker", "trade")
        )
        settings = Settings(url=f"{self.venue.stream_url.rstrip('/')}/stream?streams={streams}")
        retry = Reconnect(random.Random(os.urandom(8)), window=AttemptWindow())
        kills = Kills(self.kills, 0, 1)
        if self.uses_event_loop:
            from processes.transport.picows_transport import PicowsLink

            assert loop is not None
            self._link = PicowsLink(settings, self.wire, retry, kills, loop, on_messages)
        else:
            self._link = DirectLink(settings, self.wire, retry, kills)

    def cold(self, now_ns: int) -> int:
        done = super().cold(now_ns)
        if self._link is None:
            return done
        event = self._link.tick(now_ns)
        counters = self.context.common.counters
        if event is LinkEvent.OPENED:
            counters[FeedCounter.CONNECTS] += 1
            log("connected", venue=self.spec.subject, url=self._link.url.label)
        elif event is LinkEvent.ENDED:
            counters[FeedCounter.DISCONNECTS] += 1
            log("disconnected", venue=self.spec.subject, why=str(self._link.error))
            self._forget(now_ns)
        elif event is LinkEvent.FAILED:
            log("connection failed", venue=self.spec.subject, why=str(self._link.error))
        elif event is LinkEvent.REFUSED:
            log("venue given up", venue=self.spec.subject, why=str(self._link.error))
        assert self._feed is not None
        if self._feed.words[SHUTDOWN]:
            log("venue announced its shutdown", venue=self.spec.subject)
            self._link.drop()
        return done + self._snapshots(now_ns) + (event is not LinkEvent.NOTHING)

    def _forget(self, now_ns: int) -> None:
        """The connection is gone: no book may be used, and no snapshot is of use."""
        ctx: Feed = self.context
        while count := on_disconnect(ctx.book, now_ns, ctx.staging):
            publish_event(ctx, count)
        for request in self._requests.values():
            request.close()
        self._requests.clear()

    def _snapshots(self, now_ns: int) -> int:
        """Ask for the snapshots that are wanted, and hand over those that came."""
        assert self._feed is not None
        done = 0
        for row in self.rows:
            request = self._requests.get(row)
            if request is None:
                wanted = self._feed.state[row, WANTS_SYNC] and now_ns >= self._not_before_ns.get(row, 0)
                if wanted and self._link is not None and self._link.open:
                    self._ask(row, now_ns)
                continue
            try:
                response = request.poll(now_ns)
            except (TransportError, HttpError) as error:
                del self._requests[row]
                self._feed.state[row, WANTS_SYNC] = 1
                wait_ns = error.retry_after_ns if isinstance(error, UnexpectedStatus) else 0
                self._not_before_ns[row] = now_ns + max(wait_ns, _REFUSED_RETRY_NS)
                log("snapshot failed", instrument=self.tables.instruments[row], why=str(error))
                continue
            if response is not None:
                del self._requests[row]
                self._hand_over(row, response.body)
                done += 1
        return done

    def _ask(self, row: int, now_ns: int) -> None:
        assert self._feed is not None
        self._feed.state[row, WANTS_SYNC] = 0
        self._not_before_ns[row] = now_ns + _SNAPSHOT_RETRY_NS
        url = f"{self.venue.rest_url.rstrip('/')}/api/v3/depth?symbol={self.tables.symbols[row]}&limit={self.venue.snapshot_levels}"
        try:
            self._requests[row] = Request(url, now_ns + _SNAPSHOT_TIMEOUT_NS)
        except (TransportError, HttpError) as error:
            self._feed.state[row, WANTS_SYNC] = 1
            self._not_before_ns[row] = now_ns + _REFUSED_RETRY_NS
            log("snapshot failed", instrument=self.tables.instruments[row], why=str(error))

    def _hand_over(self, row: int, body: bytes) -> None:
        ctx: Feed = self.context
        data = np.frombuffer(bytearray(body), np.uint8)
        count = on_snapshot(ctx.book, row, data, 0, len(data), time.monotonic_ns(), ctx.staging)
        if count:
            publish_event(ctx, count)
            log("book synced", instrument=self.tables.instruments[row], update_id=int(ctx.book.state[row, 1]))

    def disconnect(self, now_ns: int) -> None:
        """Let go of the connection at the end of the process."""
        if self._link is not None:
            self._link.drop()
            self._link.tick(now_ns)
        for request in self._requests.values():
            request.close()
