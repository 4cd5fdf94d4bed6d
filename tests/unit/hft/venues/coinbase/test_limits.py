"""Coinbase limits: the orders' bucket by its numbers, and a naive bucket that it must agree with."""

from __future__ import annotations

import random
from fractions import Fraction

from hft.records import IntentKind
from hft.venues.coinbase.kernels import may_send, note_sent
from hft.venues.coinbase.limits import (
    CANCELS_PERCENT,
    GUARDIAN_PERCENT,
    ORDERS_PERCENT,
    PRIVATE_AT_ONCE,
    PRIVATE_PER_S,
    QUESTIONS_PERCENT,
    THROTTLED_NS,
    learn,
    may_send_within,
    new_limits,
    note_sent_within,
)
from support.coinbase_desk import codec

NEW, CANCEL = int(IntentKind.NEW), int(IntentKind.CANCEL)
SECOND_NS = 1_000_000_000
AT_ONCE = Fraction(PRIVATE_AT_ONCE * ORDERS_PERCENT, 100)
PER_S = Fraction(PRIVATE_PER_S * ORDERS_PERCENT, 100)
FOR_CANCELS = AT_ONCE * CANCELS_PERCENT / 100


def test_slices_share_the_whole_rate() -> None:
    assert ORDERS_PERCENT + QUESTIONS_PERCENT + GUARDIAN_PERCENT == 100


def test_new_orders_leave_room_for_cancels() -> None:
    of = codec()
    sent = {NEW: 0, CANCEL: 0}
    for kind in (NEW, CANCEL):
        while may_send(of, kind, 0, SECOND_NS, 0) == 0 and sent[kind] < 2 * PRIVATE_AT_ONCE:
            note_sent(of, kind, 0, SECOND_NS, 0)
            sent[kind] += 1
    assert sent[NEW] == int(AT_ONCE - FOR_CANCELS) and sent[NEW] + sent[CANCEL] == int(AT_ONCE)


def test_wait_that_is_told_is_exactly_enough() -> None:
    limits, now = new_limits(), SECOND_NS
    for _ in range(200):
        wait = int(may_send_within(limits, NEW, now))
        if wait:
            assert may_send_within(limits.copy(), NEW, now + wait - 2) > 0
            now += wait
            assert may_send_within(limits, NEW, now) == 0
        note_sent_within(limits, now)


def test_nothing_leaves_after_a_429_until_it_is_over() -> None:
    limits = new_limits()
    learn(limits, 200, SECOND_NS)
    assert may_send_within(limits, CANCEL, SECOND_NS) == 0
    learn(limits, 429, SECOND_NS)
    assert may_send_within(limits, CANCEL, SECOND_NS) == THROTTLED_NS
    assert may_send_within(limits, CANCEL, SECOND_NS + THROTTLED_NS) == 0


def test_bucket_is_the_naive_one_over_any_traffic() -> None:
    for seed in range(5):
        chance, limits = random.Random(seed), new_limits()
        now, tokens, refilled = SECOND_NS, AT_ONCE, SECOND_NS
        for step in range(500):
            now += chance.choice((0, chance.randrange(10**7), chance.randrange(10**9), chance.randrange(10**12)))
            tokens, refilled = min(AT_ONCE, tokens + PER_S * (now - refilled) / SECOND_NS), now
            kind = chance.choice((NEW, CANCEL))
            least = 1 if kind == CANCEL else 1 + FOR_CANCELS
            told = may_send_within(limits, kind, now) == 0
            # The kernel counts whole billionths.
            assert told == (tokens >= least) or abs(tokens - least) < Fraction(1, 10**6), (seed, step)
            if told:
                note_sent_within(limits, now)
                tokens -= 1
