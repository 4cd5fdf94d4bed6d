"""Venue stage: the cold side of execution at a venue: log-on, private stream, questions, reconciliation.

Orders may leave only while the account is logged on, its private stream live, and all that the venue holds of it known: after
each connection the venue is asked for open orders, fills and balances; orders of ours that it does not list are asked for one
by one, and orders that nobody here knows are canceled. Orders that `adoption` found begin as UNKNOWN.
"""

from __future__ import annotations

import asyncio
import functools
import os
import random
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hft import control
from hft.config import Config, VenueExecution
from hft.counters import ExecutionCounter
from hft.holdings import as_text, from_text
from hft.live_orders import ASK, UNKNOWN_COUNT, WIRE_ID, new_live_orders, question
from hft.orders import member
from hft.reconnect import AttemptWindow, Reconnect
from hft.records import ORDER, REPORT, VENUE_EVENT, JournalKind
from hft.tables import Tables
from hft.topology import StageSpec
from hft.venues.desks import Desk, DeskOrder, open_desk
from hft.venues.interface import Call, Credentials, Outgoing, Snapshot, Text
from processes import venue_execution, venue_sending
from processes.adoption import LeftOrder, enter_live, warm_adoption
from processes.agreement import Agreement
from processes.bookings import Bookings
from processes.calls import Calls
from processes.cold_box import new_cold_box, take_messages
from processes.common import FIRM_CELL, VENUE_CELL, Common
from processes.credentials import read_credentials
from processes.errors import EngineError
from processes.http_line import new_http_line
from processes.logs import log
from processes.recovery import VenuePast
from processes.resources import Resources, ScratchResources
from processes.simulated_keys import simulated_credentials
from processes.stages import ORDER_SLOTS, ReportingStage
from processes.transport import connect, http_pool
from processes.transport.connect import DirectLink, Kills, Link, LinkEvent, Settings
from processes.transport.http_wire import make_pool
from processes.transport.stream import HOST, Network, tls_context
from processes.transport.wire import CANCELS, make_wire, queue_text
from processes.venue_sending import EPOCH, EVENTS_MAX, EXECUTION_WORDS, READY, TIMER_DUE_NS, UTC_OFFSET_NS
from processes.venue_sending import VenueExecution as Context
from processes.ws_line import new_ws_line
from shm.clock import monotonic_ns, realtime_ns

_MESSAGE_BYTES_MAX, _REQUEST_BYTES_MAX = 1 << 20, 2048
_BOX_BYTES, _BOX_MESSAGES = 1 << 21, 256
#: Requests whose sending is not settled yet, at most.
_REQUESTS_MAX = 4096
#: A request may be this late by the clocks of two hosts before its window is taken for over.
_SKEW_NS = 1_000_000_000
#: When to ask for all that the venue holds again: if it takes too long, and if a part of it could not be had.
_RECONCILE_TIMEOUT_NS, _RECONCILE_RETRY_NS = 15_000_000_000, 1_000_000_000
#: A send loop whose timer is overdue by this has not had a turn: nobody may tell the venue that it lives.
_SEND_LOOP_NS = 1_000_000_000


