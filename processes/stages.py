"""Stages: makes each role's kernel context from a config and its resources."""

from __future__ import annotations

from typing import Any

import numpy as np

from hft import control
from hft.adopted import adopt_order
from hft.book import new_books
from hft.bounds import prove_bounds
from hft.config import Config, ConfigError, PaperExecution, VenueExecution
from hft.counting import Counted, resume, resume_forgiven
from hft.funds import NO_ACCOUNT, NOT_SAID
from hft.journal_reader import JournalReader
from hft.limit_changes import new_changing
from hft.matching import new_matching
from hft.orders import Orders, new_orders
from hft.records import INTENT, ORDER, REPORT, JournalKind, Side
from hft.replay import RingJournal
from hft.risk import new_state, start_session
from hft.risk_state import SESSION_PNL_E8, RiskState, count_unknown
from hft.tables import Tables
from hft.topology import StageSpec
from processes import execution, portfolio, risk, strategy
from processes.adoption import LeftOrder, unpack_order
from processes.carried import PERIOD_NS, CarriedFile
from processes.common import HALT_CELL, TIMER_DUE, Common
from processes.errors import EngineError
from processes.feed_stage import FeedStage
from processes.recovery import empty_positions, pack_rows, unpack_rows
from processes.resources import Resources
from processes.stage import Stage
from shm.atomics import store_release
from shm.pinned import Pinned, pin
from shm.ring import head_sequence, publish_many, room, slot_at
from strategies import registry
from strategies.contract import ContractError, new_view, resolve_params

#: Levels that a consumer's book holds on each side; the feed's snapshot has fewer, updates add some.
LEVELS_MAX = 8192

#: Orders, working and recently ended, that a stage's table holds.
ORDER_SLOTS = 1024


class DecidingStage(Stage):
    """A stage that begins a session with positions."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        self.positions = empty_positions(tables)
        self.adopted: list[LeftOrder] = []  #: orders of earlier epochs that it begins with

    def restore(self, session: dict[str, Any]) -> None:
        """Begin with the positions and orders of a SESSION entry."""
        self.positions = unpack_rows(session["positions"])
        self.adopted = [unpack_order(packed) for packed in session.get("orders", ())]

    def session(self) -> dict[str, Any]:
        return {"positions": pack_rows(self.positions), "orders": [left.pack() for left in self.adopted]}

    def goes_on_with(self, left: LeftOrder) -> bool:
        """Whether this stage follows the order."""
        return True

    def enter_adopted(self, orders: Orders) -> None:
        """Put the adopted orders into an order table, at time 0: a replay has another clock."""
        for left in self.adopted:
            if adopt_order(orders, left.order, 0, left.cum_lots, 0) < 0:
                raise EngineError(f"stage {self.name}: no room for order {int(left.order[0]['order_id']):#x}, which is to be adopted")

    def rows_of(self, owner: int) -> Any:
        """A copy of the rows of the firm (-1) or a strategy."""
        count = len(self.tables.instruments)
        return self.positions[(1 + owner) * count : (2 + owner) * count].copy()


class StrategyStage(DecidingStage):
    """`strategy.<name>`."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        section = config.strategies[spec.subject]
        try:
            self.strategy = registry.load(section.code)
            self.params = resolve_params(self.strategy, section.params)
        except ContractError as error:
            raise ConfigError(f"strategies.{spec.subject}: {error}") from error
        self.callbacks = self.strategy.callbacks
        self._view: Pinned | None = None

    def pinned_parts(self) -> tuple[Any, ...]:
        return (self.context, self.callbacks)

    def goes_on_with(self, left: LeftOrder) -> bool:
        return bool(left.order[0]["strategy"] == self.tables.strategies.index(self.spec.subject))

    def make_context(self, common: Common, resources: Resources) -> strategy.Strategy:
        tables, spec = self.tables, self.spec
        row = tables.strategies.index(spec.subject)
        count = len(tables.instruments)
        view = new_view(
            books=new_books(count, LEVELS_MAX),
            valid=np.zeros(count, np.int64),
            orders=new_orders(ORDER_SLOTS, count),
            positions=self.rows_of(row),
            instruments=tables.instrument_rows,
            params=self.params,
            strategy=row,
            epoch=resources.epoch,
        )
        self.enter_adopted(view.orders)
        if self.adopted:
            # An epoch begins halted; that is no news by which to withdraw what was just adopted.
            common.halts[HALT_CELL] = 1
        self._view = pin(view)
        limits = tables.limit_rows.copy()
        common.words[TIMER_DUE] = 0
        reports = [ring for ring in spec.inputs if ring.kind == "reports"]
        markets = [ring for ring in spec.inputs if ring.kind in ("market", "tops")]
        return strategy.Strategy(
            common=common,
            reports=tuple(resources.consumer(ring) for ring in reports),
            markets=tuple(resources.consumer(ring) for ring in markets),
            rings=np.array([ring.number for ring in reports + markets], np.int64),
            intents=resources.producer(spec.outputs[0]),
            own=view,
            cell=self._view.cell,
            staged_bytes=view.intents.view(np.uint8),
            subject=np.flatnonzero(tables.allowed[row]).astype(np.int64),
            settings=np.array([row, self.config.strategies[spec.subject].timer_ms * 1_000_000], np.int64),
            limits=limits,
            changing=new_changing(limits, tables.firm.copy()),
            resting=np.zeros(count, np.int64),
        )


