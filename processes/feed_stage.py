"""Feed stage: the cold side of a feed: connections, subscriptions, resyncs, the venue's clock.

A connection that the venue will cut, by age or because it said so, is replaced before that: a second one is opened beside it. Where
a feed knows messages by their ids, both deliver into it for a while, what comes twice counts once, and no book is lost. Elsewhere the
second one takes over as soon as it is open, and books begin anew on it.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hft.config import Config
from hft.counters import FeedCounter
from hft.reconnect import AttemptWindow, Reconnect, Retries
from hft.records import MARKET
from hft.tables import Tables
from hft.topology import StageSpec
from hft.venues.book_feed import LAST_ID, SHUTDOWN, SYNCED, WANTS_SYNC
from hft.venues.feeds import on_disconnect
from hft.venues.interface import Call, Credentials, Outgoing, Text
from hft.venues.markets import Market, MarketOrder, open_market
from processes.burst import run_feed
from processes.calls import Calls
from processes.common import Common
from processes.credentials import read_credentials
from processes.feed import ANY_LOST, FEED_WORDS, NO_OFFSET, OFFSET_LEAST_NS, OFFSET_NS, UTC_NS, Feed, publish_event
from processes.logs import log
from processes.resources import Resources
from processes.stage import Stage
from processes.standby import OVERLAP_NS, Standby, is_old
from processes.transport import connect
from processes.transport.connect import DirectLink, Kills, Link, LinkEvent, Settings
from processes.transport.stream import HOST, Network, tls_context
from processes.transport.wire import ORDERS, Wire, make_wire, queue_text
from shm.clock import monotonic_ns, realtime_ns
from shm.pinned import Pinned, pin

#: Records that one message makes at most: the whole book of a deep venue.
STAGING_RECORDS = 1 << 17
MESSAGE_BYTES_MAX = 1 << 23
#: How much longer what the one brought may be behind what the other did.
_OVERLAP_REST_NS = 2_000_000_000
#: Turns that the second connection is given at once.
_TURNS_BESIDE = 16
#: Two readings of clocks further apart than this were interrupted, and say nothing.
_READING_NS_MAX = 1_000_000


class FeedStage(Stage):
    """`feed.<venue>`."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        self.venue = config.venues[spec.subject]
        self.rows = tables.rows_of_venue(spec.subject)
        self.wire = make_wire(message_bytes_max=MESSAGE_BYTES_MAX)
        self._spare: Wire | None = None
        self.kills = np.zeros(2, np.int64)
        self._market: Market | None = None
        self._tls = self._authorities()
        self.use(HOST)
        self._link: Link | None = None
        self._standby: Standby | None = None
        self._make_link: Callable[[Wire], Link] | None = None
        self._beside: tuple[Any, Pinned] | None = None
        self._opened_ns = 0
        self._offset_ns = NO_OFFSET
        self._retries = Retries()

    def use(self, network: Network) -> None:
        """Make connections of this instead of the host's sockets; before `connect`."""
        self._network = network
        self._calls = Calls(self.venue.rest_url, self._tls, network)

    @property
    def uses_event_loop(self) -> bool:
        """Whether this stage needs an asyncio loop under it."""
        return self.venue.transport == "picows"

    def _authorities(self) -> ssl.SSLContext | None:
        return None if self.venue.ca_file is None else tls_context(Path(self.venue.ca_file))

    def _credentials(self) -> Credentials | None:
        return None if self.venue.credentials is None else read_credentials(Path(self.venue.credentials))

    def make_context(self, common: Common, resources: Resources) -> Feed:
        if self._market is None:
            symbols = [self.tables.symbols[row] for row in self.rows]
            # What a feed that died left in the gauges: its books and its connection went with it.
            common.counters[FeedCounter.BOOKS_VALID] = 0
            common.counters[FeedCounter.DISCONNECTS] = common.counters[FeedCounter.CONNECTS]
            order = MarketOrder(
                self.venue, self.tables.instrument_rows, symbols, self.rows, common.counters, self._credentials(), realtime_ns
            )
            self._market = open_market(self.spec.subject, order)
        outputs = self.spec.outputs
        staging = np.zeros(STAGING_RECORDS, MARKET)
        words = np.zeros(FEED_WORDS, np.int64)
        words[ANY_LOST] = 1
        words[OFFSET_LEAST_NS] = NO_OFFSET
        words[OFFSET_NS] = self._offset_ns
        return Feed(
            common=common,
            wire=self.wire,
            book=self._market.feed,
            out=tuple(resources.producer(ring) for ring in outputs),
            depth=np.array([ring.kind == "market" for ring in outputs], np.int64),
            lost=self._all_lost(len(outputs)),
            staging=staging,
            staging_bytes=staging.view(np.uint8),
            words=words,
            kills=self.kills,
            direct=np.array([not self.uses_event_loop], np.int64),
            clock_row=np.array(self.rows[:1], np.int64),
        )

    def _all_lost(self, outputs: int) -> Any:
        """New rings know nothing: each instrument of this venue begins as lost at each of them, and is given as it stands."""
        lost = np.zeros((outputs, len(self.tables.instruments)), np.int64)
        lost[:, self.rows] = 1
        return lost

    def warm(self) -> None:
        if self.uses_event_loop:
            from processes.transport import picows_transport

            picows_transport.warm()
        else:
            connect.warm()
        self._hand_over(self.rows[0], b"{}")
        self._forget(0)
        publish_event(self.context, 0)
        queue_text(self.wire, ORDERS, np.zeros(1, np.uint8), 0, 1)

    def connect(self, loop: asyncio.AbstractEventLoop | None, on_messages: Callable[[], object]) -> None:
        """Begin connecting; `cold` gets on with it. With picows, `on_messages` is called when the loop has queued messages."""
        assert self._market is not None
        market = self._market
        window = AttemptWindow(market.attempts.most, market.attempts.window_ns)

        def make_link(wire: Wire) -> Link:
            endpoint = market.session.endpoint()
            settings = Settings(url=endpoint.url, headers=endpoint.headers, tls=self._tls, network=self._network)
            retry = Reconnect(random.Random(self._network.entropy(8)), window=window)
            kills = Kills(self.kills, 0, 1)
            if not self.uses_event_loop:
                return DirectLink(settings, wire, retry, kills)
            from processes.transport.picows_transport import PicowsLink

            assert loop is not None

            def take() -> None:
                if wire is self.wire:
                    on_messages()
                else:
                    self._turn_beside(monotonic_ns())

            return PicowsLink(settings, wire, retry, kills, loop, take)

        self._make_link = make_link
        self._link = make_link(self.wire)

    def cold(self, now_ns: int) -> int:
        done = super().cold(now_ns)
        if self._link is None:
            return done
        assert self._market is not None
        done += self._follow(now_ns)
        self._replace(now_ns)
        if self._link.open:
            self._say(self._market.session.tick(now_ns), self.wire)
            done += self._resync(now_ns)
            if self.uses_event_loop:
                self._link.flush()
        self._read_clocks()
        return done

    def _follow(self, now_ns: int) -> int:
        """Notice what became of the connection."""
        assert self._link is not None and self._market is not None
        event = self._link.tick(now_ns)
        counters = self.context.common.counters
        if event is LinkEvent.OPENED:
            counters[FeedCounter.CONNECTS] += 1
            self._opened_ns = now_ns
            log("connected", venue=self.spec.subject, url=self._link.url.label)
            self._say(self._market.session.hello(now_ns), self.wire)
        elif event is LinkEvent.ENDED:
            counters[FeedCounter.DISCONNECTS] += 1
            log("disconnected", venue=self.spec.subject, why=str(self._link.error))
            if self._standby is not None and self._standby.link.open:
                counters[FeedCounter.CONNECTS] += 1
                self._take_over(now_ns)
            else:
                self._forget(now_ns)
        elif event is LinkEvent.FAILED:
            log("connection failed", venue=self.spec.subject, why=str(self._link.error))
        elif event is LinkEvent.REFUSED:
            log("venue given up", venue=self.spec.subject, why=str(self._link.error))
        return int(event is not LinkEvent.NOTHING)

    def _replace(self, now_ns: int) -> None:
        """Open a second connection when the first has not long to live, and let it take over once it has delivered for a while."""
        assert self._link is not None and self._market is not None
        words, life_ns = self._market.feed.words, self._market.session.life_ns
        if self._standby is None:
            if not self._link.open or not (is_old(self._opened_ns, life_ns, now_ns) or words[SHUTDOWN]):
                return
            log("connection is being replaced", venue=self.spec.subject, why="shutdown announced" if words[SHUTDOWN] else "age")
            words[SHUTDOWN] = 0
            assert self._make_link is not None
            self._spare = self._spare or make_wire(message_bytes_max=MESSAGE_BYTES_MAX)
            self._standby = Standby(self._make_link(self._spare))
        event = self._standby.tick(now_ns)
        if event is LinkEvent.OPENED:
            if self._market.overlap_until is None or not self._link.open:
                self._begin_anew(now_ns)
                return
            self._begin_overlap(now_ns)
        elif event in (LinkEvent.FAILED, LinkEvent.REFUSED):
            log("replacement failed", venue=self.spec.subject, why=str(self._standby.link.error))
        if not self._standby.link.open:
            return
        self._standby.link.poll(now_ns)
        self._turn_beside(now_ns)
        self._standby.link.flush()
        if self._standby.may_take_over(now_ns):
            self._take_over(now_ns)

    def _begin_overlap(self, now_ns: int) -> None:
        """Both connections deliver from here."""
        assert self._market is not None and self._market.overlap_until is not None and self._spare is not None
        feed = self._market.feed
        self._market.overlap_until(feed, now_ns + OVERLAP_NS + _OVERLAP_REST_NS)
        self._say(self._market.session.hello(now_ns), self._spare)
        for row in self.rows:
            # The session has forgotten what it was to ask for.
            feed.state[row, WANTS_SYNC] |= 1 - feed.state[row, SYNCED]

    def _begin_anew(self, now_ns: int) -> None:
        """The second connection is the only one from here, and brings every book anew."""
        assert self._market is not None and self._link is not None
        counters = self.context.common.counters
        counters[FeedCounter.CONNECTS] += 1
        if self._link.open:
            counters[FeedCounter.DISCONNECTS] += 1
        self._forget(now_ns)
        self._take_over(now_ns)
        self._say(self._market.session.hello(now_ns), self.wire)

    def _turn_beside(self, now_ns: int) -> None:
        """Give the second connection turns of the feed's kernel: what it has heard goes where the first one's goes."""
        assert self._spare is not None
        if self._beside is None or self._beside[0] is not self.context:
            self._beside = self.context, pin((self.context._replace(wire=self._spare),))
        for _ in range(_TURNS_BESIDE):
            if run_feed(self._beside[1].cell, now_ns) == 0:
                break

    def _take_over(self, now_ns: int) -> None:
        """The second connection is the first from here."""
        assert self._standby is not None and self._spare is not None and self._link is not None and self._market is not None
        old, self._link, self._opened_ns = self._link, self._standby.link, self._standby.opened_ns
        self._standby = None
        self.wire, self._spare = self._spare, self.wire
        self._beside = None
        self.context = self.context._replace(wire=self.wire)
        self.changed = True
        if self._market.overlap_until is not None:
            # Nobody else brings what this one does not: a gap is one at once.
            self._market.overlap_until(self._market.feed, now_ns)
        old.drop()
        old.tick(now_ns)
        old.close(now_ns)
        log("connection replaced", venue=self.spec.subject)

    def _forget(self, now_ns: int) -> None:
        """The connection is gone: no book may be used, and no snapshot is of use."""
        ctx: Feed = self.context
        while count := on_disconnect(ctx.book, now_ns, ctx.staging):
            publish_event(ctx, count)
        self._calls.close()

    def _say(self, outgoing: Sequence[Outgoing], wire: Wire) -> None:
        """Send texts on a connection, and make calls."""
        for each in outgoing:
            if isinstance(each, Text):
                data = np.frombuffer(bytearray(each.data), np.uint8)  # Writable, as what `warm` compiled for.
                if not queue_text(wire, ORDERS, data, 0, len(data)):
                    log("text not queued", venue=self.spec.subject, bytes=len(data))
        self._calls.add(each for each in outgoing if isinstance(each, Call))

    def _resync(self, now_ns: int) -> int:
        """Begin what brings books into step, and hand over whole books that came."""
        assert self._market is not None
        state, session = self._market.feed.state, self._market.session
        done = 0
        for row in self.rows:
            if state[row, WANTS_SYNC] and self._retries.due(row, now_ns):
                state[row, WANTS_SYNC] = 0
                self._say(session.resync(row, now_ns), self.wire)
        for answer in self._calls.poll(now_ns):
            done += 1
            if answer.status == 200:
                self._retries.answered(answer.tag)
                self._hand_over(answer.tag, answer.body)
                continue
            state[answer.tag, WANTS_SYNC] = 1
            self._retries.failed(answer.tag, now_ns, answer.retry_after_ns)
            log("snapshot failed", instrument=self.tables.instruments[answer.tag], why=answer.why or f"status {answer.status}")
        return done

    def _hand_over(self, row: int, body: bytes) -> None:
        """Give the feed a whole book that a Call has brought."""
        assert self._market is not None
        ctx: Feed = self.context
        data = np.frombuffer(bytearray(body), np.uint8)
        count = self._market.on_snapshot(ctx.book, row, data, 0, len(data), monotonic_ns(), ctx.staging)
        if count:
            publish_event(ctx, count)
        if ctx.book.state[row, SYNCED]:
            log("book synced", instrument=self.tables.instruments[row], update_id=int(ctx.book.state[row, LAST_ID]))

    def _read_clocks(self) -> None:
        """Give the kernel what UTC is; keep what it measured for the rings of another epoch."""
        words, before_ns = self.context.words, monotonic_ns()
        utc_ns = realtime_ns()
        if monotonic_ns() - before_ns <= _READING_NS_MAX:
            words[UTC_NS] = utc_ns - before_ns
        self._offset_ns = int(words[OFFSET_NS])

    def disconnect(self, now_ns: int) -> None:
        """Let go of the connections at the end of the process."""
        for link in (self._link, None if self._standby is None else self._standby.link):
            if link is not None:
                link.drop()
                link.tick(now_ns)
        self._calls.close()
