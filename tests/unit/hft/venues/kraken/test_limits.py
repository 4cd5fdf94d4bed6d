"""Kraken limits: the counter of a pair, which is never below the venue's own."""

from __future__ import annotations

import random

import pytest

from hft.records import IntentKind
from hft.sim.kraken.rates import TradingLimits
from hft.venues.kraken.limits import (
    AMEND_PERCENT,
    AMEND_UNITS,
    COUNTER,
    NEW_PERCENT,
    TIERS,
    learn,
    may_send_within,
    new_limits,
    note_sent_within,
)

NEW, CANCEL, REPLACE = int(IntentKind.NEW), int(IntentKind.CANCEL), int(IntentKind.REPLACE)
SECOND_NS = 1_000_000_000


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize(("kind", "units", "percent"), [(NEW, 1, NEW_PERCENT), (REPLACE, AMEND_UNITS, AMEND_PERCENT)])
def test_orders_leave_room_and_cancels_always_leave(kind: int, units: int, percent: int, tier: str) -> None:
    limits, sent = new_limits(2, tier), 0
    while may_send_within(limits, kind, 1, SECOND_NS) == 0:
        note_sent_within(limits, kind, 1, SECOND_NS)
        sent += 1
    assert sent == TIERS[tier][0] * percent // (100 * units)
    assert may_send_within(limits, CANCEL, 1, SECOND_NS) == 0 and may_send_within(limits, NEW, 0, SECOND_NS) == 0


@pytest.mark.parametrize("tier", TIERS)
def test_after_all_amendments_that_may_leave_and_a_restart_new_orders_leave_at_once(tier: str) -> None:
    limits = new_limits(1, tier)
    while may_send_within(limits, REPLACE, 0, SECOND_NS) == 0:
        note_sent_within(limits, REPLACE, 0, SECOND_NS)
    for kind in (CANCEL, CANCEL, NEW, NEW):
        assert may_send_within(limits, kind, 0, SECOND_NS) == 0
        note_sent_within(limits, kind, 0, SECOND_NS)


def test_wait_that_is_told_is_enough() -> None:
    limits, now = new_limits(1), SECOND_NS
    for _ in range(200):
        wait = int(may_send_within(limits, REPLACE, 0, now))
        if wait:
            assert may_send_within(limits.copy(), REPLACE, 0, now + wait - 2) > 0
            now += wait
            assert may_send_within(limits, REPLACE, 0, now) == 0
        note_sent_within(limits, REPLACE, 0, now)


def test_refusal_fills_the_counter() -> None:
    limits = new_limits(1)
    learn(limits, 0, SECOND_NS)
    assert may_send_within(limits, NEW, 0, SECOND_NS) > 0


def test_unknown_tier_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of"):
        new_limits(1, "gold")


def test_counter_is_never_below_the_venues() -> None:
    for seed in range(5):
        chance, limits, venue, now = random.Random(seed), new_limits(1, "pro"), TradingLimits(unlimited=False), SECOND_NS
        for step in range(500):
            now += chance.choice((0, chance.randrange(10**7), chance.randrange(10**9), chance.randrange(10**11)))
            kind, age_ns = chance.choice((NEW, CANCEL, REPLACE)), chance.randrange(400 * SECOND_NS)
            if may_send_within(limits, kind, 0, now):
                continue
            if kind == NEW:
                venue.add("a", "s", now)
            elif kind == REPLACE:
                venue.amend("a", "s", age_ns, now)
            else:
                venue.cancel("a", "s", age_ns, now)
            note_sent_within(limits, kind, 0, now)
            # The venue's is rounded up to thousandths.
            assert limits[0, COUNTER] + 1_000_000 >= venue.counter("a", "s").value(now) * 1_000_000, (seed, step)