class RiskStage(DecidingStage):
    """`risk`."""

    def __init__(self, spec: StageSpec, config: Config, tables: Tables) -> None:
        super().__init__(spec, config, tables)
        self.counted: dict[str, Any] | None = None  #: what earlier epochs have counted
        self._carried: CarriedFile | None = None
        self._carry_due_ns = 0

    def restore(self, session: dict[str, Any]) -> None:
        super().restore(session)
        self.counted = session.get("counted")

    def session(self) -> dict[str, Any]:
        return super().session() | {"counted": self.counted}

    def cold(self, now_ns: int) -> int:
        done = super().cold(now_ns)
        if now_ns >= self._carry_due_ns:
            self._carry_due_ns = now_ns + PERIOD_NS
            self._carry()
        return done

    def _carry(self) -> None:
        """Have the epoch after this one know what is counted by now."""
        assert self._carried is not None
        sources = [ring.producer for ring in self.spec.inputs if ring.kind == "reports"]
        heads = {source: int(head_sequence(ring)) for source, ring in zip(sources, self.context.reports, strict=True)}
        state = self.context.state
        self._carried.write(_counted(state), state.stops, state.firm, heads)

    def on_close(self, reason: str) -> None:
        if self._carried is not None:
            self._carry()
        self._let_go()
        super().on_close(reason)

    def abandon(self) -> None:
        self._let_go()
        super().abandon()

    def _let_go(self) -> None:
        if self._carried is not None:
            self._carried.close()
            self._carried = None

    def make_context(self, common: Common, resources: Resources) -> risk.Risk:
        tables, spec = self.tables, self.spec
        # Copies: others of this process read the config's.
        limits, firm = tables.limit_rows.copy(), tables.firm.copy()
        state = new_state(
            tables.instrument_rows,
            limits,
            firm,
            venues=len(tables.venues),
            strategies=len(tables.strategies),
            epoch=resources.epoch,
            slots=ORDER_SLOTS,
        )
        state.approved[:] = 1
        state.allowed[:] = tables.allowed
        state.positions[:] = self.rows_of(-1)
        state.stops.owned[:] = self.positions[len(tables.instruments) :]
        at_venue = [isinstance(self.config.execution[venue], VenueExecution) for venue in tables.venues]
        state.funds.known[:] = np.where(at_venue, NOT_SAID, NO_ACCOUNT)
        self.enter_adopted(state.orders)
        count_unknown(state)
        start_session(state)
        # Positions are of the whole session, which began flat: an epoch forgives no loss.
        state.totals[SESSION_PNL_E8] = 0
        if self.counted is not None:
            resume(_counted(state), firm, self.counted)
            resume_forgiven(state.stops, self.counted["forgiven"])
        assert self._journal is not None
        self._let_go()
        self._carried = CarriedFile(self._journal.folder, _counted(state), state.stops)
        self._carried.write(_counted(state), state.stops, firm, {})
        groups = [[ring for ring in spec.inputs if ring.kind == kind] for kind in ("reports", "tops", "intents")]
        reports, markets, intents = (tuple(resources.consumer(ring) for ring in group) for group in groups)
        order, report = np.zeros(1, ORDER), np.zeros(1, REPORT)
        return risk.Risk(
            common=common,
            reports=reports,
            markets=markets,
            intents=intents,
            rings=np.array([ring.number for group in groups for ring in group], np.int64),
            orders=tuple(resources.producer(ring) for ring in spec.outputs if ring.kind == "orders"),
            refusals=tuple(resources.producer(ring) for ring in spec.outputs if ring.kind == "reports"),
            state=state,
            order=order,
            order_bytes=order.view(np.uint8),
            report=report,
            report_bytes=report.view(np.uint8),
            pull=np.zeros(1, INTENT),
            changing=new_changing(limits, firm),
            balances_said=np.zeros(len(tables.venues), np.int64),
        )


def _counted(state: RiskState) -> Counted:
    return Counted(state.breakers, state.messages, state.filled)


