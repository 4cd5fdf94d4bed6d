"""The venue's clock: right to half the quickest round trip, and at once right again when a clock was set."""

from __future__ import annotations

import random

from hft.venues.venue_clock import LOOKS, ROUND_TRIP_MAX_NS, VenueClock

SECOND_NS = 1_000_000_000
MS = 1_000_000


def look(clock: VenueClock, ahead_ns: int, there_ns: int, back_ns: int, now_ns: int = SECOND_NS) -> bool:
    """A question that takes so long to the venue, whose clock shows whole milliseconds, and its answer so long back."""
    venue_ns = now_ns + there_ns + ahead_ns
    return clock.look(venue_ns - venue_ns % MS, now_ns, there_ns + back_ns)


def test_it_is_known_from_the_first_look_and_best_from_the_quickest() -> None:
    clock = VenueClock()
    assert not clock.known and clock.offset_ns() == 0
    assert look(clock, 250 * MS, 80 * MS, 20 * MS) and clock.known
    assert abs(clock.offset_ns() - 250 * MS) <= 50 * MS + MS
    assert look(clock, 250 * MS, 3 * MS, 1 * MS) and abs(clock.offset_ns() - 250 * MS) <= 2 * MS + MS
    assert look(clock, 250 * MS, 5 * MS, 300 * MS) and abs(clock.offset_ns() - 250 * MS) <= 2 * MS + MS


def test_it_is_never_wrong_by_more_than_half_the_quickest_round_trip_of_the_newest_looks() -> None:
    for seed in range(50):
        chance, clock, trips, ahead_ns = random.Random(seed), VenueClock(), [], 0
        for _ in range(100):
            if chance.random() < 0.1:
                ahead_ns, trips = ahead_ns + chance.choice((-1, 1)) * chance.randint(2 * SECOND_NS, 9 * SECOND_NS), []
            there_ns, back_ns = chance.randint(1, 400 * MS), chance.randint(1, 400 * MS)
            assert look(clock, ahead_ns, there_ns, back_ns, chance.randint(SECOND_NS, 10**18)), f"seed {seed}"
            trips.append(there_ns + back_ns)
            assert abs(clock.offset_ns() - ahead_ns) <= min(trips[-LOOKS:]) // 2 + MS, f"seed {seed}"


def test_a_look_slower_than_a_second_tells_nothing() -> None:
    clock = VenueClock()
    assert not clock.look(5 * SECOND_NS, 0, ROUND_TRIP_MAX_NS + 1) and not clock.known
    assert clock.look(5 * SECOND_NS, 0, ROUND_TRIP_MAX_NS) and clock.known
