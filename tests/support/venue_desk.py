"""Venue desk: execution at a simulated venue, in virtual time and without a socket: the stage's wire against the venue's session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hft.counters import ExecutionCounter
from hft.records import IntentKind, OrderState, ReportKind
from hft.sim.venue import Opcode
from hft.websocket import read_header
from processes import venue_stage
from processes.recovery import VenuePast, venue_past
from processes.simulated_keys import write_key_file
from processes.transport.connect import LinkEvent
from processes.transport.wire import WireError, end, next_outbound, open_wire
from processes.venue_sending import READY
from processes.venue_stage import VenueStage
from support.binance_stream import deliver
from support.engine import Bench
from support.feed_fakes import FakeLink
from support.http_carrier import HttpCarrier
from support.venue_sides import Side
from support.virtual_venue import WALL_NS

MS = 1_000_000


class _Folders:
    """Journals by epoch, as an instance has them."""

    def __init__(self, folders: dict[int, Path]) -> None:
        self._folders = folders

    def sessions(self) -> list[int]:
        return sorted(self._folders)

    def journal_folder(self, epoch: int) -> Path:
        return self._folders[epoch]


class VenueDesk(Bench):
    """One execution stage, one connection of its account, and a clock that both share."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, side: Side, session: Any = None) -> None:
        self.side = side
        self._base_ns = 0
        self.now_ns = 0
        monkeypatch.setattr(venue_stage, "monotonic_ns", lambda: self.now_ns)
        monkeypatch.setattr(venue_stage, "realtime_ns", lambda: WALL_NS + self.now_ns - self._base_ns)
        super().__init__(folder, side.config(str(write_key_file(folder / "keys", side.name))), [side.stage], session)
        self._base_ns = self.now_ns - side.now_ns
        self.execution: VenueStage = self.stage(side.stage)  # type: ignore[assignment]
        self.link = FakeLink()
        self.execution._make_link = lambda url, headers: self.link  # type: ignore[assignment,return-value]
        self.calls = side.calls()
        self.execution._calls = self.calls  # type: ignore[assignment]
        self.session: Any = None
        self._opened = False  #: whether HTTP connections that end are opened again
        self.told: list[NDArray[Any]] = []
        self._hears = True
        self.http: HttpCarrier | None = None
        if self.execution.desk.http_orders:
            self.http = HttpCarrier(self.execution.context.line.pool, side.request)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        super().__exit__(kind, error, trace)
        if self.http is not None:
            self.http.close()

    @property
    def hears(self) -> bool:
        """Whether what the venue says of orders arrives."""
        return self._hears

    @hears.setter
    def hears(self, hears: bool) -> None:
        self._hears = hears
        if self.http is not None:
            self.http.hears = hears

    @property
    def ready(self) -> bool:
        return bool(self.execution.context.words[READY])

    def open(self) -> None:
        """The connection is there."""
        if self.http is not None:
            self.http.open()
            self._opened = True
        self.session = self.side.open()
        open_wire(self.execution.wire, -1, 1)
        self.link.brings(LinkEvent.OPENED)

    def lose(self) -> None:
        """The connection is gone."""
        assert self.session is not None
        self.side.driver.venue.closed(self.session)
        self.session = None
        end(self.execution.wire, int(WireError.LOST), 0)
        self.link.brings(LinkEvent.ENDED)

    def past(self) -> VenuePast:
        """What a later epoch learns from this one's journal."""
        stage = self.execution
        assert stage._journal is not None
        epoch = stage._journal.epoch
        return venue_past(_Folders({epoch: stage._journal.folder}), self.side.name, epoch, epoch + 1)  # type: ignore[arg-type]

    def begin_after(self, past: VenuePast, since_epoch: int = 1) -> None:
        """The session had epochs before, from `since_epoch` on."""
        self.execution.bookings.past, self.execution.bookings.since_epoch = past, since_epoch
        self.execution.bookings.follow(self.execution.context.live.seen)

    def run(self, seconds: float, step_ms: int = 5) -> None:
        """Let time go by, in steps."""
        for _ in range(max(1, int(seconds * 1000 / step_ms))):
            self.side.driver.run(step_ms / 1000)
            self.now_ns = self._base_ns + self.side.now_ns
            self.step()

    def run_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time go by until it holds, at most so long."""
        for _ in range(int(seconds * 20)):
            if condition():
                return
            self.run(0.05)
        assert condition()

    def step(self) -> None:
        """What both sides have to say, until both are silent."""
        for _ in range(8):
            self.turn(self.side.stage)
            self.execution.cold(self.now_ns)
            self.told += [report.reshape(1) for report in self.take(f"reports.{self.side.name}.risk")]
            for other in ("mm", "portfolio"):
                self.take(f"reports.{self.side.name}.{other}")
            if not self._exchange():
                return

    def _exchange(self) -> int:
        """Carry requests and frames both ways; how many."""
        requests = 0
        if self.http is not None and self._opened:
            requests = self.http.carry()
            self.http.open()
        if self.session is None:
            return requests
        sent = self.texts()
        for text in sent:
            self.side.receive(self.session, text)
        heard = self.side.heard(self.session)
        for payload in heard:
            if self.hears:
                deliver(self.execution.wire, payload, self.now_ns)
        return requests + len(sent) + len(heard)

    @contextmanager
    def lost_requests(self) -> Iterator[None]:
        """While this lasts, bytes leave and reach nobody."""
        session, self.session = self.session, None
        if self.http is not None:
            self.http.arrives = False
        yield
        self.step()
        self.texts()
        self.session = session
        if self.http is not None:
            self.http.arrives = True

    def texts(self) -> list[bytes]:
        """Take what the stage has queued, unmasked."""
        wire, texts = self.execution.wire, []
        while True:
            lane, at, length = next_outbound(wire, 0, False)
            if lane < 0:
                return texts
            data = (wire.out, wire.cancel_out, wire.control_out)[int(lane)]
            _, first, start, size, key = read_header(data, at, at + length, 1, 1 << 20)
            masks = np.frombuffer(int(key).to_bytes(4, "little"), np.uint8)
            payload = data[start : start + size] ^ np.resize(masks, int(size))
            if int(first) & 0x0F == Opcode.TEXT:
                texts.append(payload.tobytes())

    def send(self, **fields: int) -> int:
        """Publish an approved order, a small one that rests unless told otherwise; its id."""
        order = self.order(**{"price_ticks": self.side.far_bid, "qty_lots": self.side.lots} | fields)
        self.put(f"orders.risk.{self.side.name}", order)
        return int(order[0]["order_id"])

    def cancel(self, order_id: int, **fields: int) -> int:
        """Publish an approved cancel; its id."""
        return self.send(kind=IntentKind.CANCEL, ref_order_id=order_id, **fields)

    def reports(self, order_id: int) -> list[str]:
        """The kinds of reports about one order so far."""
        return [ReportKind(int(report[0]["kind"])).name for report in self.told if report[0]["order_id"] == order_id]

    def state(self, order_id: int) -> OrderState:
        """What the newest report said of the order."""
        return OrderState(int([report[0]["state"] for report in self.told if report[0]["order_id"] == order_id][-1]))

    def count(self, which: ExecutionCounter) -> int:
        return self.counter(self.side.stage, which)

    def open_orders(self) -> list[str]:
        """Client ids of what is open at the venue."""
        return [order["client_id"] for order in self.side.held()["open_orders"]]

    def clients(self, *orders: int) -> list[str]:
        """What the venue calls these orders."""
        return [self.side.client_id(order) for order in orders]

    def filled(self) -> Any:
        """Net size of every fill reported, in the base asset."""
        trades = [report[0] for report in self.told if report[0]["kind"] == ReportKind.TRADE]
        return sum(int(trade["side"] * trade["last_lots"]) for trade in trades) * self.side.lot
