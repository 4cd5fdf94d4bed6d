"""Recovery: rebuilds positions and open orders from the journals of a session's earlier epochs."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.adopted import adopt_order
from hft.config import Config, VenueExecution
from hft.holdings import Balances, from_text
from hft.journal_reader import Entry, JournalReader
from hft.ledger import apply_fill
from hft.orders import new_orders
from hft.records import ORDER, POSITION, REPORT, IntentKind, JournalKind, OrderState, ReportKind
from hft.tables import Tables
from processes.adoption import Folding, LeftOrder, unpack_order
from processes.errors import EngineError
from processes.instance import Instance
from processes.logs import log

#: (instrument row, trade id), by which a fill is booked once.
Trade = tuple[int, int]

#: Trades that a new epoch is told of; no venue's answer about fills goes back so far.
REMEMBERED = 4096


class VenuePast(NamedTuple):
    """What the execution at a venue knows of a session's earlier epochs."""

    begun: bool  #: whether the session has begun there: the venue has told what was traded before it
    trades: list[Trade]  #: the newest REMEMBERED trades, booked or of before the session, oldest first


_MAKES_ORDER = (IntentKind.NEW, IntentKind.REPLACE)
_ENDED = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


def empty_positions(tables: Tables) -> NDArray[Any]:
    """POSITION rows of an empty account: the firm's, then each strategy's, one an instrument."""
    count = len(tables.instruments)
    rows = np.zeros((1 + len(tables.strategies)) * count, POSITION)
    rows["instrument"] = np.tile(np.arange(count), 1 + len(tables.strategies))
    rows["strategy"] = np.repeat(np.arange(-1, len(tables.strategies)), count)
    return rows


def recover_positions(instance: Instance, tables: Tables, session: int, epoch: int) -> NDArray[Any]:
    """Positions after every fill that the executions journaled in epochs [session, epoch).

    Each venue's are of its execution's journal alone, as the trades that need no booking are (`venue_past`): whatever a loss of power left of
    it, a fill is in both or in neither. Raises EngineError for a fill that cannot be booked.
    """
    rows, count = empty_positions(tables), len(tables.instruments)
    for venue in tables.venues:
        since, begun = _newest_beginning(instance, f"execution.{venue}", session, epoch)
        if begun:
            own = np.isin(rows["instrument"], tables.rows_of_venue(venue))
            rows[own] = unpack_rows(begun["positions"])[own]
        for earlier in _epochs(instance, since, epoch):
            for report in fills_of(instance, venue, earlier):
                instrument, strategy = int(report[0]["instrument"]), int(report[0]["strategy"])
                rows_of_fill = [instrument, (1 + strategy) * count + instrument]
                if not 0 <= strategy < len(tables.strategies):
                    # Of an order of another session, which had a strategy that this one lacks.
                    log("fill is of no strategy", stage=f"execution.{venue}", strategy=strategy, trade_id=int(report[0]["trade_id"]))
                    rows_of_fill.pop()
                for row in rows_of_fill:
                    if apply_fill(rows, row, tables.instrument_rows, report, 0) == 0:
                        raise EngineError(
                            f"{instance.journal_folder(earlier)}: execution.{venue}'s trade {int(report[0]['trade_id'])} cannot be booked: expected "
                            "a side, a price and a size, and sums in range; mend the account, then begin flat: hftctl start --new-session"
                        )
    return rows


def _epochs(instance: Instance, first: int, end: int) -> list[int]:
    """The epochs in [first, end) that have journals, oldest first."""
    return [epoch for epoch in instance.sessions() if first <= epoch < end]


def _newest_beginning(instance: Instance, stage: str, session: int, epoch: int) -> tuple[int, dict[str, Any]]:
    """The newest of the epochs [session, epoch) whose journal of `stage` says what it began with, and what; (session, {}) if none does.

    Whatever came before that is in it, so that a long session recovers as fast as a short one.
    """
    for earlier in reversed(_epochs(instance, session, epoch)):
        if not any(instance.journal_folder(earlier).glob(f"{stage}.*.journal")):
            continue
        for entry in JournalReader(instance.journal_folder(earlier), stage, earlier).poll()[:1]:
            if entry.kind == JournalKind.SESSION:
                return earlier, entry.json()
    return session, {}


def warm_recovery(tables: Tables) -> None:
    """Run every kernel that this calls."""
    order = np.zeros(1, ORDER)
    order["order_id"], order["side"], order["qty_lots"] = 1, 1, 1
    adopt_order(new_orders(4, 1), order, 0, 0, 0)
    report = np.zeros(1, REPORT)
    report["side"], report["last_lots"], report["last_price_ticks"] = 1, 1, 1
    apply_fill(empty_positions(tables), 0, tables.instrument_rows, report, 0)


