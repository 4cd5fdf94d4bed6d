"""Engine: the stages of tests/support/paper.toml on private memory, driven one turn at a time with fabricated records."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config
from hft.journal_reader import Entry, JournalReader
from hft.orders import order_id
from hft.records import (
    INPUT,
    INTENT,
    MARKET,
    ORDER,
    REPORT,
    IntentKind,
    JournalKind,
    MarketFlag,
    MarketKind,
    OrderState,
    ReportKind,
    Side,
    TimeInForce,
)
from processes.burst import TURNS
from processes.resources import ScratchResources
from processes.run import ProcessLoop
from processes.stage import Stage
from processes.stages import DecidingStage
from shm.pinned import pin
from shm.ring import Ring, available, publish_many, release_many, room, slot_at, slot_of

ROOT = Path(__file__).resolve().parents[2]
PAPER = Path(__file__).with_name("paper.toml")
BUY, SELL = int(Side.BUY), int(Side.SELL)
BTC, ETH = 0, 1
BID, ASK = 6_000_000, 6_000_100
#: CLOCK_REALTIME - CLOCK_MONOTONIC of the stages.
UTC_NS = 1_800_000_000_000_000_000


def paper_config(change: Callable[[dict[str, Any]], None] | None = None) -> Config:
    """The config of paper.toml after `change` to its sections."""
    sections = tomllib.loads(PAPER.read_text())
    if change is not None:
        change(sections)
    return msgspec.convert(sections, Config)


def recording_config(**params: float) -> Config:
    """paper.toml, its strategy replaced by `support.recording_strategy` with these parameters."""

    def change(sections: dict[str, Any]) -> None:
        sections["strategies"]["mm"] |= {"code": "support.recording_strategy", "params": params, "timer_ms": 60_000}

    return paper_config(change)


def two_strategies() -> Config:
    """paper.toml with a second strategy, `arb`."""

    def change(sections: dict[str, Any]) -> None:
        sections["strategies"]["arb"] = {"code": "support.recording_strategy", "instruments": ["BTC-USDT.BINANCE"]}
        sections["placement"]["processes"]["trade"]["stages"].insert(1, "strategy.arb")

    return paper_config(change)


def row(dtype: np.dtype[Any], **fields: int) -> NDArray[Any]:
    """One record."""
    made = np.zeros(1, dtype)
    for name, value in fields.items():
        made[0][name] = value
    return made


class Bench:
    """Stages on scratch memory. Every turn is given its time; nothing moves between stages but through the rings."""

    def __init__(
        self, folder: Path, config: Config | None = None, names: list[str] | None = None, session: Any = None, epoch: int = 1
    ) -> None:
        """`session` is what the stages begin with, as their `session()` gave it."""
        self.config = config or paper_config()
        self.topology = self.config.topology()
        self.loop = ProcessLoop(self.config, names or [stage.name for stage in self.topology.stages])
        self.folder = folder
        self.resources = ScratchResources(self.topology, len(self.config.instruments), folder, epoch)
        self.control = self.resources.control
        self.control[control.READY] = 1
        for stage in self.loop.stages:
            if session is not None and isinstance(stage, DecidingStage):
                stage.restore(session)
        self.loop.attach(self.resources)
        #: Virtual now; starts where the clock is, so that stamps made by kernels fit.
        self.now_ns = time.monotonic_ns()
        self._pinned: dict[str, tuple[Any, Any]] = {}
        self._counter = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.loop.close("test over")

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.loop.stages if stage.name == name)

    def turn(self, name: str, after_ns: int = 0) -> int:
        """One turn of a stage, `after_ns` later; what its kernel returned."""
        self.now_ns += after_ns
        stage = self.stage(name)
        if name not in self._pinned or self._pinned[name][0] is not stage.context:
            self._pinned[name] = (stage.context, pin(stage.pinned_parts()))
        return int(TURNS[stage.turn](self._pinned[name][1].cell, self.now_ns))

    def ring(self, name: str) -> Ring:
        return self.resources.rings[name]

    def put(self, name: str, *records: NDArray[Any]) -> None:
        """Publish records as the ring's producer."""
        ring, rows = self.ring(name), np.concatenate(records)
        assert room(ring) >= len(rows)
        ring.slots[[slot_at(ring, k) for k in range(len(rows))]] = rows
        publish_many(ring, len(rows))

    def take(self, name: str) -> NDArray[Any]:
        """Consume all that is in the ring."""
        ring, parts = self.ring(name), []
        while count := available(ring):
            parts.append(ring.slots[[slot_of(ring, k) for k in range(count)]].copy())
            release_many(ring, count)
        return np.concatenate(parts) if parts else ring.slots[:0]

    def skip(self, name: str, count: int) -> None:
        """Consume `count` records unread."""
        ring = self.ring(name)
        assert available(ring) >= count
        release_many(ring, count)

    def fill(self, name: str, leave: int) -> None:
        """Publish blank records until only `leave` slots are free."""
        ring = self.ring(name)
        count = max(0, room(ring) - leave)
        ring.slots[[slot_at(ring, k) for k in range(count)]] = 0
        publish_many(ring, count)

    def counter(self, stage: str, which: int) -> int:
        return int(self.stage(stage).context.common.counters[which])

    def entries(self, stage: str) -> list[Entry]:
        """The stage's journal so far, without its SESSION."""
        return [entry for entry in JournalReader(self.folder, stage, 1).poll() if entry.kind != JournalKind.SESSION]

    def kinds(self, stage: str) -> list[str]:
        return [JournalKind(entry.kind).name for entry in self.entries(stage)]

    def inputs(self, stage: str) -> NDArray[Any]:
        rows = [entry.records() for entry in self.entries(stage) if entry.kind == JournalKind.INPUT]
        return np.concatenate(rows) if rows else np.zeros(0, INPUT)

    def book(self, instrument: int = BTC, bid: int = BID, ask: int = ASK, lots: int = 100_000) -> NDArray[Any]:
        """A whole valid book of one level a side, as a feed publishes it."""
        common = {"instrument": instrument, "received_ns": self.now_ns}
        return np.concatenate(
            [
                row(MARKET, kind=MarketKind.RESET, **common),
                row(MARKET, kind=MarketKind.LEVEL, flags=MarketFlag.BID, price_ticks=bid, qty_lots=lots, **common),
                row(MARKET, kind=MarketKind.LEVEL, price_ticks=ask, qty_lots=lots, **common),
                row(MARKET, kind=MarketKind.VALID, **common),
                self.top(instrument, bid, ask, lots),
            ]
        )

    def top(self, instrument: int = BTC, bid: int = BID, ask: int = ASK, lots: int = 100_000) -> NDArray[Any]:
        fields = {"price_ticks": bid, "qty_lots": lots, "ask_ticks": ask, "ask_lots": lots, "received_ns": self.now_ns}
        return row(MARKET, kind=MarketKind.TOP, flags=MarketFlag.LAST, instrument=instrument, **fields)

    def tops(self, instrument: int = BTC, bid: int = BID, ask: int = ASK) -> NDArray[Any]:
        """The same book as rings without levels carry it, and the venue's clock, which is right."""
        rows = self.book(instrument, bid, ask)
        clock = row(MARKET, kind=MarketKind.CLOCK, instrument=instrument, received_ns=self.now_ns, exchange_ns=UTC_NS + self.now_ns)
        return np.concatenate([rows[rows["kind"] != MarketKind.LEVEL], clock])

    def intent(self, **fields: int) -> NDArray[Any]:
        """A good resting buy of the first strategy, changed by `fields`; its id is new."""
        self._counter += 1
        good = {
            "order_id": order_id(self.resources.epoch, 0, self._counter),
            "price_ticks": BID - 100,
            "qty_lots": 1000,
            "kind": IntentKind.NEW,
            "side": BUY,
        }
        good |= {"tif": TimeInForce.GTC, "decided_ns": self.now_ns, "received_ns": self.now_ns, "decoded_ns": self.now_ns}
        return row(INTENT, **(good | fields))

    def order(self, **fields: int) -> NDArray[Any]:
        """An approved order, as risk publishes it."""
        intent = self.intent(**{name: value for name, value in fields.items() if name in (INTENT.names or ())})
        shared = {name: int(intent[0][name]) for name in INTENT.names or () if name != "reserved"}
        return row(ORDER, **(shared | {"approved_ns": self.now_ns} | fields))

    def report(self, about: NDArray[Any], kind: ReportKind, **fields: int) -> NDArray[Any]:
        """A report on an order or intent; a TRADE fills it in full at its price unless told otherwise."""
        order = about[0]
        names = ("order_id", "ref_order_id", "price_ticks", "qty_lots", "strategy", "instrument", "side", "received_ns", "decided_ns")
        values = {name: int(order[name]) for name in names} | {"kind": int(kind), "reported_ns": self.now_ns}
        if kind == ReportKind.ACK:
            values |= {"state": OrderState.NEW, "leaves_lots": int(order["qty_lots"])}
        elif kind == ReportKind.TRADE:
            self._counter += 1
            filled = int(fields.get("last_lots", order["qty_lots"]))
            values |= {"last_lots": filled, "cum_lots": filled, "leaves_lots": int(order["qty_lots"]) - filled, "trade_id": self._counter}
            values |= {"last_price_ticks": int(order["price_ticks"])}
            values |= {"state": OrderState.FILLED if filled == order["qty_lots"] else OrderState.PARTIALLY_FILLED}
        elif kind == ReportKind.CANCELED:
            values |= {"state": OrderState.CANCELED}
        else:
            values |= {"state": OrderState.REJECTED}
        return row(REPORT, **(values | fields))
