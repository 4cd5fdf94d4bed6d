"""Orders source: an execution stage of the engine, and a stage before and behind it that keeps orders on their way.

The source takes a turn in the same burst as execution, as risk and a strategy would: it publishes approved orders on the ring from
risk, and takes what execution reports to the strategy, to risk and to the portfolio.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.config import Config, parse
from hft.orders import order_id
from hft.records import ORDER, REPORT, IntentKind, OrderState, ReportKind, Side, TimeInForce
from hft.tables import build_tables
from hft.venues.binance.limits import LIMIT, WINDOW_NS, WORDS
from processes.bench.one_market import ONE_MARKET
from processes.bench.report import BenchError
from processes.burst import TURNS, burst, group, groups_of
from processes.resources import ScratchResources
from processes.run import BURST_NS
from processes.simulated_keys import write_key_file
from processes.venue_sending import READY
from processes.venue_stage import VenueStage
from shm.jit import njit
from shm.pinned import Pinned, pin, unpin
from shm.ring import Ring, available, claim, copy_record, publish, read_record, release_many, slot_of

# Cells of OrderSource.words.
SENT = 0  #: orders published
ACKED = 1  #: orders that the venue acknowledged
ENDED = 2  #: orders of which all is told
FAILED = 3  #: orders that were refused, rejected or not sent
IN_FLIGHT_MAX = 4
_WORDS = 8

#: Spans that the log holds, in a circle; a power of two.
SPANS = 1 << 20

_CYCLES_MAX = 1 << 30
_JOURNAL_BYTES = 64 << 20
_NO_LIMIT, _WINDOW_NS = 1 << 40, 1_000_000
_ACK, _EXPIRED = int(ReportKind.ACK), int(ReportKind.EXPIRED)
_FIRST_END, _EXPIRED_STATE = int(OrderState.FILLED), int(OrderState.EXPIRED)
#: Far below the market and within the venue's price band, in ticks; and a size, in lots.
_PRICE_TICKS, _QTY_LOTS = 5_000_000, 100

_CONFIG = """
[engine]
mode = "paper"

[venues.binance]
stream_url = "{ws}/"
rest_url = "{http}/"

{one_market}
[strategies.source]
code = "bench_taker"
instruments = ["BTC-USDT.BINANCE"]
timer_ms = 60000

[execution.binance]
kind = "venue"
order_url = "{ws}/ws-api/v3"
rest_url = "{http}"
credentials = "{key_file}"

[placement.processes.engine]
stages = ["feed.binance", "strategy.source", "risk", "execution.binance", "portfolio"]
idle = "busy_spin"
"""


class OrderSource(NamedTuple):
    """Context of the source."""

    orders: Ring  #: out
    reports: tuple[Ring, ...]  #: in: execution's to the strategy, then the others, which are only taken
    order: NDArray[Any]  #: ORDER, one row: the order that is sent again and again under new ids
    report: NDArray[Any]  #: REPORT, one row of scratch
    spans_ns: NDArray[np.int64]  #: send to acknowledgement, by the acknowledgement's number in a circle
    words: NDArray[np.int64]  #: see the cells above


@njit
def source_turn(cell: Any, now_ns: int) -> int:
    """The source's turn in a burst."""
    return _work(unpin(cell)[0], now_ns)


@njit
def _work(ctx: OrderSource, now_ns: int) -> int:
    done = 0
    first = True
    for ring in ctx.reports:
        count = available(ring)
        if first:
            for k in range(count):
                read_record(ring, slot_of(ring, k), ctx.report, 0)
                _take_report(ctx)
        if count > 0:
            release_many(ring, count)
            done += count
        first = False
    while ctx.words[SENT] - ctx.words[ENDED] < ctx.words[IN_FLIGHT_MAX]:
        slot = claim(ctx.orders)
        if slot < 0:
            break
        ctx.words[SENT] += 1
        row = ctx.order[0]
        row["order_id"] = order_id(1, 0, ctx.words[SENT])
        row["received_ns"] = now_ns
        row["decoded_ns"] = now_ns
        row["decided_ns"] = now_ns
        row["approved_ns"] = now_ns
        copy_record(ctx.orders, slot, ctx.order, 0)
        publish(ctx.orders)
        done += 1
    return done


