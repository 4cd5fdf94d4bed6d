"""Mutants: bugs that lost money elsewhere, put back into the engine one at a time, for the simulation to find.

    python -m support.mutants NAME FIRST SEEDS [VENUE ...]

prints, as JSON, the first seed that breaks an invariant and how; null if none does. NAME `none` changes nothing. Kernels are mutated as plain Python functions, so
NUMBA_DISABLE_JIT=1 is required.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from hft import live_events, live_orders, orders, risk
from hft.records import IntentKind, ReportKind, RiskCode, VenueEventKind
from hft.venues import markets
from processes import risk as risk_stage
from processes import run, strategy, venue_execution, venue_sending, venue_stage, ws_line
from processes.recovery import VenuePast
from processes.simulate.simulation import CLOCK, simulate
from processes.transport.direct import direct_flush
from shm.jit import JIT_ENABLED


def timeouts_are_rejections() -> None:
    """An order that got no answer in time was not accepted."""

    def rejected(ctx: Any, slot: int, now_ns: int) -> None:
        if slot >= 0:
            ctx.events[0]["exchange_ns"] = ctx.events[0]["reason"] = 0
            for n in range(live_orders.tell(ctx.live, slot, int(ReportKind.REJECTED), ctx.events, 0, now_ns, ctx.told, 0)):
                venue_sending.tell_report(ctx, n)

    venue_execution.tell_unknown = rejected


def errors_are_rejections() -> None:
    """A 5xx, or a proxy's page, says that the order failed."""

    def rejected(book: Any, slot: int, events: Any, i: int, now_ns: int, reports: Any) -> int:
        return int(live_events._on_end(book, slot, int(ReportKind.REJECTED), events, i, now_ns, reports, 0))

    live_events._on_unknown = rejected


def errors_are_not_found() -> None:
    """A question that failed was answered: no such order; and that twice is proof."""
    from hft.venues.binance.account import BinanceAccount
    from hft.venues.binance.account_rows import event_of

    failed = BinanceAccount._on_failed

    def not_found(account: Any, query: Any) -> None:
        if query.what == "status":
            account._questions.discard(query.about.order_id)
            account.events.append(event_of(VenueEventKind.NOT_FOUND, query.about.order_id, query.about.row, CLOCK.now_ns))
        else:
            failed(account, query)

    BinanceAccount._on_failed = not_found  # type: ignore[method-assign]
    not_found_is_proof()


def not_found_is_proof() -> None:
    """One answer that there is no such order ends it, however young it is."""

    def ended(book: Any, slot: int, events: Any, i: int, now_ns: int, reports: Any) -> int:
        return int(live_orders.tell(book, slot, int(ReportKind.REJECTED), events, i, now_ns, reports, 0))

    live_events._on_not_found = ended


def unanswered_orders_are_sent_again() -> None:
    """What got no answer is sent once more, with the same id."""
    unknown = venue_execution.tell_unknown

    def again(ctx: Any, slot: int, now_ns: int) -> None:
        unknown(ctx, slot, now_ns)
        if slot >= 0:
            ctx.order[0] = ctx.live.sources[slot]
            ctx.order[0]["kind"] = int(IntentKind.NEW)
            venue_sending._send(ctx, slot, -1, now_ns)

    venue_execution.tell_unknown = again


def restarts_forget_live_orders() -> None:
    """What an earlier epoch left at the venue stays there."""
    venue_execution.cancel_stranger = lambda ctx, order_id, instrument, now_ns: None


def restarts_forget_fills() -> None:
    """After a restart fills that were booked before are new."""
    run.venue_past = lambda instance, venue, session, epoch: VenuePast(True, [])


def fills_are_booked_as_often_as_they_come() -> None:
    """Trade ids are not looked at."""
    live_events.is_new = lambda seen, instrument, trade_id: True
    apply = orders._apply_trade

    def forgetful(table: Any, slot: int, reports: Any, i: int) -> int:
        table.trades[slot, 0] = 0
        return int(apply(table, slot, reports, i))

    orders._apply_trade = forgetful


def fills_count_from_the_beginning() -> None:
    """A fill is booked with what was filled in all."""
    trade = live_events._on_trade

    def cumulative(book: Any, slot: int, events: Any, i: int, now_ns: int, reports: Any) -> int:
        events[i]["last_lots"] = max(events[i]["last_lots"], events[i]["cum_lots"])
        return int(trade(book, slot, events, i, now_ns, reports))

    live_events._on_trade = cumulative


def silence_is_not_noticed() -> None:
    """A connection that is there is taken for one that tells."""
    markets._silence_ns = lambda order: 2**62


def kills_are_not_obeyed() -> None:
    """Neither strategy, risk nor execution looks at the kill words."""
    strategy.is_halted = venue_sending.is_halted = lambda common, venue, strategy: False
    risk_stage._copy_halts = lambda ctx: None
    ws_line.direct_flush = lambda wire, kills, firm, venue: direct_flush(wire, kills * 0, firm, venue)


def positions_are_not_limited() -> None:
    """R040 and R041 are not checked."""
    risk._check_exposure = lambda state, intents, i: RiskCode.OK


def strangers_are_not_asked_about() -> None:
    """A connection is good for orders before the venue has told what it holds."""
    venue_stage.VenueStage._settle = lambda stage, snapshot, now_ns: None  # type: ignore[method-assign]


#: name -> what puts the bug back
MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant
    for mutant in (
        timeouts_are_rejections,
        errors_are_rejections,
        errors_are_not_found,
        not_found_is_proof,
        unanswered_orders_are_sent_again,
        restarts_forget_live_orders,
        restarts_forget_fills,
        fills_are_booked_as_often_as_they_come,
        fills_count_from_the_beginning,
        silence_is_not_noticed,
        kills_are_not_obeyed,
        positions_are_not_limited,
        strangers_are_not_asked_about,
    )
}


def first_broken(first: int, seeds: int, venues: tuple[str, ...]) -> dict[str, Any] | None:
    """The first seed that breaks an invariant."""
    for seed in range(first, first + seeds):
        outcome = simulate(seed, venues)
        if outcome.violation:
            return {"seed": seed, "after": seed - first + 1, "violation": outcome.violation}
    return None


def main() -> None:
    name, first, seeds, *venues = sys.argv[1:]
    assert not JIT_ENABLED, "mutants are of plain Python functions: set NUMBA_DISABLE_JIT=1"
    if name != "none":
        MUTANTS[name]()
    CLOCK.install()
    print(json.dumps(first_broken(int(first), int(seeds), tuple(venues))))


if __name__ == "__main__":
    main()
