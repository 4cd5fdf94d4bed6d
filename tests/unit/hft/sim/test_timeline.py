"""Timelines: positions, stamps, holding, and what counts as a pace."""

import pytest

from hft.sim.market import SimError
from hft.sim.timeline import UNBOUNDED_NS, Timeline, pace_per_mille


@pytest.mark.parametrize(("text", "per_mille"), [("recorded", 1000), ("max", 0), ("10", 10_000), ("0.5", 500), ("2.125", 2125)])
def test_pace_is_read(text, per_mille):
    assert pace_per_mille(text) == per_mille


@pytest.mark.parametrize("text", ["", "0", "0.0", "-1", "1e3", "fast", "nan", "\uff11", "1.2345", "1.", " 1", "9999999"])
def test_a_pace_that_is_none_is_refused(text):
    with pytest.raises(SimError, match="pace must be"):
        pace_per_mille(text)


def test_position_and_time_are_inverse_at_a_pace():
    timeline = Timeline(2500, 0)
    timeline.start(1000)
    assert timeline.position(1400) == 1000
    for position in (0, 1, 999, 1000, 123_456_789):
        at = timeline.when(position)
        assert timeline.position(at) >= position > timeline.position(at - 1)


def test_stamps_are_wall_clock_times():
    timeline = Timeline(1000, 5_000_000)
    timeline.start(100)
    assert timeline.stamp(7) == 5_000_107


def test_unbounded_timeline_is_always_due_and_stamps_now():
    timeline = Timeline(0, 10)
    timeline.start(100)
    assert timeline.position(130) == UNBOUNDED_NS
    assert timeline.when(10**12) == 130 and timeline.stamp(10**12) == 140


def test_holding_moves_later_positions_back():
    timeline = Timeline(1000, 0)
    timeline.start(0)
    timeline.hold(50, 80)
    assert timeline.position(80) == 50 and timeline.when(60) == 90
    timeline.hold(50, 40)
    assert timeline.when(60) == 90
