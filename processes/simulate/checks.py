"""Checks: what must hold at every step of a simulation, and once everything is quiet; numbered as in the catalogue of invariants.

S1   no two orders at a venue for one intent, and none that differs from what was decided
S2   the ledger, the journals and the venue say the same of the account
S4   no order works at a venue that the engine does not know
S5   no order ends here that lives, or is filled, at the venue
S6   each fill is journaled exactly once
S7   position and working orders at the venue are within the limit, whatever the engine believes
S9   after a kill not one byte of a new order leaves
S10  journals are whole, and every order that left was journaled before
S11  no book is valid and crossed, or older than silence may last
L1, L2, L3 are of the phase after the faults: trading resumes, nothing stays unknown, nothing stays halted.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import islice
from typing import Any

from hft import control
from hft.book import best_ticks, book_at
from hft.counters import ExecutionCounter
from hft.journal_reader import JournalReader
from hft.live_orders import UNKNOWN_COUNT, WINDOW_NS, slot_now
from hft.orders import find, is_working
from hft.records import IntentKind, JournalKind, OrderState, Side
from hft.sim.exchange.records import Account, Order
from hft.tables import Tables
from hft.venues.book_feed import EVENT_NS
from hft.venues.coinbase.account_rows import order_id_of
from processes.common import FIRM_CELL
from processes.recovery import fills_of, recover_positions
from processes.simulate.engine import SimulatedEngine
from processes.simulate.network import Place
from processes.simulate.scenario import SILENCE_MS
from processes.simulate.server_end import Frame, Request
from processes.simulated_keys import CUSTOMERS
from processes.venue_sending import READY
from processes.venue_stage import installation

_FILLED = int(OrderState.FILLED)
#: A book is not used longer than this after its newest event: what the config says of silence, and what it takes to notice.
_OLD_NS = (SILENCE_MS + 300) * 1_000_000
_NEW_ORDERS = (b'"method":"order.place"', b'"method":"order.cancelReplace"', b'"method":"add_order"', b'"method":"amend_order"')


class Violation(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant, self.what = invariant, what


def order_id(client_id: str) -> int:
    """Our id in a client id at any venue; 0 if it is none."""
    if "-" in client_id:
        return order_id_of(installation(), client_id)
    try:
        return int(client_id, 16) if len(client_id) == 16 else 0
    except ValueError:
        return 0


def is_new_order(message: Request | Frame) -> bool:
    """Whether a message asks for a new order, or for one to be changed."""
    if isinstance(message, Request):
        return message.method == "POST" and message.target.startswith("/orders")
    return any(mark in message.payload for mark in _NEW_ORDERS)


class _Book:
    """One account, followed."""

    def __init__(self, place: Place, tables: Tables) -> None:
        self.place = place
        self.account: Account = place.venue.exchange.accounts[CUSTOMERS[place.name]]
        self.row = tables.rows_of_venue(place.name)[0]
        rows = tables.instrument_rows[self.row]
        self.lot = Decimal(int(rows["lot_units"])).scaleb(-int(rows["qty_decimals"]))
        self.tick = Decimal(int(rows["tick_units"])).scaleb(-int(rows["price_decimals"]))
        self.limit = int(tables.limit_rows[self.row]["position_max_lots"]) * self.lot
        self.orders = self.fills = 0  #: how many of them were looked at
        self.placed: dict[int, int] = {}  #: our order id -> the venue's
        self.position = Decimal(0)
        self.acked = 0
        self.answers = 0, 0  #: epoch, and since when its account is logged on without a break


class Checks:
    """The invariants of one simulation."""

    def __init__(self, engine: SimulatedEngine, places: list[Place], tables: Tables) -> None:
        self.engine, self.tables = engine, tables
        self.books = [_Book(place, tables) for place in places]
        self.steps = 0

    def sent(self, place: Place, message: Request | Frame) -> None:
        """A message leaves the engine."""
        if not is_new_order(message):
            return
        words = self.engine.words
        if words[control.KILL_FIRM] and self.engine.stage(f"execution.{place.name}").context.common.halts[FIRM_CELL]:
            raise Violation("S9", f"a new order left for {place.name} after the kill: {message!r:.200}")

    def step(self) -> None:
        """Check what holds always."""
        self.steps += 1
        for book in self.books:
            live = self.engine.stage(f"execution.{book.place.name}").context.live
            for order in islice(book.account.orders.values(), book.orders, None):
                self._placed(book, live, order)
            book.orders = len(book.account.orders)
            for fill in islice(book.account.fills, book.fills, None):
                book.position += fill.order.side * fill.qty_lots * fill.order.instrument.lot
                if fill.fee_asset == fill.order.instrument.base:
                    book.position -= Decimal(fill.fee_e8).scaleb(-8)
                self._lives(live, fill.order, "was filled")
            book.fills = len(book.account.fills)
            worst = {Side.BUY: book.position, Side.SELL: -book.position}
            for order in book.account.open.values():
                worst[Side(order.side)] += order.leaves_lots * order.instrument.lot
                self._lives(live, order, "works")
            if max(worst.values()) > book.limit:
                raise Violation("S7", f"{book.place.name}: exposure {max(worst.values())}, limit {book.limit}")
        self._books()

    def _placed(self, book: _Book, live: Any, order: Order) -> None:
        """A new order is at the venue."""
        identity = order_id(order.client_id)
        if not identity:
            return
        if identity in book.placed:
            raise Violation("S1", f"{book.place.name}: two orders {identity:#x}")
        book.placed[identity] = order.order_id
        slot = int(find(live.orders, identity))
        if slot >= 0:
            source = live.sources[slot]
            decided = int(source["side"]), int(source["qty_lots"]) * book.lot, int(source["price_ticks"]) * book.tick
            found = order.side, order.qty_lots * order.instrument.lot, order.price_ticks * order.instrument.tick
            if decided != found and not (live.sources["ref_order_id"] == identity).any():  # It may have been changed since.
                raise Violation("S1", f"{book.place.name}: order {identity:#x} was decided as {decided}, the venue has {found}")

    def _lives(self, live: Any, order: Order, what: str) -> None:
        """The venue says that an order lives: it must not have ended here."""
        identity = order_id(order.client_id)
        slot = int(slot_now(live, identity)) if identity else -1
        if slot < 0:
            return
        state = int(live.orders.rows[slot]["state"])
        if not is_working(state) and not (state == _FILLED and order.cum_lots == order.qty_lots):
            raise Violation("S5", f"order {identity:#x} {what} at the venue, and is {OrderState(state).name} here")

    def _books(self) -> None:
        now_ns, engine = self.engine.clock.now_ns, self.engine
        undisturbed = not engine.restarting and all(now_ns - process.stopped_until_ns > _OLD_NS for process in engine.processes.values())
        for stage in self._stages("strategy"):
            view = stage.context.own
            for book in self.books:
                if not view.valid[book.row]:
                    continue
                levels, name = book_at(view.books, book.row), self.tables.instruments[book.row]
                bid, ask = int(best_ticks(levels, int(Side.BUY))), int(best_ticks(levels, int(Side.SELL)))
                if bid and ask and bid >= ask:
                    raise Violation("S11", f"{name}: valid with {bid} bid and {ask} asked")
                age_ns = now_ns - int(engine.stage(f"feed.{book.place.name}").context.book.state[book.row, EVENT_NS])
                # Elsewhere heartbeats say of a silent book that it is whole.
                if undisturbed and age_ns > _OLD_NS and book.place.name == "binance":
                    raise Violation("S11", f"{name}: valid, and its newest event is {age_ns} ns old")

    def _stages(self, role: str) -> list[Any]:
        return [stage for stage in self.engine.stages if stage.spec.role == role]

    def orphans(self) -> list[str]:
        """Orders at venues that the engine does not know."""
        found = []
        for book in self.books:
            live = self.engine.stage(f"execution.{book.place.name}").context.live
            for order in book.account.open.values():
                identity = order_id(order.client_id)
                if identity and int(slot_now(live, identity)) < 0:
                    found.append(f"{book.place.name} {identity:#x}")
        return found

    def not_ready(self) -> list[str]:
        """Venues at which orders may not leave."""
        return [book.place.name for book in self.books if not self._execution(book).words[READY]]

    def unknown(self) -> list[str]:
        """Venues that owe the fate of an order."""
        return [book.place.name for book in self.books if self._execution(book).live.words[UNKNOWN_COUNT]]

    def resolved(self, healed_ns: int, within_ns: int) -> None:
        """Check that no order stays unknown for longer than `within_ns` once its venue answers and it can no longer arrive."""
        now_ns = self.engine.clock.now_ns
        for book in self.books:
            stage = self.engine.stage(f"execution.{book.place.name}")
            account, live = stage.desk.account, stage.context.live
            if not account.ready or self.engine.epoch != book.answers[0]:
                book.answers = self.engine.epoch, now_ns
            for row in live.orders.rows[live.orders.rows["state"] == OrderState.UNKNOWN]:
                since_ns = max(healed_ns, book.answers[1], int(row["changed_ns"]), int(row["sent_ns"]) + int(live.words[WINDOW_NS]))
                if now_ns - since_ns > within_ns:
                    raise Violation(
                        "L2", f"{book.place.name}: {row['order_id']:#x} is unknown {(now_ns - since_ns) / 1e9:.2f} s after it could arrive"
                    )

    def working(self) -> list[str]:
        """Venues with orders that work, here or there."""
        found = []
        for book in self.books:
            orders = self._execution(book).live.orders
            if book.account.open or int(orders.counts.sum()):
                states = [OrderState(int(row["state"])).name for row in orders.rows if row["order_id"] and is_working(row["state"])]
                found.append(f"{book.place.name}: {len(book.account.open)} there, here {', '.join(states) or 'none'}")
        return found

    def acked(self) -> dict[str, int]:
        """Orders that each venue has acknowledged in this epoch."""
        return {book.place.name: int(self._execution(book).common.counters[ExecutionCounter.ACKED]) for book in self.books}

    def _execution(self, book: _Book) -> Any:
        return self.engine.stage(f"execution.{book.place.name}").context

    def at_rest(self) -> None:
        """Check what holds once nothing works and nothing is on its way."""
        if found := self.orphans():
            raise Violation("S4", f"nobody knows {', '.join(found)}")
        engine, tables = self.engine, self.tables
        for book in self.books:
            self._compare_fills(book)
        positions = recover_positions(engine.instance, tables, engine.session, engine.epoch + 1)
        count = len(tables.instruments)
        risk = engine.stage("risk").context.state.positions["position_lots"]
        if (risk != positions[:count]["position_lots"]).any():
            raise Violation("S2", f"risk has {risk.tolist()}, fills say {positions[:count]['position_lots'].tolist()}")
        portfolio = engine.stage("portfolio").context.positions["position_lots"]
        if (portfolio != positions["position_lots"]).any():
            raise Violation("S2", f"the portfolio has {portfolio.tolist()}, fills say {positions['position_lots'].tolist()}")
        for k, stage in enumerate(self._stages("strategy")):
            own, said = stage.context.own.positions["position_lots"], positions[(1 + k) * count : (2 + k) * count]["position_lots"]
            if (own != said).any():
                raise Violation("S2", f"{stage.name} has {own.tolist()}, fills say {said.tolist()}")

    def _compare_fills(self, book: _Book) -> None:
        here: Counter[tuple[int, Decimal, Decimal]] = Counter()
        trade_ids: Counter[int] = Counter()
        for epoch in range(self.engine.session, self.engine.epoch + 1):
            for (report,) in fills_of(self.engine.instance, book.place.name, epoch):
                trade_ids[int(report["trade_id"])] += 1
                here[int(report["side"]), int(report["last_lots"]) * book.lot, int(report["last_price_ticks"]) * book.tick] += 1
        if twice := [trade for trade, times in trade_ids.items() if times > 1]:
            raise Violation("S6", f"{book.place.name}: trades {twice} are journaled more than once")
        there = Counter(
            (fill.order.side, fill.qty_lots * fill.order.instrument.lot, fill.price_ticks * fill.order.instrument.tick)
            for fill in book.account.fills
        )
        if here != there:
            missing, more = list((there - here).elements()), list((here - there).elements())
            raise Violation("S2", f"{book.place.name}: the venue filled {missing}, which is not journaled; journaled beside that {more}")

    def journals(self) -> int:
        """Check every journal of every epoch, after the end; how many entries there are."""
        count = 0
        for epoch in range(self.engine.session, self.engine.epoch + 1):
            sent: set[int] = set()
            for stage in self.engine.stages:
                reader = JournalReader(self.engine.instance.journal_folder(epoch), stage.name, epoch)
                for entry in reader.entries():
                    count += 1
                    if entry.kind == JournalKind.SENDING:
                        orders = entry.records()
                        sent.update(int(order["order_id"]) for order in orders if order["kind"] in (IntentKind.NEW, IntentKind.REPLACE))
            for book in self.books:
                placed = {identity for identity in book.placed if identity >> 40 == epoch}
                if lost := placed - sent:
                    raise Violation("S10", f"{book.place.name} has orders that were not journaled before: {[hex(each) for each in lost]}")
        return count
