"""Execution at each venue over real sockets, in one process with its simulator: log-on, a fill, a resting order, a lost answer, a cancel."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hft.records import IntentKind, OrderState, ReportKind
from processes.simulated_keys import write_key_file
from processes.venue_sending import READY
from processes.venue_server import Simulator
from processes.venue_sim import Options, make_venue
from processes.venue_stage import VenueStage
from support.engine import Bench
from support.venue_sides import SIDES, Side

#: A watchdog, not an expectation.
DEADLINE_S = 60.0


class SocketDesk(Bench):
    """One execution stage with connections of its own to a simulator in this process."""

    def __init__(self, folder: Path, side: Side, simulator: Simulator, urls: dict[str, Any]) -> None:
        config = side.config(str(write_key_file(folder / "keys", side.name)))
        section = msgspec.structs.replace(
            config.execution[side.name], order_url=urls["ws"].rstrip("/") + side.path, rest_url=urls["http"], transport="direct"
        )
        super().__init__(folder, msgspec.structs.replace(config, execution={side.name: section}), [side.stage])
        self.side, self.simulator = side, simulator
        self.execution: VenueStage = self.stage(side.stage)  # type: ignore[assignment]
        self.execution.connect(None, lambda: None)
        self.told: list[Any] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Work until it holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, (self.told, self.held())
            self.now_ns = time.monotonic_ns()
            self.turn(self.side.stage)
            self.execution.cold(self.now_ns)
            self.told += list(self.take(f"reports.{self.side.name}.risk"))
            for other in ("mm", "portfolio"):
                self.take(f"reports.{self.side.name}.{other}")
            await asyncio.sleep(0)

    async def hang_up(self) -> None:
        """End all connections, and let the simulator notice."""
        self.execution.disconnect(time.monotonic_ns())
        pool = self.execution._pool
        if pool is not None:
            pool.drop()
            pool.tick(time.monotonic_ns())
        for _ in range(100):
            await asyncio.sleep(0)

    def held(self) -> Any:
        """What the venue holds of the account."""
        state = json.loads(self.simulator.venue.control("GET", "/state", b"", time.monotonic_ns()).body)
        return state["exchange"]["accounts"][self.side.account]

    def send(self, **fields: int) -> int:
        self.now_ns = time.monotonic_ns()
        order = self.order(**{"price_ticks": self.side.far_bid, "qty_lots": self.side.lots} | fields)
        self.put(f"orders.risk.{self.side.name}", order)
        return int(order[0]["order_id"])

    def is_in(self, order: int, *states: OrderState) -> bool:
        """Whether the newest report of the order says one of these."""
        return ([report["state"] for report in self.told if report["order_id"] == order] or [0])[-1] in states

    def filled(self) -> Decimal:
        """Net size of the fills that were reported, in the base asset."""
        trades = [report for report in self.told if report["kind"] == ReportKind.TRADE]
        return sum(int(trade["side"] * trade["last_lots"]) for trade in trades) * self.side.lot


async def trade(desk: SocketDesk) -> None:
    """A life of orders; every answer is the venue's."""
    await desk.until(lambda: bool(desk.execution.context.words[READY]))
    taker = desk.send(price_ticks=desk.side.near_ask)
    await desk.until(lambda: desk.is_in(taker, OrderState.FILLED))
    assert desk.filled() == Decimal(desk.held()["traded"][desk.side.symbol]) == desk.side.lots * desk.side.lot
    resting = desk.send()
    await desk.until(lambda: desk.is_in(resting, OrderState.NEW))
    lost = b'{"kind":"lose_ack"}'
    assert desk.simulator.venue.control("POST", "/fault", lost, time.monotonic_ns()).status == 200
    unsure = desk.send(price_ticks=desk.side.far_bid - 100)
    await desk.until(lambda: desk.is_in(unsure, OrderState.NEW))
    assert [order["client_id"] for order in desk.held()["open_orders"]] == [desk.side.client_id(order) for order in (resting, unsure)]
    for order in (resting, unsure):
        desk.send(kind=IntentKind.CANCEL, ref_order_id=order)
    await desk.until(lambda: desk.is_in(resting, OrderState.CANCELED) and desk.is_in(unsure, OrderState.CANCELED))
    assert desk.held()["open_orders"] == []


@pytest.mark.parametrize("venue", list(SIDES))
def test_orders_live_and_end_over_real_sockets(tmp_path: Path, venue: str) -> None:
    async def main() -> None:
        simulator = Simulator(make_venue(venue, Options(synthetic=1)), False)
        urls = await simulator.start(0)
        try:
            with SocketDesk(tmp_path, SIDES[venue](), simulator, urls) as desk:
                await trade(desk)
                await desk.hang_up()
        finally:
            await simulator.stop()

    asyncio.run(main())
