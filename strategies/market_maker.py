"""Market maker: quotes one bid and one ask around the microprice, shifted against its inventory, wider when it is wild.

    fair        microprice: the mid, weighted towards the thinner side
    half        max(half_spread_min, volatility_factor x volatility over the horizon)
    centre      fair - skew x half x inventory / inventory_max
    bid, ask    floor(centre - half), ceil(centre + half), and never at or through the other side's best

Both orders only rest. A quote moves by one REPLACE, when its target has moved by more than the threshold or the inventory has
changed, at most once an interval, and not while anything about its side is unanswered. A refusal of any kind makes the
instrument quiet for a while that doubles with each refusal in a row. At the inventory limit the growing side is withdrawn.
On an invalid book or a halt everything is withdrawn, and quoting resumes after the warm-up; on a silent book until its next event.
"""

from __future__ import annotations

import math
from typing import Any

from hft.book import best_ticks, book_at
from hft.orders import find, is_working, member
from hft.records import OrderState, ReportKind, Side
from hft.signals import forget_mid, microprice_ticks, mid_x2_ticks, update_volatility, volatility
from shm.jit import njit
from strategies.contract import Param, View, callback, cancel, cancel_all, nothing, quote, replace, view_of

PARAMS = (
    Param("size_quote", 100, 1e-6, 1e9, "quote", "Value of each quote."),
    Param("inventory_max_quote", 500, 1e-6, 1e9, "quote", "Value of the inventory at which the growing side is withdrawn."),
    Param("half_spread_min_bp", 0.5, 0, 1e4, "bp", "Least distance of a quote from the centre."),
    Param("volatility_factor", 0.5, 0, 100, "", "How many standard deviations over the horizon a quote keeps from the centre."),
    Param("horizon_s", 1, 1e-3, 3600, "s", "How long a quote is expected to stand."),
    Param("volatility_half_life_s", 20, 1e-2, 86400, "s", "After how long a move counts for half in the volatility."),
    Param("skew", 1, 0, 10, "", "How many half-spreads the centre shifts at full inventory."),
    Param("requote_bp", 0.1, 0, 1e4, "bp", "A quote moves when its target has moved by more than this."),
    Param("interval_ms", 100, 0, 6e4, "ms", "Least time between two quotes of one side."),
    Param("duplicate_ms", 250, 0, 6e4, "ms", "Least time before the same quote of one side is sent again."),
    Param("backoff_ms", 250, 1, 6e4, "ms", "How long a first refusal quiets the instrument."),
    Param("warmup_ms", 1000, 0, 6e5, "ms", "How long a book must have been valid before it is quoted on."),
    Param("book_age_max_ms", 1000, 1, 6e5, "ms", "Quotes are withdrawn when the newest event of their book is older."),
)
(
    SIZE_QUOTE,
    INVENTORY_MAX_QUOTE,
    HALF_SPREAD_MIN_BP,
    VOLATILITY_FACTOR,
    HORIZON_S,
    VOLATILITY_HALF_LIFE_S,
    SKEW,
    REQUOTE_BP,
    INTERVAL_MS,
    DUPLICATE_MS,
    BACKOFF_MS,
    WARMUP_MS,
    BOOK_AGE_MAX_MS,
) = range(13)

# Cells of view.ints. Those of a side are two: + 0 for the bid, + 1 for the ask.
QUOTED_NS = 0  #: when the side was last quoted; 0 never
QUOTED_POSITION = 2  #: inventory that the quote was made for
ASKED_ID = 4  #: order whose end was asked for
ASKED_NS = 6
RECENT_NEXT = 8  #: oldest row of the side's recent quotes
QUIET_UNTIL_NS = 10
REFUSALS = 11  #: in a row
VALID_SINCE_NS = 12  #: first event of the valid book; 0 if none
EVENT_NS = 13  #: newest event
WITHDRAWN_NS = 14  #: when everything was withdrawn last
RECENT = 15  #: [side, RECENT_MAX, (ns, ticks, lots)]: the side's newest quotes

#: Quotes of a side that are remembered; more within the duplicate window are held back.
RECENT_MAX = 7

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_PENDING_NEW, _PENDING_CANCEL = int(OrderState.PENDING_NEW), int(OrderState.PENDING_CANCEL)
_UNKNOWN = int(OrderState.UNKNOWN)
_ACK, _TRADE, _REJECTED = int(ReportKind.ACK), int(ReportKind.TRADE), int(ReportKind.REJECTED)
_REFUSED, _NOT_SENT = int(ReportKind.REFUSED), int(ReportKind.NOT_SENT)

