"""Ambiguous outcomes: every command, answered in every way that says nothing, whatever was filled meanwhile, whenever the stream tells.

Execution and a venue's simulator in virtual time. In each case nothing may be sent twice, nothing that lives may have ended here, and
what is booked must be what the venue filled.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hft.live_orders import UNKNOWN_COUNT
from hft.orders import is_working
from hft.records import IntentKind, OrderState, ReportKind
from support.venue_desk import VenueDesk
from support.venue_sides import SIDES

COMMANDS = ("new", "cancel", "replace", "cancel_all")
ANSWERS: dict[str, dict[str, Any]] = {
    "timeout": {"kind": "order_error", "status": 504},
    "5xx": {"kind": "order_error", "status": 503},
    "html": {"kind": "order_error", "status": 502, "html": True},
    "reset": {"kind": "lose_ack", "hang_up": True},
    "lost": {"kind": "lose_ack"},
    "late": {"kind": "delay", "channel": "reply", "delay_ms": 900},
}
FILLS = ("not filled", "partly filled", "filled")
#: When the private stream tells: at once, after the request has been given up, or never.
STREAMS: dict[str, dict[str, Any]] = {
    "before": {},
    "after": {"kind": "delay", "channel": "private", "delay_ms": 800, "count": 20},
    "never": {"kind": "drop", "channel": "private", "count": 20},
}
CASES = list(itertools.product(COMMANDS, ANSWERS, FILLS, STREAMS))
#: A sample that is another one at each venue, and the same in each run.
SAMPLE = {venue: random.Random(venue).sample(CASES, 24) for venue in SIDES}
#: How long, in virtual seconds, an outcome may stay unknown once the venue answers.
RESOLVED_S = 2.0


class Case:
    """One case at one venue."""

    def __init__(self, desk: VenueDesk, command: str, answer: str, fill: str, stream: str) -> None:
        self.desk, self.side = desk, desk.side
        self.command, self.answer, self.fill, self.stream = command, answer, fill, stream
        self.unknown_s = 0.0

    def run(self) -> None:
        desk = self.desk
        desk.step()
        desk.open()
        desk.run_until(lambda: desk.ready, 2)
        orders = [] if self.command == "new" else [desk.send(price_ticks=self.side.far_bid)]
        desk.run(0.1)
        for fault in (ANSWERS[self.answer], STREAMS[self.stream]):
            if fault and not (self.side.name == "coinbase" and fault.get("channel") == "reply"):
                self.side.driver.fault(**fault, **({"action": "any"} if fault["kind"] in ("order_error", "lose_ack") else {}))
        if self.command != "new" and self.fill != "not filled":
            self._fill()  # Before the command arrives: it may come too late.
        if self.command in ("new", "replace"):
            fields = {"kind": IntentKind.REPLACE, "ref_order_id": orders[0], "price_ticks": self.side.far_bid - 10} if orders else {}
            orders.append(desk.send(**fields))
        elif self.command == "cancel":
            desk.cancel(orders[0])
        else:
            desk.send(kind=IntentKind.CANCEL_ALL)
        desk.turn(self.side.stage)
        desk._exchange()
        if self.command == "new" and self.fill != "not filled":
            self._fill()  # Before the engine knows of any answer: what it asks then counts it.
        self._settle()
        self._check(orders)

    def _fill(self) -> None:
        """The market takes some or all of what we have at the venue."""
        venue = self.side.driver.venue
        account = venue.exchange.accounts[self.side.account]
        for order in list(account.open.values()):
            lots = order.leaves_lots if self.fill == "filled" else order.leaves_lots // 2
            utc_ns = self.side.now_ns + 1_800_000_000 * 10**9
            order.queue_ahead_lots = 0
            venue.exchange.public_trade(order.instrument.symbol, -order.side, order.price_ticks, lots, utc_ns)

    def _settle(self) -> None:
        """Until nothing is unknown or asked for, and for a while longer; a connection that ended is opened again."""
        desk, quiet, seconds = self.desk, 0.0, 0.0
        while quiet < 1.5 and seconds < 60:
            desk.run(0.05, step_ms=10)
            seconds += 0.05
            if desk.session is not None and desk.session.close is not None:
                desk.lose()
                desk.run(0.05)
                self.side.driver.venue.heal()  # It was the stream of that connection which did not tell.
                desk.open()
            live = desk.execution.context.live
            open_question = bool(live.words[UNKNOWN_COUNT]) or desk.execution._asking() or not desk.ready
            quiet = 0.0 if open_question else quiet + 0.05
            self.unknown_s += 0.05 * bool(live.words[UNKNOWN_COUNT])
        assert quiet >= 1.5, "something stays unknown"

    def _check(self, orders: list[int]) -> None:
        desk = self.desk
        account = self.side.driver.venue.exchange.accounts[self.side.account]
        names = Counter(order.client_id for order in account.orders.values())
        assert max(names.values(), default=0) <= 1, f"sent twice: {names}"
        live = {order.client_id for order in account.open.values()}
        for order in orders:
            state = desk.state(order) if desk.reports(order) else OrderState.PENDING_NEW
            name = self.side.client_id(order)
            assert is_working(state) or name not in live or self.command == "replace" and self.side.amends, f"{state.name} here, open there"
            assert self.side.amends or not is_working(state) or name in live, f"{state.name} here, ended there"
            if state is OrderState.REJECTED and "NOT_SENT" not in desk.reports(order):
                assert name not in names, "rejected here, and the venue had it"
        assert desk.filled() == self.side.traded(), "what is booked is not what was filled"
        trades = [int(report[0]["trade_id"]) for report in desk.told if report[0]["kind"] == ReportKind.TRADE]
        assert len(trades) == len(set(trades)), "booked twice"
        assert self.unknown_s <= RESOLVED_S, f"unknown for {self.unknown_s:.2f} s"


def check(venue: str, cases: list[tuple[str, str, str, str]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is wrong, by case."""
    wrong = []
    for n, case in enumerate(cases):
        with VenueDesk(folder / str(n), monkeypatch, SIDES[venue]()) as desk:
            try:
                Case(desk, *case).run()
            except AssertionError as error:
                wrong.append(f"{' / '.join(case)}: {str(error).splitlines()[0]}")
    return wrong


@pytest.mark.parametrize("venue", SIDES)
def test_a_sample_of_ambiguous_outcomes_is_resolved(venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(venue, SAMPLE[venue], tmp_path, monkeypatch) == []


@pytest.mark.load
@pytest.mark.timeout(0)
@pytest.mark.parametrize("venue", SIDES)
def test_every_ambiguous_outcome_is_resolved(venue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check(venue, CASES, tmp_path, monkeypatch) == []
