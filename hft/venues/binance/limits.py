"""Binance limits: what the venue lets us send, as kernels over one int64 table.

Windows are of the wall clock: they begin anew at each whole 10 s, minute, 5 minutes and day. REQUEST_WEIGHT and RAW_REQUESTS are
counted by address, all connections together; ORDERS by account: each accepted order adds one, and its first fill takes one back.
A reply tells the venue's own count; what was sent and not answered yet is added to it. A ban is kept to the millisecond.

New orders leave the last part of the weight to cancels, to the guardian and to queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind
from hft.units import as_int
from shm.jit import njit

_SECOND_NS = 1_000_000_000

#: Whose part of the address's weight is how large, in percent.
FEED_SHARE, EXECUTION_SHARE, GUARDIAN_SHARE = 30, 40, 30

#: Percent of all weight, and of raw requests, that new orders may bring the count to; cancels may use all of it.
NEW_ORDERS_TO = FEED_SHARE + EXECUTION_SHARE - 10

WEIGHT, RAW, ORDERS_10S, ORDERS_DAY = range(4)
#: The row of `limits` that holds words.
WORDS = 4

# Columns of a window's row.
WINDOW_NS = 0
LIMIT = 1
COUNT = 2  #: used in the window
START_NS = 3  #: UTC when the window began
UNANSWERED = 4  #: of COUNT, what was sent and not answered yet
COLUMNS = 5

# Columns of the words' row.
BANNED_UNTIL_NS = 0  #: UTC before which nothing may be sent
UTC_OFFSET_NS = 1  #: UTC minus CLOCK_MONOTONIC, as last heard

_CANCEL, _CANCEL_ALL = int(IntentKind.CANCEL), int(IntentKind.CANCEL_ALL)


class Limit(NamedTuple):
    """A limit as `exchangeInfo` tells it."""

    kind: str  #: REQUEST_WEIGHT, RAW_REQUESTS, ORDERS
    interval_s: int
    limit: int


class Weight(IntEnum):
    """What queries cost; requests about orders cost 1 at most."""

    ORDER_STATUS = 4
    OPEN_ORDERS = 6  #: of one symbol
    OPEN_ORDERS_ALL = 80
    TRADES = 20
    TRADES_OF_ORDER = 5
    ACCOUNT = 20
    EXCHANGE_INFO = 20
    LOGON = 2
    SUBSCRIBE = 2
    CONNECT = 2
    TIME = 1
    AMEND = 4


#: Each limit unless `exchangeInfo` says otherwise.
DEFAULT_LIMITS = (
    Limit("REQUEST_WEIGHT", 60, 6000),
    Limit("RAW_REQUESTS", 300, 300_000),
    Limit("ORDERS", 10, 50),
    Limit("ORDERS", 86_400, 160_000),
)


def depth_weight(levels: int) -> int:
    """What a snapshot of so many levels costs."""
    return 5 if levels <= 100 else 25 if levels <= 500 else 50 if levels <= 1000 else 250


def new_limits(told: Sequence[Limit] = ()) -> NDArray[np.int64]:
    """int64 [4 windows and the words, COLUMNS], with the limits of `told`, such as `rules.parse_limits` gives."""
    limits = np.zeros((WORDS + 1, COLUMNS), np.int64)
    for limit in (*DEFAULT_LIMITS, *told):
        row = _row_of(limit)
        if row >= 0:
            limits[row, WINDOW_NS], limits[row, LIMIT] = limit.interval_s * _SECOND_NS, limit.limit
    return limits


def _row_of(limit: Limit) -> int:
    if limit.kind == "ORDERS":
        return ORDERS_10S if limit.interval_s == 10 else ORDERS_DAY if limit.interval_s == 86_400 else -1
    return {"REQUEST_WEIGHT": WEIGHT, "RAW_REQUESTS": RAW}.get(limit.kind, -1)


@njit
def _roll(limits: NDArray[Any], row: int, utc_ns: int) -> None:
    """Begin the window anew if its time has come; what is unanswered may still be counted by the venue."""
    window = limits[row]
    start_ns = utc_ns - utc_ns % window[WINDOW_NS]
    if start_ns > window[START_NS]:
        window[START_NS] = start_ns
        window[COUNT] = 0
        window[UNANSWERED] = 0


@njit
def _wait_for(limits: NDArray[Any], row: int, adds: int, percent: int, utc_ns: int) -> int:
    """How long until `adds` more fit below `percent` of the limit; 0 if they do."""
    _roll(limits, row, utc_ns)
    window = limits[row]
    if (window[COUNT] + adds) * 100 <= window[LIMIT] * percent:
        return 0
    return window[START_NS] + window[WINDOW_NS] - utc_ns


@njit
def wait_ns(limits: NDArray[Any], kind: int, utc_ns: int) -> int:
    """How long a request of IntentKind `kind` must wait; 0: it may leave."""
    if utc_ns < limits[WORDS, BANNED_UNTIL_NS]:
        return limits[WORDS, BANNED_UNTIL_NS] - utc_ns
    cancels = kind == _CANCEL or kind == _CANCEL_ALL
    percent = 100 if cancels else NEW_ORDERS_TO
    wait = max(as_int(_wait_for(limits, WEIGHT, 1, percent, utc_ns)), as_int(_wait_for(limits, RAW, 1, percent, utc_ns)))
    if not cancels:
        wait = max(wait, as_int(_wait_for(limits, ORDERS_10S, 1, 100, utc_ns)))
        wait = max(wait, as_int(_wait_for(limits, ORDERS_DAY, 1, 100, utc_ns)))
    return wait


@njit
def note_request(limits: NDArray[Any], kind: int, now_ns: int, utc_ns: int) -> None:
    """A request of IntentKind `kind` leaves now."""
    limits[WORDS, UTC_OFFSET_NS] = utc_ns - now_ns
    cancels = kind == _CANCEL or kind == _CANCEL_ALL
    for row in range(WORDS):
        if row < ORDERS_10S or not cancels:
            _roll(limits, row, utc_ns)
            limits[row, COUNT] += 1
            limits[row, UNANSWERED] += 1


@njit
def note_weight(limits: NDArray[Any], weight: int, utc_ns: int) -> None:
    """A query of this weight leaves now, or left on another connection of this address."""
    _roll(limits, WEIGHT, utc_ns)
    _roll(limits, RAW, utc_ns)
    limits[WEIGHT, COUNT] += weight
    limits[RAW, COUNT] += 1


@njit
def note_answer(limits: NDArray[Any], with_order: bool) -> None:
    """A request was answered; `with_order` if it was to place one."""
    for row in range(WORDS):
        if limits[row, UNANSWERED] > 0 and (row < ORDERS_10S or with_order):
            limits[row, UNANSWERED] -= 1


@njit
def learn(limits: NDArray[Any], row: int, limit: int, count: int, now_ns: int) -> None:
    """The venue told its own limit and count of a window, in an answer that came at `now_ns`."""
    _roll(limits, row, now_ns + limits[WORDS, UTC_OFFSET_NS])
    limits[row, LIMIT] = limit
    limits[row, COUNT] = count + limits[row, UNANSWERED]


@njit
def learn_ban(limits: NDArray[Any], until_utc_ns: int) -> None:
    """The venue answers nothing before this time."""
    limits[WORDS, BANNED_UNTIL_NS] = max(as_int(limits[WORDS, BANNED_UNTIL_NS]), until_utc_ns)


@njit
def note_first_fill(limits: NDArray[Any]) -> None:
    """An order filled for the first time. The venue gives back one, or more for a maker's; one is certain."""
    for row in range(ORDERS_10S, ORDERS_DAY + 1):
        if limits[row, COUNT] > limits[row, UNANSWERED]:
            limits[row, COUNT] -= 1