#: An unanswered cancel or replace, and a withdrawal while orders work, is asked again after this.
_PATIENCE_NS = 1_000_000_000

#: The quiet time doubles at most this often.
_DOUBLINGS_MAX = 6

_NS_PER_MS = 1_000_000
_NS_PER_S = 1e9


@njit
def withdraw(view: View, instrument: int, now_ns: int) -> int:
    """Ask for the end of all orders in the instrument."""
    view.ints[instrument, WITHDRAWN_NS] = now_ns
    if view.orders.counts[instrument] == 0:
        return 0
    cancel_all(view, instrument)
    return 1


@njit
def target_ticks(bid_ticks: int, ask_ticks: int, fair_ticks: float, half_ticks: float, skew: float, inventory: float) -> tuple[int, int]:
    """The (bid, ask) to quote; `inventory` is in [-1, 1] of its limit.

    bid < ask, and neither is at or through the other side's best.
    """
    centre_ticks = fair_ticks - skew * half_ticks * inventory
    bid = min(math.floor(centre_ticks - half_ticks), ask_ticks - 1)
    ask = max(math.ceil(centre_ticks + half_ticks), bid_ticks + 1)
    return bid, max(ask, bid + 1)


@njit
def requote(view: View, instrument: int, now_ns: int) -> int:
    """Stage what brings both quotes to their targets; return how many intents."""
    book = book_at(view.books, instrument)
    bid_ticks, ask_ticks = best_ticks(book, _BUY), best_ticks(book, _SELL)
    since_ns = view.ints[instrument, VALID_SINCE_NS]
    if view.valid[instrument] == 0 or since_ns == 0 or bid_ticks == 0 or ask_ticks == 0:
        return 0
    params = view.params
    if now_ns - since_ns < int(params[WARMUP_MS] * _NS_PER_MS):
        return 0
    fair_ticks = microprice_ticks(book)
    deviation = volatility(view.floats, instrument) * math.sqrt(params[HORIZON_S])
    half_ticks = fair_ticks * max(params[HALF_SPREAD_MIN_BP] * 1e-4, params[VOLATILITY_FACTOR] * deviation)
    lots, lots_max = _sizes(view, instrument, fair_ticks)
    position_lots = view.positions[instrument]["position_lots"]
    inventory = min(1.0, max(-1.0, position_lots / lots_max)) if lots_max > 0 else 0.0
    bid, ask = target_ticks(bid_ticks, ask_ticks, fair_ticks, half_ticks, params[SKEW], inventory)
    bid_lots = _side_lots(view, instrument, bid, lots, lots_max - position_lots)
    ask_lots = _side_lots(view, instrument, ask, lots, lots_max + position_lots)
    staged = _work_side(view, instrument, _BUY, bid, bid_lots, now_ns)
    return staged + _work_side(view, instrument, _SELL, ask, ask_lots, now_ns)


@njit
def _sizes(view: View, instrument: int, fair_ticks: float) -> tuple[int, int]:
    """Lots of one quote and of the full inventory."""
    row = view.instruments[instrument]
    lot_quote = fair_ticks * row["ticklot_num"] / row["ticklot_den"] * 1e-8
    lots = math.floor(view.params[SIZE_QUOTE] / lot_quote)
    lots_max = math.floor(view.params[INVENTORY_MAX_QUOTE] / lot_quote)
    return min(lots, row["qty_lots_max"]), lots_max


@njit
def _side_lots(view: View, instrument: int, price_ticks: int, lots: int, room_lots: int) -> int:
    """What to quote at a price: `lots`, no less than the venue takes and no more than there is room for; else 0."""
    row = view.instruments[instrument]
    if price_ticks < row["price_ticks_min"] or price_ticks > row["price_ticks_max"]:
        return 0
    least_lots = math.ceil(row["notional_min_e8"] / (price_ticks * row["ticklot_num"] / row["ticklot_den"]))
    least_lots = max(least_lots, row["qty_lots_min"])
    lots = min(max(lots, least_lots), room_lots)
    return lots if lots >= least_lots else 0