@njit
def _take_report(ctx: OrderSource) -> None:
    report, words = ctx.report[0], ctx.words
    if report["kind"] == _ACK:
        ctx.spans_ns[words[ACKED] & (SPANS - 1)] = report["reported_ns"] - report["sent_ns"]
        words[ACKED] += 1
    elif report["kind"] != _EXPIRED:
        words[FAILED] += 1
    if report["state"] >= _FIRST_END:
        words[ENDED] += 1


def make_config(urls: dict[str, str], key_file: Path) -> Config:
    """One instrument, whose orders go to the venue at `urls`."""
    return parse(
        _CONFIG.format(one_market=ONE_MARKET, ws=urls["ws"].rstrip("/"), http=urls["http"].rstrip("/"), key_file=key_file),
        "the orders bench",
    )


class OrderEngine:
    """The source and execution in one burst of this process. `folder` takes journals and keys, and is made.

    `words` are control words to obey, of `control.WORDS`; its own, which say nothing, unless given.
    """

    def __init__(self, folder: Path, urls: dict[str, str], in_flight: int, words: NDArray[np.int64] | None = None) -> None:
        folder.mkdir(parents=True)
        config = make_config(urls, write_key_file(folder / "keys", "binance"))
        topology = config.topology()
        resources = ScratchResources(topology, len(config.instruments), folder, file_bytes=_JOURNAL_BYTES)
        resources.control = resources.control if words is None else words
        resources.control[control.READY] = 1
        self.stage = VenueStage(topology.stage("execution.binance"), config, build_tables(config))
        self.stage.attach(resources)
        self.stage.warm()
        self.words, self.spans_ns = np.zeros(_WORDS, np.int64), np.zeros(SPANS, np.int64)
        self.in_flight = in_flight
        self.burst_ns = BURST_NS
        spec = self.stage.spec
        orders = next(ring for ring in spec.inputs if ring.kind == "orders")
        self._source = OrderSource(
            orders=resources.producer(orders),
            reports=tuple(resources.consumer(ring) for ring in spec.outputs),
            order=_order(),
            report=np.zeros(1, REPORT),
            spans_ns=self.spans_ns,
            words=self.words,
        )
        self._cells: list[Pinned] = []
        self._pinned: Pinned | None = None
        self._pin()
        self.stage.connect(None, lambda: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stage.disconnect(time.monotonic_ns())
        self.stage.on_close("bench")

    def _pin(self) -> None:
        self._cells = [pin((self._source,)), pin(self.stage.pinned_parts())]
        turns = (source_turn, TURNS[self.stage.turn])
        self._pinned = pin(groups_of([group(turn, (each.cell,)) for turn, each in zip(turns, self._cells, strict=True)]))
        self.stage.changed = False

    def turn(self) -> None:
        """A burst of `burst_ns`, and the cold work after it."""
        if self.stage.changed:
            self._pin()
        assert self._pinned is not None
        now_ns = time.monotonic_ns()
        burst(self._pinned.cell, now_ns + self.burst_ns, _CYCLES_MAX, _CYCLES_MAX, 0)
        self.stage.cold(time.monotonic_ns())

    @property
    def ready(self) -> bool:
        """Whether orders may leave."""
        return bool(self.stage.context.words[READY])

    def await_ready(self, deadline_ns: int) -> None:
        """Turn until orders may leave, then begin to send; BenchError when that takes too long."""
        while not self.ready:
            if time.monotonic_ns() > deadline_ns:
                raise BenchError("order entry at the simulator was not ready in time")
            self.turn()
        self.begin()

    def begin(self) -> None:
        """Begin to send. The venue tells of limits that it does not have: windows of another length than it says are taught nothing."""
        limits = self.stage.desk.codec.limits
        limits[:WORDS, WINDOW_NS], limits[:WORDS, LIMIT] = _WINDOW_NS, _NO_LIMIT
        self.words[IN_FLIGHT_MAX] = self.in_flight

    def stop_sending(self) -> None:
        """Send no more orders."""
        self.words[IN_FLIGHT_MAX] = 0


def _order() -> NDArray[Any]:
    order = np.zeros(1, ORDER)
    order["price_ticks"], order["qty_lots"], order["side"] = _PRICE_TICKS, _QTY_LOTS, int(Side.BUY)
    order["kind"], order["tif"] = int(IntentKind.NEW), int(TimeInForce.IOC)
    return order