class ReportingStage(DecidingStage):
    """A stage that publishes reports, and gives consumers that fell behind what they missed."""

    def cold(self, now_ns: int) -> int:
        done = super().cold(now_ns)
        if self.context.missed.any():
            done += sum(self._catch_up(int(k)) for k in np.flatnonzero(self.context.missed))
        return done

    def _catch_up(self, k: int) -> int:
        """Give consumer `k` what it missed, from the journal, as far as its ring has room; then it is no longer behind."""
        context = self.context
        ring, missed = context.reports[k], int(context.missed[k])
        count = min(int(room(ring)), missed)
        if count > 0:
            assert self._journal is not None
            journal = RingJournal(JournalReader(self._journal.folder, self.name, self._journal.epoch), JournalKind.REPORT, k)
            records = journal.records(journal.end - missed, journal.end - missed + count)
            for n in range(count):
                ring.slots[slot_at(ring, n)] = records[n]
            publish_many(ring, count)
            context.missed[k] -= count
        if context.missed[k] == 0:
            # SYNC behind: pairs with load_acquire in observe(). Whoever sees 0 finds every report on the ring.
            store_release(context.common.control, control.BEHIND_RING + int(context.rings[2 + k]), 0)
        return count


class ExecutionStage(ReportingStage):
    """`execution.<venue>` on paper: the venue is the matching kernel."""

    def make_context(self, common: Common, resources: Resources) -> execution.Execution:
        tables, spec = self.tables, self.spec
        section = self.config.execution[spec.subject]
        assert isinstance(section, PaperExecution)
        count = len(tables.instruments)
        market = next(ring for ring in spec.inputs if ring.kind == "market")
        orders = next(ring for ring in spec.inputs if ring.kind == "orders")
        order, report = np.zeros(1, ORDER), np.zeros(1, REPORT)
        matching = new_matching(
            tables.instrument_rows,
            section.orders_max,
            section.order_latency_us * 1000,
            section.ack_latency_us * 1000,
            trade_id_first=(resources.epoch << 32) | 1,
        )
        return execution.Execution(
            common=common,
            market=resources.consumer(market),
            orders=resources.consumer(orders),
            reports=tuple(resources.producer(ring) for ring in spec.outputs),
            rings=np.array([ring.number for ring in (market, orders, *spec.outputs)], np.int64),
            missed=np.zeros(len(spec.outputs), np.int64),
            books=new_books(count, LEVELS_MAX),
            matching=matching,
            firm=tables.firm,
            latency=resources.latency(),
            order=order,
            order_bytes=order.view(np.uint8),
            report=report,
            report_bytes=report.view(np.uint8),
            venue=np.array([tables.venues.index(spec.subject)], np.int64),
        )


class PortfolioStage(DecidingStage):
    """`portfolio`; over a switch of epoch it keeps its marks, and its positions are recovered: reports may be left on the old rings."""

    def make_context(self, common: Common, resources: Resources) -> portfolio.Portfolio:
        tables, spec = self.tables, self.spec
        if self.context is not None:
            for field in ("mark_ticks_x2", "mark_received_ns", "unrealised_e8"):
                self.positions[field] = self.context.positions[field]
        reports = [ring for ring in spec.inputs if ring.kind == "reports"]
        markets = [ring for ring in spec.inputs if ring.kind in ("market", "tops")]
        table = new_orders(ORDER_SLOTS, len(tables.instruments))
        self._count_adopted(table)
        return portfolio.Portfolio(
            common=common,
            reports=tuple(resources.consumer(ring) for ring in reports),
            markets=tuple(resources.consumer(ring) for ring in markets),
            rings=np.array([ring.number for ring in reports + markets], np.int64),
            instruments=tables.instrument_rows,
            positions=self.positions,
            orders=table,
            order=np.zeros(1, ORDER),
            cells=resources.cells(),
        )

    def _count_adopted(self, table: Orders) -> None:
        self.enter_adopted(table)
        count = len(self.tables.instruments)
        for left in self.adopted:
            order = left.order[0]
            field = "working_buy_lots" if order["side"] == Side.BUY else "working_sell_lots"
            for owner in (0, 1 + int(order["strategy"])):
                self.positions[owner * count + int(order["instrument"])][field] += int(order["qty_lots"]) - left.cum_lots


_BY_ROLE: dict[str, type[Stage]] = {
    "feed": FeedStage,
    "strategy": StrategyStage,
    "risk": RiskStage,
    "execution": ExecutionStage,
    "portfolio": PortfolioStage,
}


def make_stage(spec: StageSpec, config: Config, tables: Tables) -> Stage:
    """The stage of a topology row, not yet attached. Raises what an impossible config raises."""
    prove_bounds(tables.instrument_rows, tables.limit_rows, tables.firm)
    if spec.role == "execution" and isinstance(config.execution[spec.subject], VenueExecution):
        from processes.venue_stage import VenueStage  # It needs this module.

        return VenueStage(spec, config, tables)
    return _BY_ROLE[spec.role](spec, config, tables)
