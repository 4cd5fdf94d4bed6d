"""Limit changes: tighter passes, looser needs two people, nothing is looser than the config, and windows and sizes stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hft import limit_changes
from hft.limit_changes import (
    CHANGEABLE_FIRM,
    CHANGEABLE_LIMITS,
    FIRM,
    Changing,
    limit_words,
    name_word,
    new_changing,
    word_name,
)
from hft.records import FIRM_LIMITS, LIMITS

ANN, BOB = name_word("ann"), name_word("bob")


@pytest.fixture(params=["jit", "py"])
def change(request: pytest.FixtureRequest) -> Any:
    kernel = limit_changes.change_limit
    kernel = kernel if request.param == "jit" else getattr(kernel, "py_func", kernel)
    return lambda changing, *words: bool(kernel(changing, np.array([*words, 0, 0, 0][:8], np.int64)))


def some() -> tuple[Any, Any, Changing]:
    limits, firm = np.zeros(2, LIMITS), np.zeros(1, FIRM_LIMITS)
    limit_words(limits)[:], limit_words(firm)[:] = 100, 1000
    return limits, firm, new_changing(limits, firm)


def field(dtype: np.dtype[Any], name: str) -> int:
    assert dtype.fields is not None
    return int(dtype.fields[name][1]) // 8


POSITION, GROSS = field(LIMITS, "position_max_lots"), field(FIRM_LIMITS, "gross_max_e8")


def test_a_tighter_limit_is_taken_from_anybody_and_is_the_rows_own(change: Any) -> None:
    limits, firm, changing = some()
    assert change(changing, 1, POSITION, 40, ANN, 0) and change(changing, FIRM, GROSS, 999, 0, 0)
    assert limits["position_max_lots"].tolist() == [100, 40] and firm["gross_max_e8"].tolist() == [999]
    assert changing.counts.tolist() == [2, 2] and (limits["order_qty_max_lots"] == 100).all()


@pytest.mark.parametrize(
    ("by", "approved_by", "allowed"), [(ANN, BOB, True), (ANN, ANN, False), (ANN, 0, False), (0, BOB, False), (0, 0, False)]
)
def test_a_looser_limit_needs_two_different_people(change: Any, by: int, approved_by: int, allowed: bool) -> None:
    limits, _, changing = some()
    assert change(changing, 0, POSITION, 40, ANN, 0)
    assert change(changing, 0, POSITION, 41, by, approved_by) == allowed
    assert limits[0]["position_max_lots"] == (41 if allowed else 40) and changing.counts.tolist() == [2, 1 + allowed]


@pytest.mark.parametrize(("value", "allowed"), [(100, True), (101, False), (1, True), (0, False), (-5, False)])
def test_a_limit_is_never_looser_than_the_config_nor_unset(change: Any, value: int, allowed: bool) -> None:
    _, _, changing = some()
    assert change(changing, 0, POSITION, value, ANN, BOB) == allowed


@pytest.mark.parametrize(("row", "where"), [(-2, POSITION), (2, POSITION), (0, -1), (0, 16), (FIRM, 32)])
def test_a_change_of_no_limit_changes_nothing(change: Any, row: int, where: int) -> None:
    limits, firm, changing = some()
    assert not change(changing, row, where, 5, ANN, BOB)
    assert (limit_words(limits) == 100).all() and (limit_words(firm) == 1000).all()


def test_only_limits_of_which_less_is_tighter_may_be_changed(change: Any) -> None:
    for row, dtype, names in ((0, LIMITS, CHANGEABLE_LIMITS), (FIRM, FIRM_LIMITS, CHANGEABLE_FIRM)):
        for name in dtype.names or ():
            assert change(some()[2], row, field(dtype, name), 5, ANN, BOB) == (name in names), name
            assert name not in names or not name.endswith("window_ns")


@pytest.mark.parametrize("name", ["a", "ann", "zoe1234"])
def test_a_name_is_a_word_and_back(name: str) -> None:
    assert word_name(name_word(name)) == name and 0 < name_word(name) < 1 << 63


@pytest.mark.parametrize("name", ["", "Ann", "1a", "abcdefgh", "a b", "é", "a\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="expected 1 to 7"):
        name_word(name)
