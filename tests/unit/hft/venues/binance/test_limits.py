"""Limits: on both sides of each one, in windows of the wall clock."""

from __future__ import annotations

import numpy as np
import pytest

from hft.records import IntentKind
from hft.venues.binance.limits import (
    COUNT,
    EXECUTION_SHARE,
    FEED_SHARE,
    GUARDIAN_SHARE,
    LIMIT,
    NEW_ORDERS_TO,
    ORDERS_10S,
    ORDERS_DAY,
    RAW,
    UNANSWERED,
    WEIGHT,
    WORDS,
    Limit,
    depth_weight,
    learn,
    learn_ban,
    new_limits,
    note_answer,
    note_first_fill,
    note_request,
    note_weight,
    wait_ns,
)

S = 1_000_000_000
UTC = 1_700_000_000 * S - 1_700_000_000 * S % (86_400 * S) + 7 * S
NEW, CANCEL, REPLACE, CANCEL_ALL = (int(kind) for kind in IntentKind)


def limits(weight: int = 1000, orders: int = 5, day: int = 1000) -> np.ndarray:
    return new_limits([Limit("REQUEST_WEIGHT", 60, weight), Limit("ORDERS", 10, orders), Limit("ORDERS", 86_400, day), Limit("X", 1, 1)])


def test_slices_share_the_whole_weight() -> None:
    assert FEED_SHARE + EXECUTION_SHARE + GUARDIAN_SHARE == 100 and NEW_ORDERS_TO < FEED_SHARE + EXECUTION_SHARE


@pytest.mark.parametrize("kind", [NEW, REPLACE])
def test_orders_of_a_window_are_counted_and_the_next_window_begins_anew(kind: int) -> None:
    table = limits()
    for _ in range(5):
        assert wait_ns(table, kind, UTC) == 0
        note_request(table, kind, 0, UTC)
    assert wait_ns(table, kind, UTC) == 3 * S, "windows begin at whole tens of seconds"
    assert wait_ns(table, CANCEL, UTC) == 0 and wait_ns(table, CANCEL_ALL, UTC) == 0
    assert wait_ns(table, kind, UTC + 3 * S - 1) == 1
    assert wait_ns(table, kind, UTC + 3 * S) == 0
    assert (table[ORDERS_10S, COUNT], table[ORDERS_DAY, COUNT]) == (0, 5)


def test_day_is_a_window_of_its_own() -> None:
    table = limits(day=1)
    note_request(table, NEW, 0, UTC)
    assert wait_ns(table, NEW, UTC) == (86_400 - 7) * S


def test_cancels_count_no_order_but_weight() -> None:
    table = limits()
    for _ in range(7):
        note_request(table, CANCEL, 0, UTC)
    assert (table[ORDERS_10S, COUNT], table[WEIGHT, COUNT], table[RAW, COUNT]) == (0, 7, 7)


def test_new_orders_leave_weight_to_cancels() -> None:
    table = limits(weight=100, orders=1000)
    note_weight(table, NEW_ORDERS_TO - 1, UTC)
    assert wait_ns(table, NEW, UTC) == 0
    note_weight(table, 1, UTC)
    assert wait_ns(table, NEW, UTC) == 53 * S and wait_ns(table, CANCEL, UTC) == 0
    note_weight(table, 99 - NEW_ORDERS_TO, UTC)
    assert wait_ns(table, CANCEL, UTC) == 0
    note_weight(table, 1, UTC)
    assert wait_ns(table, CANCEL, UTC) == 53 * S


def test_venues_count_replaces_ours_but_for_what_it_has_not_answered() -> None:
    table = limits(orders=50)
    for _ in range(3):
        note_request(table, NEW, 5, UTC)
    note_answer(table, True)
    learn(table, ORDERS_10S, 40, 10, 5)
    assert (table[ORDERS_10S, LIMIT], table[ORDERS_10S, COUNT], table[ORDERS_10S, UNANSWERED]) == (40, 12, 2)
    note_answer(table, False)
    assert (table[ORDERS_10S, UNANSWERED], table[WEIGHT, UNANSWERED]) == (2, 1)
    learn(table, ORDERS_10S, 40, 0, 5 + 3 * S)
    assert table[ORDERS_10S, COUNT] == 0, "of the next window"


def test_first_fill_gives_one_back_and_never_more_than_there_is() -> None:
    table = limits()
    note_request(table, NEW, 0, UTC)
    note_first_fill(table)
    assert table[ORDERS_10S, COUNT] == 1, "not before the venue has counted it"
    note_answer(table, True)
    for _ in range(3):
        note_first_fill(table)
    assert (table[ORDERS_10S, COUNT], table[ORDERS_DAY, COUNT], table[WEIGHT, COUNT]) == (0, 0, 1)


def test_ban_holds_everything_until_it_ends_and_is_never_shortened() -> None:
    table = limits()
    learn_ban(table, UTC + 120 * S)
    learn_ban(table, UTC + 60 * S)
    for kind in (NEW, CANCEL, REPLACE, CANCEL_ALL):
        assert wait_ns(table, kind, UTC + 120 * S - 1) == 1 and wait_ns(table, kind, UTC + 120 * S) == 0


def test_unknown_limits_are_left_alone_and_defaults_hold() -> None:
    table = new_limits()
    assert table[:WORDS, LIMIT].tolist() == [6000, 300_000, 50, 160_000]


@pytest.mark.parametrize(("levels", "weight"), [(5, 5), (100, 5), (101, 25), (500, 25), (1000, 50), (1001, 250), (5000, 250)])
def test_snapshot_weighs_what_the_venue_says(levels: int, weight: int) -> None:
    assert depth_weight(levels) == weight