@njit
def _is_open(view: View, order_id: int) -> bool:
    slot = find(view.orders, order_id)
    return slot >= 0 and bool(is_working(view.orders.rows[slot]["state"]))


@njit
def _scan(view: View, instrument: int, side: int) -> tuple[int, int, int, int]:
    """(working orders of the side, slot of the oldest, 1 if any is unanswered, best price of the other side's orders or 0)."""
    rows = view.orders.rows
    count, mine, unanswered, against_ticks = 0, -1, 0, 0
    for k in range(view.orders.counts[instrument]):
        slot = member(view.orders, instrument, k)
        state, price_ticks = rows[slot]["state"], rows[slot]["price_ticks"]
        if rows[slot]["side"] != side:
            if against_ticks == 0 or side * (against_ticks - price_ticks) > 0:
                against_ticks = price_ticks
            continue
        count += 1
        if mine < 0 or rows[slot]["order_id"] < rows[mine]["order_id"]:
            mine = slot
        if state == _PENDING_NEW or state == _PENDING_CANCEL or state == _UNKNOWN:
            unanswered = 1
    return count, mine, unanswered, against_ticks


@njit
def _work_side(view: View, instrument: int, side: int, price_ticks: int, lots: int, now_ns: int) -> int:
    """Stage at most one intent that brings a side to one quote of `lots` at `price_ticks`, or to none if `lots` is 0."""
    c = 0 if side == _BUY else 1
    count, slot, unanswered, against_ticks = _scan(view, instrument, side)
    if unanswered != 0 or _is_awaited(view, instrument, c, now_ns):
        return 0
    if count > 1 or (count == 1 and lots == 0):
        order_id = view.orders.rows[slot]["order_id"]
        _note_asked(view, instrument, c, order_id, now_ns)
        cancel(view, order_id, instrument)
        return 1
    if lots == 0 or _is_held(view, instrument, c, price_ticks, lots, now_ns):
        return 0
    if against_ticks != 0 and side * (price_ticks - against_ticks) >= 0:
        return 0
    if count == 1:
        moved_ticks = abs(price_ticks - view.orders.rows[slot]["price_ticks"])
        inventory_changed = view.ints[instrument, QUOTED_POSITION + c] != view.positions[instrument]["position_lots"]
        if moved_ticks == 0 or (not inventory_changed and moved_ticks <= price_ticks * view.params[REQUOTE_BP] * 1e-4):
            return 0
        order_id = view.orders.rows[slot]["order_id"]
        _note_asked(view, instrument, c, order_id, now_ns)
        replace(view, order_id, instrument, side, price_ticks, lots)
    else:
        quote(view, instrument, side, price_ticks, lots)
    _note_quoted(view, instrument, c, price_ticks, lots, now_ns)
    return 1


@njit
def _is_awaited(view: View, instrument: int, c: int, now_ns: int) -> bool:
    """Whether a cancel or replace of the side is still expected to be answered."""
    if now_ns - view.ints[instrument, ASKED_NS + c] >= _PATIENCE_NS:
        return False
    return _is_open(view, view.ints[instrument, ASKED_ID + c])


@njit
def _note_asked(view: View, instrument: int, c: int, order_id: int, now_ns: int) -> None:
    view.ints[instrument, ASKED_ID + c] = order_id
    view.ints[instrument, ASKED_NS + c] = now_ns


@njit
def _note_quoted(view: View, instrument: int, c: int, price_ticks: int, lots: int, now_ns: int) -> None:
    ints = view.ints
    ints[instrument, QUOTED_NS + c] = now_ns
    ints[instrument, QUOTED_POSITION + c] = view.positions[instrument]["position_lots"]
    cell = RECENT + 3 * (RECENT_MAX * c + ints[instrument, RECENT_NEXT + c])
    ints[instrument, cell] = now_ns
    ints[instrument, cell + 1] = price_ticks
    ints[instrument, cell + 2] = lots
    ints[instrument, RECENT_NEXT + c] = (ints[instrument, RECENT_NEXT + c] + 1) % RECENT_MAX


