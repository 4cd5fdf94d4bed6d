"""The ladder against a dict."""

import random

import pytest

from hft.sim.ladder import Ladder


@pytest.mark.parametrize("seed", range(5))
def test_ladder_equals_a_dict_under_random_changes(seed):
    draw, ladder, naive = random.Random(seed), Ladder(), {}
    told: dict[int, int] = {}
    for _ in range(2000):
        key = draw.randrange(-40, 40)
        lots = draw.randrange(1, 5) if draw.random() < 0.5 or key not in naive else -draw.randrange(1, naive[key] + 1)
        ladder.change(key, lots)
        naive[key] = naive.get(key, 0) + lots
        if not naive[key]:
            del naive[key]
        if draw.random() < 0.05:
            for changed, size in ladder.changes():
                told.pop(changed, None)
                if size:
                    told[changed] = size
            assert told == naive, f"seed {seed}"
        assert ladder.levels() == sorted(naive.items(), reverse=True), f"seed {seed}"
        assert len(ladder) == len(naive)


def test_ladder_refuses_to_take_more_than_a_level_has():
    ladder = Ladder()
    ladder.change(7, 3)
    with pytest.raises(ValueError, match="level 7 has 3 lots, cannot take 4"):
        ladder.change(7, -4)
    assert ladder.levels() == [(7, 3)]


def test_changes_are_told_once_and_include_levels_that_came_and_went():
    ladder = Ladder()
    ladder.change(5, 1)
    ladder.change(6, 2)
    ladder.change(5, -1)
    assert ladder.changes() == [(6, 2), (5, 0)]
    assert ladder.changes() == []
