"""Pacing: budgets of messages, and resyncs that come less and less often."""

from __future__ import annotations

from hft.venues.pacing import MessageBudget, ResyncLimits, Resyncs

SECOND_NS = 1_000_000_000


def test_a_budget_gives_so_many_at_once_and_so_many_a_second() -> None:
    budget = MessageBudget(10, 4)
    assert budget.spend(25, 0) == 10 and budget.spend(15, SECOND_NS // 4 - 1) == 0
    assert budget.spend(15, SECOND_NS // 2) == 2
    assert budget.spend(3, 100 * SECOND_NS) == 3
    assert budget.spend(99, 100 * SECOND_NS) == 7, "no more than at once is saved up"
    budget.renew(100 * SECOND_NS)
    assert budget.spend(99, 100 * SECOND_NS) == 10


def test_a_budget_is_not_refilled_by_a_clock_that_goes_back() -> None:
    budget = MessageBudget(2, 1)
    assert budget.spend(2, 10 * SECOND_NS) == 2 and budget.spend(1, 0) == 0


def test_resyncs_double_their_distance_up_to_the_most_and_are_forgiven() -> None:
    resyncs = Resyncs(ResyncLimits(SECOND_NS, 4 * SECOND_NS, 60 * SECOND_NS))
    resyncs.want(7, 0)
    resyncs.want(8, 0)
    assert resyncs.due(0) == [7, 8] and resyncs.due(0) == []
    at = [0]
    for _ in range(4):
        resyncs.want(7, at[-1])
        at.append(next(second * SECOND_NS for second in range(at[-1] // SECOND_NS, 99) if resyncs.due(second * SECOND_NS)))
    assert at == [second * SECOND_NS for second in (0, 1, 3, 7, 11)]
    resyncs.want(7, 71 * SECOND_NS)
    assert resyncs.due(71 * SECOND_NS) == [7]
    resyncs.want(7, 72 * SECOND_NS)
    assert resyncs.due(72 * SECOND_NS) == [7], "as far apart as at first"


def test_a_resync_that_held_long_enough_is_forgiven_and_one_that_only_waited_is_not() -> None:
    resyncs = Resyncs(ResyncLimits(SECOND_NS, 64 * SECOND_NS, 4 * SECOND_NS))
    for second in range(0, 60, 5):
        resyncs.want(7, second * SECOND_NS)
        assert resyncs.due(second * SECOND_NS) == [7], "each held for 5 s"
    at = [60]
    for _ in range(5):
        resyncs.want(8, at[-1] * SECOND_NS)
        at.append(next(second for second in range(at[-1], 999) if resyncs.due(second * SECOND_NS)))
    assert at == [60, 60, 61, 63, 67, 75], "each fails at once, and the wait before it is no time that it held"


def test_a_new_connection_forgives_all() -> None:
    resyncs = Resyncs(ResyncLimits(SECOND_NS, 4 * SECOND_NS, 60 * SECOND_NS))
    resyncs.want(7, 0)
    assert resyncs.due(0) == [7]
    resyncs.want(7, 0)
    resyncs.clear()
    assert resyncs.due(9 * SECOND_NS) == []
    resyncs.want(7, 0)
    assert resyncs.due(0) == [7]
