"""Kraken's counters: what requests cost, how it wears off, and what is refused."""

import pytest

from hft.sim.kraken.rates import TRADING_MAX, TRADING_PER_S, Counter, TradingLimits
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS


def test_a_counter_falls_by_its_rate_and_not_below_zero():
    counter = Counter(10_000, 2_000)
    counter.charge(5_000, 0)
    assert counter.value(SECOND_NS) == 3_000 and counter.value(10 * SECOND_NS) == 0


def test_what_would_exceed_the_maximum_is_refused_and_not_charged():
    counter = Counter(10_000, 0)
    counter.spend(10_000, 0, "no")
    with pytest.raises(KrakenError, match="no"):
        counter.spend(1, 0, "no")
    assert counter.value(0) == 10_000


def test_many_small_steps_of_time_wear_off_as_much_as_one_large_one():
    stepped, whole = Counter(200_000, TRADING_PER_S), Counter(200_000, TRADING_PER_S)
    stepped.charge(180_000, 0)
    whole.charge(180_000, 0)
    for at_ns in range(0, SECOND_NS + 1, 777_777):
        stepped.value(at_ns)
    assert stepped.value(SECOND_NS) == whole.value(SECOND_NS) == 180_000 - TRADING_PER_S


@pytest.mark.parametrize(("age_s", "amend", "cancel"), [(0, 4, 8), (5, 3, 6), (10, 2, 5), (15, 1, 4), (45, 1, 2), (90, 1, 1), (300, 1, 0)])
def test_amending_and_cancelling_cost_more_the_younger_the_order(age_s, amend, cancel):
    limits = TradingLimits(unlimited=False)
    limits.amend("alice", "BTC/USD", age_s * SECOND_NS, 0)
    assert limits.counter("alice", "BTC/USD").value(0) == amend * 1000
    limits.cancel("alice", "ETH/USD", age_s * SECOND_NS, 0)
    assert limits.counter("alice", "ETH/USD").value(0) == cancel * 1000


def test_the_pairs_and_the_customers_have_counters_of_their_own():
    limits = TradingLimits(unlimited=False)
    for _ in range(TRADING_MAX // 1000):
        limits.add("alice", "BTC/USD", 0)
    with pytest.raises(KrakenError, match="EOrder:Rate limit exceeded"):
        limits.add("alice", "BTC/USD", 0)
    limits.add("alice", "ETH/USD", 0)
    limits.add("bob", "BTC/USD", 0)
    limits.add("alice", "BTC/USD", SECOND_NS)


def test_a_batch_costs_half_of_its_orders():
    limits = TradingLimits(unlimited=False)
    limits.add("alice", "BTC/USD", 0, orders=15)
    assert limits.counter("alice", "BTC/USD").value(0) == 7_500


def test_cancellations_go_through_over_the_limit_and_keep_new_orders_out_longer():
    limits = TradingLimits(unlimited=False)
    for _ in range(30):
        limits.cancel("alice", "BTC/USD", 0, 0)
    assert limits.counter("alice", "BTC/USD").value(0) == 240_000
    with pytest.raises(KrakenError):
        limits.add("alice", "BTC/USD", 15 * SECOND_NS)
    limits.add("alice", "BTC/USD", 17 * SECOND_NS)


def test_without_limits_nothing_is_refused():
    limits = TradingLimits(unlimited=True)
    for _ in range(1000):
        limits.add("alice", "BTC/USD", 0)