class VenueStage(ReportingStage):
    """`execution.<venue>` with orders at the venue."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        section = config.execution[spec.subject]
        assert isinstance(section, VenueExecution)
        self.section = section
        self.venue_row = tables.venues.index(spec.subject)
        self.rows = tables.rows_of_venue(spec.subject)
        self.wire = make_wire(message_bytes_max=_MESSAGE_BYTES_MAX, messages_max=4096, out_bytes=1 << 20, cancel_out_bytes=1 << 18)
        self._tls = self._authorities()
        self.use(HOST)
        self._desk: Desk | None = None
        self._rehearses = False
        self._link: Link | None = None
        self._pool: http_pool.HttpConnections | None = None
        self._make_link: Callable[[str, Any], Link] | None = None
        self._prepared = False
        self._snapshot_due_ns = 0
        self._asks_snapshot = self._has_snapshot = False
        self._utc_offset_ns = 0
        self.bookings = Bookings()
        self.agreement = Agreement(spec.subject, self.venue_row, self.rows, tables)

    def use(self, network: Network) -> None:
        """Make connections of this instead of the host's sockets; before `connect`."""
        self._network = network
        self._calls = Calls(self.section.rest_url, self._tls, network)

    @property
    def turn(self) -> str:
        return "venue_execution"

    @property
    def uses_event_loop(self) -> bool:
        """Whether this stage needs an asyncio loop under it."""
        return self.section.transport == "picows"

    @property
    def desk(self) -> Desk:
        """The venue's codec and account session."""
        if self._desk is None:
            order = DeskOrder(self.section, self.tables, self.rows, self._credentials(), installation())
            self._desk = open_desk(self.spec.subject, order)
        return self._desk

    def _credentials(self) -> Credentials:
        """The account's key; a rehearsal on scratch memory reaches no venue, and needs none."""
        if self._rehearses or self.section.credentials is None:
            return simulated_credentials(self.spec.subject)
        return read_credentials(Path(self.section.credentials))

    def _authorities(self) -> ssl.SSLContext | None:
        ca_file = self.config.venues[self.spec.subject].ca_file
        return None if ca_file is None else tls_context(Path(ca_file))

    def restore(self, session: dict[str, Any]) -> None:
        super().restore(session)
        self.bookings.past = VenuePast(session["begun"], [(row, trade_id) for row, trade_id in session["trades"]])
        self.agreement.began = from_text(session["balances"])

    def session(self) -> dict[str, Any]:
        return super().session() | self.bookings.session() | {"balances": as_text(self.agreement.began)}

    def make_context(self, common: Common, resources: Resources) -> Context:
        tables, spec, section = self.tables, self.spec, self.section
        self._rehearses = isinstance(resources, ScratchResources)
        self.agreement.words = common.control
        self.agreement.say_balances()
        orders = next(ring for ring in spec.inputs if ring.kind == "orders")
        order, report, events = np.zeros(1, ORDER), np.zeros(1, REPORT), np.zeros(EVENTS_MAX, VENUE_EVENT)
        live = new_live_orders(
            ORDER_SLOTS,
            len(tables.instruments),
            self.desk.window_ns + _SKEW_NS,
            section.ack_timeout_ms * 1_000_000,
            section.query_pause_ms * 1_000_000,
        )
        self.bookings.follow(live.seen)
        enter_live(live, self.adopted, self.name, monotonic_ns())
        words = np.zeros(EXECUTION_WORDS, np.int64)
        words[EPOCH] = resources.epoch
        words[UTC_OFFSET_NS] = realtime_ns() - monotonic_ns()
        line: Any = new_ws_line(self.wire, not self.uses_event_loop, _REQUESTS_MAX)
        if self.desk.http_orders:
            line = new_http_line(make_pool(section.connections, max(1, section.connections // 3)), line)
        return Context(
            common=common,
            orders=resources.consumer(orders),
            reports=tuple(resources.producer(ring) for ring in spec.outputs),
            rings=np.array([-1, orders.number, *(ring.number for ring in spec.outputs)], np.int64),
            missed=np.zeros(len(spec.outputs), np.int64),
            line=line,
            codec=self.desk.codec,
            live=live,
            firm=tables.firm,
            latency=resources.latency(),
            order=order,
            order_bytes=order.view(np.uint8),
            report=report,
            report_bytes=report.view(np.uint8),
            told=np.zeros(8, REPORT),
            events=events,
            event_bytes=events.view(np.uint8),
            request=np.zeros(_REQUEST_BYTES_MAX, np.uint8),
            cold=new_cold_box(_BOX_BYTES, _BOX_MESSAGES),
            words=words,
            venue=np.array([self.venue_row], np.int64),
            instruments=tables.instrument_rows,
            positions=self.rows_of(-1),
        )

    def goes_on_with(self, left: LeftOrder) -> bool:
        return int(left.order[0]["instrument"]) in self.rows

    def warm(self) -> None:
        if self.uses_event_loop:
            from processes.transport import picows_transport

            picows_transport.warm()
        else:
            connect.warm()
        if self.desk.http_orders:
            http_pool.warm()
        ctx: Context = self.context
        venue_execution.forget_connection(ctx, 0)
        venue_execution.take_events(ctx, 0, 0)
        member(ctx.live.orders, 0, 0)
        self.bookings.warm()
        question(ctx.live, 0)
        warm_adoption()
        self.desk.account.warm()
        queue_text(self.wire, CANCELS, ctx.request, 0, 1)

    def connect(self, loop: asyncio.AbstractEventLoop | None, on_messages: Callable[[], object]) -> None:
        """Begin connecting; `cold` gets on with it. With picows, `on_messages` is called when the loop has queued messages."""
        ctx: Context = self.context
        window = AttemptWindow()
        kills = Kills(ctx.common.halts, FIRM_CELL, VENUE_CELL + self.venue_row)

        def retry() -> Reconnect:
            return Reconnect(random.Random(self._network.entropy(8)), window=window)

        def make_link(url: str, headers: Any) -> Link:
            settings = Settings(url=url, headers=headers, tls=self._tls, network=self._network)
            if not self.uses_event_loop:
                return DirectLink(settings, self.wire, retry(), kills)
            from processes.transport.picows_transport import PicowsLink

            assert loop is not None
            return PicowsLink(settings, self.wire, retry(), kills, loop, on_messages)

        self._make_link = make_link
        if self.desk.http_orders:
            settings = Settings(url=self.section.rest_url, tls=self._tls, network=self._network)
            self._pool = http_pool.HttpConnections(settings, ctx.line.pool, retry)

    def cold(self, now_ns: int) -> int:
        done = super().cold(now_ns)
        if self.context.words[venue_sending.UNBOOKED_SEEN]:
            raise EngineError(
                f"stage {self.name}: a fill could not be booked; it stops rather than trade on a position that it does not know"
            )
        if self._make_link is None:
            return done
        account = self.desk.account
        utc_ns = now_ns + self._read_clock()
        if self.context.words[venue_sending.CLOCK_DOUBTED]:
            self.context.words[venue_sending.CLOCK_DOUBTED] = 0
            account.ask_clock(now_ns)
        if self.context.words[venue_sending.MALFORMED_SEEN]:
            # It may have been a fill: what the venue holds is asked for again, on the next connection.
            log("private message malformed", venue=self.spec.subject, messages=int(self.context.words[venue_sending.MALFORMED_SEEN]))
            self.context.words[venue_sending.MALFORMED_SEEN] = 0
            account.shutdown = True
        if self._pool is not None:
            self._pool.tick(now_ns)
        done += self._tick_link(now_ns, utc_ns)
        for message in take_messages(self.context.cold):
            self._say(account.take(message, now_ns, utc_ns))
            done += 1
        for answer in self._calls.poll(now_ns):
            if answer.why:
                log("request failed", venue=self.spec.subject, why=answer.why)
            self._say(account.answer(answer.tag, answer.status, answer.body, now_ns, utc_ns))
            done += 1
        self._say(account.tick(now_ns, utc_ns))
        if now_ns < self.context.words[TIMER_DUE_NS] + _SEND_LOOP_NS:
            self._say(account.keep_armed(now_ns))
        events, account.events = account.events, []
        done += self._give(events, now_ns)
        self._reconcile(now_ns, utc_ns)
        self.context.common.control[control.venue_ready(self.venue_row)] = self.context.words[READY]
        self._ask(now_ns, utc_ns)
        if self.uses_event_loop and self._link is not None and self._link.open:
            self._link.flush()
        return done

    def _read_clock(self) -> int:
        """This host's UTC minus CLOCK_MONOTONIC, as it was at first: what accounts measure the venue's clock against, so that a host's
        clock that is set moves no time stamp. The kernel, which stamps orders, gets the sum of both."""
        if not self._utc_offset_ns:
            self._utc_offset_ns = realtime_ns() - monotonic_ns()
        self.context.words[UTC_OFFSET_NS] = self._utc_offset_ns + self.desk.account.clock_offset_ns
        return self._utc_offset_ns

    def _tick_link(self, now_ns: int, utc_ns: int) -> int:
        account = self.desk.account
        if account.fatal:
            return self._give_up(account.fatal)
        if self._link is None:
            if not self._prepared:
                self._prepared = True
                self._say(account.prepare(now_ns, utc_ns))
            endpoint = account.endpoint()
            if endpoint is None:
                return 0
            assert self._make_link is not None
            self._link = self._make_link(endpoint.url, endpoint.headers)
        if account.shutdown and self._link.open:
            account.shutdown = False
            self._link.drop()
        event = self._link.tick(now_ns)
        if event is LinkEvent.OPENED:
            log("order entry connected", venue=self.spec.subject, url=self._link.url.label)
            self._say(account.hello(now_ns, utc_ns))
        elif event is LinkEvent.ENDED:
            log("order entry disconnected", venue=self.spec.subject, why=str(self._link.error))
            self._forget(now_ns, utc_ns)
        elif event is LinkEvent.FAILED:
            log("order entry failed", venue=self.spec.subject, why=str(self._link.error))
        elif event is LinkEvent.REFUSED:
            account.fatal = str(self._link.error)
        return int(event is not LinkEvent.NOTHING)

    def _give_up(self, why: str) -> int:
        if self._link is not None:
            log("account cannot trade", venue=self.spec.subject, why=why)
            self._link.drop()
            self._link.tick(monotonic_ns())
            self._forget(monotonic_ns(), 0)
            self._link, self._make_link = None, None
        return 0

    def _forget(self, now_ns: int, utc_ns: int) -> None:
        """The private connection is gone: what it was about to say is not known."""
        self.context.words[READY] = 0
        self._has_snapshot, self._asks_snapshot, self._snapshot_due_ns = False, False, 0
        venue_execution.forget_connection(self.context, now_ns)
        self.desk.account.lost(now_ns)
        self._say(self.desk.account.prepare(now_ns, utc_ns))

    def _say(self, outgoing: Sequence[Outgoing]) -> None:
        """Send texts on the private connection, in the lane that no kill closes, and make calls."""
        for each in outgoing:
            if isinstance(each, Text):
                data = np.frombuffer(bytearray(each.data), np.uint8)  # Writable, as what `warm` compiled for.
                if not queue_text(self.wire, CANCELS, data, 0, len(data)):
                    log("text not queued", venue=self.spec.subject, bytes=len(data))
        self._calls.add(each for each in outgoing if isinstance(each, Call))

    def _give(self, events: Sequence[Any], now_ns: int) -> int:
        """Give the kernel what queries answered."""
        ctx: Context = self.context
        for first in range(0, len(events), EVENTS_MAX):
            part = events[first : first + EVENTS_MAX]
            for k, event in enumerate(part):
                ctx.events[k] = event
            venue_execution.take_events(ctx, len(part), now_ns)
        return len(events)

    def _reconcile(self, now_ns: int, utc_ns: int) -> None:
        """Ask the venue for all it holds of the account after each connection, and let orders leave when that is settled."""
        account, ctx = self.desk.account, self.context
        if not account.ready or (ctx.words[READY] and self.agreement.settled):
            return
        if account.snapshot is not None:
            snapshot, account.snapshot = account.snapshot, None
            self._settle(snapshot, now_ns)
            self.agreement.take(snapshot, self._followed())
            self._has_snapshot, self._asks_snapshot = True, False
        elif self._asks_snapshot and not account.reconciling:
            self._asks_snapshot, self._snapshot_due_ns = False, now_ns + _RECONCILE_RETRY_NS
        elif not self._has_snapshot and now_ns >= self._snapshot_due_ns:
            self._asks_snapshot, self._snapshot_due_ns = True, now_ns + _RECONCILE_TIMEOUT_NS
            self._say(account.reconcile(self.bookings.is_booked, now_ns, utc_ns))
        if self._has_snapshot and not ctx.live.words[UNKNOWN_COUNT] and not self._asking():
            self._compare(now_ns)

    def _compare(self, now_ns: int) -> None:
        """Let orders leave when ledger and venue agree; when they differ, those that only reduce: then all know that by now."""
        ctx: Context = self.context
        was_told = self.agreement.differs
        pause_ns = self.agreement.judge(ctx.positions)
        if self.agreement.news:
            assert self._journal is not None
            self.agreement.news = False
            self._journal.append_json(JournalKind.BALANCES, as_text(self.agreement.began))
        if pause_ns:
            self._has_snapshot, self._snapshot_due_ns = False, now_ns + pause_ns
        if not ctx.words[READY] and (self.agreement.agrees or (was_told and self.agreement.differs)):
            ctx.words[READY] = 1
            log("order entry ready", venue=self.spec.subject, working=int(ctx.common.counters[ExecutionCounter.WORKING]))

    def _settle(self, snapshot: Snapshot, now_ns: int) -> None:
        ctx: Context = self.context
        assert self._journal is not None
        fills = self.bookings.begin(self._journal, snapshot.fills)
        self._give(fills, now_ns)
        canceled = ctx.words[venue_sending.CANCELS_OWN]
        self._give(list(snapshot.open_orders), now_ns)
        canceled = ctx.words[venue_sending.CANCELS_OWN] - canceled
        listed = {int(event["order_id"]) for event in snapshot.open_orders}
        for slot in self._slots():
            if int(ctx.live.live[slot, WIRE_ID]) not in listed:
                ctx.live.live[slot, ASK] = 1
        log("reconciled", venue=self.spec.subject, open_orders=len(listed), fills=len(fills), canceled=int(canceled))

    def _asking(self) -> bool:
        return any(self.context.live.live[slot, ASK] for slot in self._slots())

    def _followed(self) -> set[int]:
        """Client ids of the orders that this stage follows."""
        return {int(self.context.live.live[slot, WIRE_ID]) for slot in self._slots()}

    def _slots(self) -> list[int]:
        """Where the working orders are."""
        orders = self.context.live.orders
        return [int(member(orders, row, k)) for row in range(len(orders.counts)) for k in range(int(orders.counts[row]))]

    def _ask(self, now_ns: int, utc_ns: int) -> None:
        """Ask for orders whose state is not known, one a turn."""
        if not self.desk.account.ready:
            return
        ctx: Context = self.context
        slot = int(question(ctx.live, now_ns))
        if slot >= 0:
            row = int(ctx.live.orders.rows[slot]["instrument"])
            self._say(self.desk.account.query(int(ctx.live.live[slot, WIRE_ID]), row, now_ns, utc_ns))

    def disconnect(self, now_ns: int) -> None:
        """Let go of every connection at the end of the process. The venue's timer stays set if an order may be left."""
        live = self.context.live
        if self._link is not None:
            if self._link.open and not live.orders.counts.any() and not live.words[UNKNOWN_COUNT]:
                self._say(self.desk.account.disarm())
                self._link.flush()
            self._link.drop()
            self._link.tick(now_ns)
        if self._pool is not None:
            self._pool.close()
        self._calls.close()


@functools.cache
def installation() -> int:
    """63 bits that stand for this host: ids of orders carry them where the venue wants more than 64."""
    machine = Path("/etc/machine-id")
    text = machine.read_text().strip() if machine.exists() else os.uname().nodename
    return int.from_bytes(text.encode()[:32].ljust(8, b"0")[:8], "big") >> 1
