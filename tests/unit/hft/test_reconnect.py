"""The backoff machine on a clock made of integers."""

from __future__ import annotations

import random

import pytest

from hft.reconnect import AttemptWindow, Backoff, Reconnect, Retries

MS = 1_000_000


class Fixed:
    """A generator that always gives the same number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


def make(value: float = 0.0, **backoff: int) -> Reconnect:
    settings = {"first_ns": 100 * MS, "max_ns": 1000 * MS, "stable_ns": 5000 * MS} | backoff
    return Reconnect(Fixed(value), Backoff(**settings))


def test_a_request_that_failed_is_due_soon_then_later_and_later_until_one_is_answered() -> None:
    retries, now, delays = Retries(250 * MS, 1000 * MS), 0, []
    assert retries.due(7, now)
    for _ in range(4):
        retries.failed(7, now)
        assert retries.due(8, now), "another request does not wait"
        due = next(at for at in range(now, now + 5000 * MS, MS) if retries.due(7, at))
        delays.append((due - now) // MS)
        now = due
    assert delays == [250, 500, 1000, 1000]
    retries.answered(7)
    retries.failed(7, now)
    assert not retries.due(7, now + 249 * MS) and retries.due(7, now + 250 * MS)


def test_a_request_waits_as_long_as_the_venue_asked() -> None:
    retries = Retries(250 * MS, 1000 * MS)
    retries.failed(7, 0, 3000 * MS)
    assert not retries.due(7, 3000 * MS - 1) and retries.due(7, 3000 * MS)


def test_the_first_attempt_is_due_at_once() -> None:
    assert make().due(123)


def test_delays_double_up_to_the_maximum() -> None:
    retry, now, delays = make(), 0, []
    for _ in range(6):
        retry.attempt(now)
        due = retry.failed(now)
        assert not retry.due(due - 1) and retry.due(due)
        delays.append((due - now) // MS)
        now = due
    assert delays == [100, 200, 400, 800, 1000, 1000]
    assert retry.failures == 6


def test_chance_takes_away_up_to_half() -> None:
    assert make(0.0).failed(0) == 100 * MS
    assert make(0.5).failed(0) == 75 * MS
    assert make(0.999999).failed(0) > 50 * MS


def test_the_same_seed_gives_the_same_delays() -> None:
    def delays(seed: int) -> list[int]:
        retry = Reconnect(random.Random(seed))
        return [retry.failed(0) for _ in range(20)]

    assert delays(5) == delays(5) != delays(6)


def test_a_hundred_thousand_failures_do_not_overflow_the_delay() -> None:
    retry = make()
    for _ in range(100_000):
        due = retry.failed(0)
    assert due == 1000 * MS


@pytest.mark.parametrize(("lived", "failures"), [(5000 * MS - 1, 4), (5000 * MS, 1)])
def test_only_a_connection_that_lived_long_enough_ends_the_row_of_failures(lived: int, failures: int) -> None:
    retry = make()
    for _ in range(3):
        retry.attempt(0)
        retry.failed(0)
    retry.attempt(0)
    retry.opened(0)
    retry.failed(lived)
    assert retry.failures == failures


def test_a_connection_that_opens_and_breaks_at_once_does_not_spin() -> None:
    retry, now, attempts = make(), 0, 0
    while now < 10_000 * MS:
        retry.attempt(now)
        retry.opened(now)
        attempts += 1
        now = retry.failed(now)
    assert attempts < 15


def test_what_the_venue_asks_to_wait_is_never_undercut() -> None:
    retry = make()
    assert retry.failed(10, 60_000 * MS) == 10 + 60_000 * MS
    assert not retry.due(60_000 * MS)


def test_the_window_holds_on_both_sides() -> None:
    window = AttemptWindow(3, 1000)
    for now in (0, 10, 20):
        assert window.due_ns(now) == now
        window.take(now)
    assert window.due_ns(30) == 1000
    assert window.due_ns(999) == 1000
    assert window.due_ns(1000) == 1000
    window.take(1000)
    assert window.due_ns(1001) == 1010


def test_attempts_never_exceed_the_window_whatever_happens() -> None:
    seed = 11
    rng = random.Random(seed)
    window = AttemptWindow(5, 1000 * MS)
    retries = [Reconnect(rng, Backoff(MS, 2 * MS), window) for _ in range(3)]
    made: list[int] = []
    for now in range(0, 5000 * MS, MS):
        for retry in retries:
            if retry.due(now):
                retry.attempt(now)
                made.append(now)
                if rng.random() < 0.5:
                    retry.opened(now)
                retry.failed(now)
    for start in made:
        assert sum(start <= at < start + 1000 * MS for at in made) <= 5, f"seed {seed}"
    assert len(made) >= 24, f"seed {seed}"


@pytest.mark.parametrize("backoff", [Backoff(0, 1), Backoff(5, 4), Backoff(-1, 4)])
def test_a_backoff_that_makes_no_sense_is_refused(backoff: Backoff) -> None:
    with pytest.raises(ValueError, match="first_ns"):
        Reconnect(Fixed(0), backoff)


@pytest.mark.parametrize(("attempts_max", "window_ns"), [(0, 1), (1, 0)])
def test_a_window_that_makes_no_sense_is_refused(attempts_max: int, window_ns: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        AttemptWindow(attempts_max, window_ns)