def venue_past(instance: Instance, venue: str, session: int, epoch: int) -> VenuePast:
    """What the execution at a venue knew after epochs [session, epoch)."""
    since, said = _newest_beginning(instance, f"execution.{venue}", session, epoch)
    begun, trades = bool(said.get("begun")), [(row, trade_id) for row, trade_id in said.get("trades", ())]
    for earlier in _epochs(instance, since, epoch):
        for entry in _entries(instance, venue, earlier):
            if entry.kind == JournalKind.HISTORY:
                begun = True
                trades += [(row, trade_id) for row, trade_id in entry.json()]
            elif _is_fill(entry):
                fill = entry.records()[0]
                trades.append((int(fill["instrument"]), int(fill["trade_id"])))
    return VenuePast(begun, trades[-REMEMBERED:])


def known_balances(instance: Instance, venue: str, session: int, epoch: int) -> Balances | None:
    """What the account at a venue had when the session began, as epochs [session, epoch) were told last; None if they never were."""
    since, said = _newest_beginning(instance, f"execution.{venue}", session, epoch)
    began = said.get("balances")
    for earlier in _epochs(instance, since, epoch):
        for entry in _entries(instance, venue, earlier):
            if entry.kind == JournalKind.BALANCES:
                began = entry.json()
    return from_text(began)


def orders_left(instance: Instance, config: Config, session: int, epoch: int) -> list[LeftOrder]:
    """The orders that epochs [session, epoch) left at venues whose config has them adopted; oldest first at each."""
    left = []
    for venue, section in config.execution.items():
        if isinstance(section, VenueExecution) and section.open_orders_at_start == "adopt":
            since, said = _newest_beginning(instance, f"execution.{venue}", session, epoch)
            folding = Folding([unpack_order(packed) for packed in said.get("orders", ())])
            for earlier in _epochs(instance, since, epoch):
                for entry in _entries(instance, venue, earlier):
                    folding.take(entry)
            left += folding.left()
    return left


def fills_of(instance: Instance, venue: str, epoch: int) -> list[NDArray[Any]]:
    """The TRADE reports of one execution's journal, one-row arrays in order; none if it has no journal."""
    return [entry.records().copy() for entry in _entries(instance, venue, epoch) if _is_fill(entry)]


def _entries(instance: Instance, venue: str, epoch: int) -> Iterator[Entry]:
    """The journal of one execution; nothing if it has none."""
    folder, stage = instance.journal_folder(epoch), f"execution.{venue}"
    if any(folder.glob(f"{stage}.*.journal")):
        reader = JournalReader(folder, stage, epoch)
        yield from reader.entries()
        _note_tail(reader)


def _is_fill(entry: Entry) -> bool:
    return entry.kind == JournalKind.REPORT and bool(entry.records()[0]["kind"] == ReportKind.TRADE)


def open_orders(instance: Instance, tables: Tables, epoch: int) -> int:
    """How many orders the newest epoch before `epoch` left working. On paper the venue was a process, and they ended with it."""
    earlier = [session for session in instance.sessions() if session < epoch]
    if not earlier:
        return 0
    folder = instance.journal_folder(earlier[-1])
    open_ids: set[int] = set()
    for venue in tables.venues:
        stage = f"execution.{venue}"
        if not any(folder.glob(f"{stage}.*.journal")):
            continue
        reader = JournalReader(folder, stage, earlier[-1])
        for entry in reader.entries():
            if entry.kind == JournalKind.SENDING:
                open_ids.update(int(order["order_id"]) for order in entry.records() if order["kind"] in _MAKES_ORDER)
            elif entry.kind == JournalKind.REPORT:
                open_ids.difference_update(int(report["order_id"]) for report in entry.records() if report["state"] in _ENDED)
        _note_tail(reader)
    return len(open_ids)


def _note_tail(reader: JournalReader) -> None:
    """A torn tail was recovered: say where, and how much of it was not whole."""
    if reader.tail is not None and reader.tail.dropped_bytes:
        log("journal tail recovered", file=reader.tail.path.name, offset=reader.tail.offset, dropped_bytes=reader.tail.dropped_bytes)


def pack_rows(rows: NDArray[Any]) -> str:
    """Rows as text, for a SESSION entry."""
    return base64.b64encode(rows.tobytes()).decode()


def unpack_rows(text: str) -> NDArray[Any]:
    """The POSITION rows that `pack_rows` packed."""
    return np.frombuffer(base64.b64decode(text), POSITION).copy()
