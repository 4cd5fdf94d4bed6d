"""A trader at the simulated Kraken in virtual time: codec, account session and table of live orders, as an execution stage has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hft.live_events import on_event
from hft.live_orders import REPORTS_MAX, WIRE_ID, begin_order, new_live_orders, note_request, question, slot_now
from hft.records import INSTRUMENT, ORDER, REPORT, VENUE_EVENT, IntentKind, ReportKind, Side, TimeInForce
from hft.sim.kraken.keys import ALICE_KEY, ALICE_SECRET
from hft.sim.kraken.session import Session
from hft.sim.venue import Opcode
from hft.venues.interface import Booked, Call, Credentials, Outgoing, Snapshot
from hft.venues.kraken.account import KrakenAccount
from hft.venues.kraken.kernels import encode, scan_private
from hft.venues.kraken.orders import REQUEST_BYTES_MAX, new_codec
from hft.venues.outcomes import Scanned
from support.bookings import nothing_booked
from support.krakensim import SECOND_NS, KrakenDriver

EPOCH = 7
MS = 1_000_000


def instruments() -> np.ndarray[Any, Any]:
    """BTC/USD as the simulator has it."""
    rows = np.zeros(1, INSTRUMENT)
    rows["tick_units"], rows["price_decimals"], rows["lot_units"], rows["qty_decimals"] = 1, 1, 1, 8
    return rows


class Trader:
    """One account; `told` is everything reported: (kind, order id, last_lots)."""

    def __init__(self, driver: KrakenDriver | None = None, **options: Any) -> None:
        self.driver = driver or KrakenDriver()
        self.codec = new_codec(instruments(), ["BTC/USD"], [0], tier="pro")
        self.account = KrakenAccount(
            Credentials(ALICE_KEY, ALICE_SECRET.encode()), self.codec, ["BTC/USD"], [0], "ws://sim", tier="pro", **options
        )
        self.live = new_live_orders(64, 1, SECOND_NS, 500 * MS, 50 * MS)
        self.events, self.reports = np.zeros(64, VENUE_EVENT), np.zeros(REPORTS_MAX, REPORT)
        self.told: list[tuple[str, int, int]] = []
        self.seen: list[np.void] = []
        self.session: Session | None = None
        self.calls: list[str] = []
        self._taken = 0
        self._counter = 0
        self.deaf = False  #: drop what the venue says
        self.silent = False  #: drop what it answers to REST

    # --- the connection

    def connect(self) -> None:
        """Log on and wait until ready."""
        self._say(self.account.prepare(self.driver.now_ns, self.driver.utc_ns))
        assert self.account.endpoint() is not None
        self.session, self._taken = self.driver.open(), 0
        self._say(self.account.hello(self.driver.now_ns, self.driver.utc_ns))
        self.run(0.1)

    def disconnect(self) -> None:
        assert self.session is not None
        self.driver.venue.closed(self.session)
        self.session = None
        self.account.lost(self.driver.now_ns)

    def run(self, seconds: float) -> None:
        """Let time pass, in steps of 50 ms."""
        steps = max(1, int(seconds * 20))
        for _ in range(steps):
            self.driver.run(seconds / steps)
            self.pump()

    def pump(self) -> None:
        """Take everything that was said, until nothing more is."""
        while self.session is not None:
            messages = self.driver.sent[self.session.number][self._taken :]
            if not messages:
                break
            self._taken += len(messages)
            for payload in messages:
                if not self.deaf:
                    self.take(payload)
        self._say(self.account.tick(self.driver.now_ns, self.driver.utc_ns))
        self._say(self.account.keep_armed(self.driver.now_ns))
        self._take_events()

    def take(self, payload: bytes) -> int:
        """Take one message of the private connection."""
        data = np.frombuffer(bytearray(payload), np.uint8)
        count = int(scan_private(self.codec, data, 0, len(data), self.driver.now_ns, self.events))
        assert count != Scanned.MALFORMED, payload
        if count == Scanned.COLD:
            self._say(self.account.take(payload, self.driver.now_ns, self.driver.utc_ns))
        for i in range(max(count, 0)):
            self._give(self.events, i)
        self._take_events()
        return count

    def _take_events(self) -> None:
        events, self.account.events = self.account.events, []
        for event in events:
            self.events[0] = event
            self._give(self.events, 0)

    def _give(self, events: np.ndarray[Any, Any], i: int) -> None:
        self.seen.append(events[i].copy())
        count = int(on_event(self.live, events, i, self.driver.now_ns, self.reports))
        self.told += [(ReportKind(int(r["kind"])).name, int(r["order_id"]), int(r["last_lots"])) for r in self.reports[:count]]

    def _say(self, outgoing: Sequence[Outgoing]) -> None:
        for each in outgoing:
            if isinstance(each, Call):
                self.calls.append(each.target.rpartition("/")[2])
                headers = {name.lower(): value for name, value in each.headers}
                response = self.driver.venue.request(each.method, each.target, headers, each.body, self.driver.now_ns)
                status, body = (0, b"") if self.silent else (response.status, response.body)
                self._say(self.account.answer(each.tag, status, body, self.driver.now_ns, self.driver.utc_ns))
            elif self.session is not None:
                self.driver.venue.receive(self.session, Opcode.TEXT, each.data, self.driver.now_ns)
                self.driver.collect()

    # --- orders

    def send(self, kind: IntentKind, ref: int = 0, **fields: int) -> int:
        """Send a request; its id."""
        self._counter += 1
        identity = EPOCH << 40 | self._counter
        order = np.zeros(1, ORDER)
        order["kind"], order["order_id"], order["ref_order_id"] = kind, identity, ref
        told = {"side": Side.BUY, "tif": TimeInForce.GTC, "price_ticks": 100_000, "qty_lots": 1_000_000} | fields
        for name, value in told.items():
            order[name] = value
        slot = int(slot_now(self.live, ref)) if ref else -1
        wire_ref = int(self.live.live[slot, WIRE_ID]) if slot >= 0 else ref
        out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
        end = int(encode(self.codec, order, 0, identity, wire_ref, self.driver.utc_ns, out, 0))
        assert end > 0 and self.session is not None
        note_request(self.live, order, 0, identity if kind in (IntentKind.NEW, IntentKind.REPLACE) else ref)
        if kind in (IntentKind.NEW, IntentKind.REPLACE):
            new_slot = int(begin_order(self.live, order, 0, self.driver.now_ns))
            self.live.orders.rows[new_slot]["sent_ns"] = max(self.driver.now_ns, 1)
        self.driver.venue.receive(self.session, Opcode.TEXT, out[:end].tobytes(), self.driver.now_ns)
        self.driver.collect()
        return identity

    def ask(self) -> None:
        """Ask for what is not known, as a stage does."""
        slot = int(question(self.live, self.driver.now_ns))
        if slot >= 0:
            self._say(self.account.query(int(self.live.live[slot, WIRE_ID]), 0, self.driver.now_ns, self.driver.utc_ns))
            self._take_events()

    def reconcile(self, booked: Booked = nothing_booked) -> Snapshot:
        """Reconcile; questions may have to wait for the key's counter."""
        self._say(self.account.reconcile(booked, self.driver.now_ns, self.driver.utc_ns))
        for _ in range(600):
            if self.account.snapshot is not None:
                break
            self.run(0.1)
        assert self.account.snapshot is not None
        return self.account.snapshot

    def private(self, method: str, **fields: object) -> Any:
        """Ask the venue by hand, with the account's key; its nonces rise over both."""
        self.account._nonce = max(self.account._nonce + 1, self.driver.utc_ns)
        return self.driver.private(method, nonce=self.account._nonce, **fields)

    def of(self, order_id: int) -> list[tuple[str, int]]:
        """What was told of one order: (kind, last_lots)."""
        return [(kind, lots) for kind, told_of, lots in self.told if told_of == order_id]

    def state(self, order_id: int) -> int:
        return int(self.live.orders.rows[int(slot_now(self.live, order_id))]["state"])

    def touch(self) -> tuple[int, int]:
        """Best bid and ask of the venue, in ticks."""
        bid, ask = self.driver.best()
        return int(bid * 10), int(ask * 10)
