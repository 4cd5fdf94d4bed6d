"""Venue desk: execution at the simulated Binance, in virtual time and without a socket: the stage's wire against the venue's session."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hft.config import Config
from hft.counters import ExecutionCounter
from hft.records import REPORT, IntentKind, OrderState, ReportKind
from hft.sim.binance.venue import BinanceVenue
from hft.sim.synthetic import SPECS, SyntheticMarket
from hft.sim.venue import Opcode
from hft.websocket import read_header
from processes import venue_stage
from processes.simulated_keys import write_key_file
from processes.transport.connect import LinkEvent
from processes.transport.wire import WireError, end, next_outbound, open_wire
from processes.venue_sending import READY
from processes.venue_stage import VenueStage
from support.binance_stream import deliver
from support.engine import Bench, paper_config
from support.feed_fakes import FakeLink
from support.virtual_venue import WALL_NS, VirtualVenue

STAGE = "execution.binance"
MS = 1_000_000


def venue_config(folder: Path) -> Config:
    """paper.toml with orders that go to the simulated Binance."""
    key_file = write_key_file(folder / "keys", "binance")

    def change(sections: dict[str, Any]) -> None:
        sections["execution"]["binance"] = {
            "kind": "venue",
            "order_url": "ws://127.0.0.1/ws-api/v3",
            "rest_url": "http://127.0.0.1",
            "credentials": str(key_file),
            "transport": "picows",
            "ack_timeout_ms": 500,
            "query_pause_ms": 100,
        }

    return paper_config(change)


def two_symbols() -> SyntheticMarket:
    return SyntheticMarket([SPECS["BTCUSDT"], SPECS["ETHUSDT"]], [random.Random("1").random, random.Random("2").random])


class VenueDesk(Bench):
    """One execution stage, one connection of its account, and a clock that both share."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, driver: VirtualVenue | None = None) -> None:
        self.driver = driver or VirtualVenue(two_symbols)
        self._base_ns = 0
        clock = SimpleNamespace(monotonic_ns=lambda: self.now_ns, time_ns=lambda: WALL_NS + self.now_ns - self._base_ns)
        self.now_ns = 0
        monkeypatch.setattr(venue_stage, "time", clock)
        super().__init__(folder, venue_config(folder), [STAGE])
        self._base_ns = self.now_ns - self.driver.now_ns
        self.execution: VenueStage = self.stage(STAGE)  # type: ignore[assignment]
        self.link = FakeLink()
        self.execution._make_link = lambda url, headers: self.link  # type: ignore[assignment,return-value]
        self.session: Any = None
        self.told: list[NDArray[Any]] = []
        self.hears = True  #: whether what the venue says arrives

    @property
    def venue(self) -> BinanceVenue:
        return self.driver.venue

    @property
    def ready(self) -> bool:
        return bool(self.execution.context.words[READY])

    def open(self) -> None:
        """The connection is there."""
        self.session = self.venue.open(self.venue.admit("/ws-api/v3", {}, self.driver.now_ns), self.driver.now_ns)
        self.driver.sent[self.session.number] = []
        open_wire(self.execution.wire, -1, 1)
        self.link.brings(LinkEvent.OPENED)

    def lose(self) -> None:
        """The connection is gone."""
        assert self.session is not None
        self.venue.closed(self.session)
        self.session = None
        end(self.execution.wire, int(WireError.LOST), 0)
        self.link.brings(LinkEvent.ENDED)

    def run(self, seconds: float, step_ms: int = 5) -> None:
        """Let time go by, in steps."""
        for _ in range(max(1, int(seconds * 1000 / step_ms))):
            self.driver.run(step_ms / 1000)
            self.now_ns = self._base_ns + self.driver.now_ns
            self.step()

    def step(self) -> None:
        """What both sides have to say, until both are silent."""
        for _ in range(8):
            self.turn(STAGE)
            self.execution.cold(self.now_ns)
            self.told += [report.reshape(1) for report in self.take("reports.binance.risk")]
            for other in ("reports.binance.mm", "reports.binance.portfolio"):
                self.take(other)
            if not self._exchange():
                return

    def _exchange(self) -> int:
        """Carry frames both ways; how many."""
        if self.session is None:
            return 0
        sent = self._texts()
        for text in sent:
            self.venue.receive(self.session, Opcode.TEXT, text, self.driver.now_ns)
        self.driver.collect()
        heard = self.driver.sent[self.session.number]
        self.driver.sent[self.session.number] = []
        for opcode, payload in heard:
            if opcode == Opcode.TEXT and self.hears:
                deliver(self.execution.wire, payload, self.now_ns)
        return len(sent) + len(heard)

    def _texts(self) -> list[bytes]:
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
        """Publish an approved order; its id."""
        order = self.order(**fields)
        self.put("orders.risk.binance", order)
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
        return self.counter(STAGE, which)

    def account(self) -> dict[str, Any]:
        """What the venue itself holds of the account."""
        found: dict[str, Any] = self.driver.state()["exchange"]["accounts"]["bob"]
        return found

    def filled_lots(self) -> int:
        """Net size of every fill reported, in lots of BTC-USDT."""
        return sum(int(report[0]["side"] * report[0]["last_lots"]) for report in self.told if report[0]["kind"] == ReportKind.TRADE)


assert REPORT.itemsize == 192