@njit
def _is_held(view: View, instrument: int, c: int, price_ticks: int, lots: int, now_ns: int) -> bool:
    """Whether it is too early to quote the side: quiet after a refusal, within the interval, or a recent quote again."""
    ints = view.ints
    interval_ns = int(view.params[INTERVAL_MS] * _NS_PER_MS)
    if now_ns < ints[instrument, QUIET_UNTIL_NS]:
        return True
    if ints[instrument, QUOTED_NS + c] != 0 and now_ns - ints[instrument, QUOTED_NS + c] < interval_ns:
        return True
    window_ns = int(view.params[DUPLICATE_MS] * _NS_PER_MS)
    for k in range(RECENT_MAX):
        cell = RECENT + 3 * (RECENT_MAX * c + k)
        if ints[instrument, cell] == 0 or now_ns - ints[instrument, cell] >= window_ns:
            continue
        # The oldest row is about to be overwritten: within the window, no more can be told apart.
        if k == ints[instrument, RECENT_NEXT + c] or (ints[instrument, cell + 1] == price_ticks and ints[instrument, cell + 2] == lots):
            return True
    return False


@callback
def on_book(cell: Any, instrument: int, now_ns: int) -> int:
    """Learn from the new best prices, then bring the quotes to their targets."""
    view = view_of(cell)
    mid_x2 = mid_x2_ticks(book_at(view.books, instrument))
    if view.valid[instrument] == 0 or mid_x2 == 0:
        return 0
    if view.ints[instrument, VALID_SINCE_NS] == 0:
        view.ints[instrument, VALID_SINCE_NS] = now_ns
    view.ints[instrument, EVENT_NS] = now_ns
    update_volatility(view.floats, instrument, mid_x2, now_ns, view.params[VOLATILITY_HALF_LIFE_S] * _NS_PER_S)
    return requote(view, instrument, now_ns)


# What a trade changes shows in the book.
on_trade = nothing


@callback
def on_report(cell: Any, instrument: int, now_ns: int) -> int:
    """Back off from refusals; requote at once when the inventory changed."""
    view = view_of(cell)
    ints, kind = view.ints, view.report[0]["kind"]
    if kind == _REJECTED or kind == _REFUSED or kind == _NOT_SENT:
        quiet_ms = int(view.params[BACKOFF_MS]) << min(ints[instrument, REFUSALS], _DOUBLINGS_MAX)
        ints[instrument, QUIET_UNTIL_NS] = now_ns + quiet_ms * _NS_PER_MS
        ints[instrument, REFUSALS] += 1
    elif kind == _ACK:
        ints[instrument, REFUSALS] = 0
    if kind != _ACK and kind != _TRADE:
        # What was asked of this side is answered; a refused cancel names no side.
        side = view.report[0]["side"]
        if side != _SELL:
            ints[instrument, ASKED_ID] = 0
        if side != _BUY:
            ints[instrument, ASKED_ID + 1] = 0
    replaced = view.report[0]["ref_order_id"]
    if kind == _REFUSED and view.report[0]["side"] != 0 and _is_open(view, replaced):
        # What may not be moved may not stay where it is.
        cancel(view, replaced, instrument)
        return 1
    return requote(view, instrument, now_ns) if kind == _TRADE else 0


@callback
def on_timer(cell: Any, instrument: int, now_ns: int) -> int:
    """Bring the quotes to their targets when what held them back has passed; withdraw them when the book is of no use.

    A venue that says nothing of a book leaves it valid where that can be its way. And a withdrawal can be lost: the order entry may have
    been down.
    """
    view = view_of(cell)
    if view.valid[instrument] != 0 and now_ns - view.ints[instrument, EVENT_NS] <= int(view.params[BOOK_AGE_MAX_MS] * _NS_PER_MS):
        return requote(view, instrument, now_ns)
    if now_ns - view.ints[instrument, WITHDRAWN_NS] < _PATIENCE_NS:
        return 0
    return withdraw(view, instrument, now_ns)


@callback
def on_disconnect(cell: Any, instrument: int, now_ns: int) -> int:
    """Withdraw everything; the book starts over."""
    view = view_of(cell)
    view.ints[instrument, VALID_SINCE_NS] = 0
    forget_mid(view.floats, instrument)
    return withdraw(view, instrument, now_ns)


@callback
def on_halt(cell: Any, instrument: int, now_ns: int) -> int:
    """Withdraw everything; what is tried before the halt ends is refused, and backs off."""
    view = view_of(cell)
    view.ints[instrument, VALID_SINCE_NS] = 0
    return withdraw(view, instrument, now_ns)
