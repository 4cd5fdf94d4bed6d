"""Breakers: each on both sides of its boundary, in count and in time, and all of them against the naive twin."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft import breakers
from hft.breakers import PULL, SLICES, WILD, Breakers, new_breakers, rearm
from hft.records import FIRM_LIMITS, LIMITS, RiskCode
from support.naive_breakers import NaiveBreakers

OK = RiskCode.OK
SECOND = 1_000_000_000
WINDOW = 16 * SECOND
T0 = 1000 * WINDOW
KERNELS = ["note_fill", "note_reject", "note_pnl", "note_mid", "standing", "is_wild"]


class Box:
    """Breakers with tight limits; its kernels are compiled ones or plain Python."""

    def __init__(self, compiled: bool = True, **limits: int) -> None:
        self.firm, self.limits = np.zeros(1, FIRM_LIMITS), np.zeros(2, LIMITS)
        for name in ("fills_max", "rejects_max"):
            self.firm[name] = limits.pop(name, 3)
        for name in ("fills_window_ns", "rejects_window_ns", "loss_rate_window_ns"):
            self.firm[name] = WINDOW
        self.firm["drawdown_max_e8"] = limits.pop("drawdown_max_e8", 1000)
        self.firm["loss_rate_max_e8"] = limits.pop("loss_rate_max_e8", 1000)
        self.limits["move_max_bp"], self.limits["move_window_ns"] = limits.pop("move_max_bp", 100), WINDOW
        for name in ("fee_max_percent", "filled_expected_e8", "filled_max_percent", "filled_window_ns"):
            self.firm[name] = 200
        assert not limits
        self.state: Breakers = new_breakers(2, 2, self.firm)
        self.kernels = {
            name: getattr(breakers, name) if compiled else getattr(getattr(breakers, name), "py_func", getattr(breakers, name))
            for name in KERNELS
        }

    def tell(self, name: str, *arguments: int) -> None:
        rows = self.limits if name == "note_mid" else self.firm
        self.kernels[name](self.state, rows, *arguments)

    def standing(self, strategy: int = 0) -> RiskCode:
        return RiskCode(self.kernels["standing"](self.state, self.firm, strategy))

    def wild(self, row: int = 0) -> bool:
        return bool(self.kernels["is_wild"](self.state, self.limits, row))


@pytest.fixture(params=["jit", "py"])
def make(request: pytest.FixtureRequest) -> Any:
    return lambda **limits: Box(request.param == "jit", **limits)


COUNTED = [("note_fill", RiskCode.REPEATED_EXECUTION), ("note_reject", RiskCode.REJECT_STORM)]


@pytest.mark.parametrize(("kernel", "code"), COUNTED)
def test_one_more_than_the_limit_within_the_window_stops_its_strategy_alone(make: Any, kernel: str, code: RiskCode) -> None:
    box = make()
    for k in range(3):
        box.tell(kernel, 0, T0 + k)
    assert box.standing() == OK
    box.tell(kernel, 1, T0 + 3)
    box.tell(kernel, 0, T0 + WINDOW)
    assert (box.standing(0), box.standing(1)) == (code, OK)
    box.tell(kernel, 0, T0 + 100 * WINDOW)
    assert box.standing() == code, "it stays tripped"


@pytest.mark.parametrize(("kernel", "code"), COUNTED)
def test_one_more_than_the_limit_in_more_than_the_window_stops_nobody(make: Any, kernel: str, code: RiskCode) -> None:
    box = make()
    for at_ns in (T0, T0 + 1, T0 + 2, T0 + WINDOW + 1, T0 + WINDOW + 2):
        box.tell(kernel, 0, at_ns)
    assert box.standing() == OK
    box.tell(kernel, 0, T0 + WINDOW + 2)
    assert box.standing() == code


@pytest.mark.parametrize(("kernel", "code"), COUNTED)
def test_a_tightened_count_holds_from_the_next_on(make: Any, kernel: str, code: RiskCode) -> None:
    box = make()
    box.tell(kernel, 0, T0)
    box.firm["fills_max"] = box.firm["rejects_max"] = 1
    assert box.standing() == OK
    box.tell(kernel, 0, T0 + 1)
    assert box.standing() == code


@pytest.mark.parametrize(("kernel", "code"), COUNTED)
def test_a_strategy_that_is_armed_begins_to_count_anew(make: Any, kernel: str, code: RiskCode) -> None:
    box = make()
    for k in range(4):
        box.tell(kernel, 0, T0 + k)
    assert box.standing() == code
    rearm(box.state, 0)
    for k in range(3):
        box.tell(kernel, 0, T0 + 4 + k)
    assert box.standing() == OK
    box.tell(kernel, 0, T0 + 8)
    assert box.standing() == code


@pytest.mark.parametrize("strategy", [-1, 2])
def test_reports_of_no_strategy_count_for_nobody(make: Any, strategy: int) -> None:
    box = make()
    for k in range(9):
        box.tell("note_fill", strategy, T0 + k)
        box.tell("note_reject", strategy, T0 + k)
    assert (box.standing(0), box.standing(1)) == (OK, OK)


def test_drawdown_counts_from_the_peak_however_slow_it_comes(make: Any) -> None:
    box = make(drawdown_max_e8=50)
    for k, pnl in enumerate((-200, -100, 100, 80, 50)):
        box.tell("note_pnl", pnl, T0 + k * 10 * WINDOW)
    assert box.standing() == OK
    box.tell("note_pnl", 49, T0 + 90 * WINDOW)
    assert (box.standing(0), box.standing(1)) == (RiskCode.DRAWDOWN, RiskCode.DRAWDOWN)


def test_loss_rate_counts_from_the_highest_within_the_window(make: Any) -> None:
    box = make(loss_rate_max_e8=50)
    box.tell("note_pnl", 0, T0)
    box.tell("note_pnl", 10, T0 + 1)
    box.tell("note_pnl", -40, T0 + WINDOW)
    assert box.standing() == OK
    box.tell("note_pnl", -41, T0 + WINDOW + 1)
    assert box.standing() == RiskCode.LOSS_RATE


def test_what_is_lost_over_more_than_the_window_and_a_slice_is_no_rate(make: Any) -> None:
    box = make(loss_rate_max_e8=50)
    slice_ns = WINDOW // SLICES
    for k in range(0, 10 * (SLICES + 1), SLICES + 1):
        box.tell("note_pnl", -k, T0 + k * slice_ns)
    assert box.standing() == OK, "17 in 17 slices each, never more than 34 in one window"
    box.tell("note_pnl", -9 * (SLICES + 1) - 51, T0 + 9 * (SLICES + 1) * slice_ns)
    assert box.standing() == RiskCode.LOSS_RATE


def test_a_pnl_that_stood_still_for_long_held_until_it_fell(make: Any) -> None:
    box = make(loss_rate_max_e8=50)
    box.tell("note_pnl", 0, T0)
    box.tell("note_pnl", 100, T0 + 1)
    box.tell("note_pnl", 49, T0 + 100 * WINDOW)
    assert box.standing() == RiskCode.LOSS_RATE


def test_a_firm_that_is_armed_counts_from_what_it_has_by_then(make: Any) -> None:
    box = make(loss_rate_max_e8=50, drawdown_max_e8=60)
    for k, pnl in enumerate((100, 0)):
        box.tell("note_pnl", pnl, T0 + k)
    assert box.standing() == RiskCode.DRAWDOWN
    rearm(box.state, 2)
    box.tell("note_pnl", -10, T0 + 3)
    box.tell("note_pnl", -50, T0 + 4)
    assert box.standing() == OK
    box.tell("note_pnl", -51, T0 + 5)
    assert box.standing() == RiskCode.LOSS_RATE


def test_a_mid_that_moves_too_far_is_wild_until_the_window_has_passed(make: Any) -> None:
    box = make(move_max_bp=100)
    for k, mid_x2 in enumerate((20_000, 20_200)):
        box.tell("note_mid", 0, mid_x2, T0 + k)
    assert not box.wild() and not box.state.moves[0, PULL]
    box.tell("note_mid", 0, 20_201, T0 + 2)
    assert box.wild() and box.state.moves[0, PULL] == 1 and not box.wild(1)
    box.state.moves[0, PULL] = 0
    box.tell("note_mid", 0, 20_200, T0 + WINDOW)
    assert box.wild() and box.state.moves[0, PULL] == 0, "quotes are pulled once"
    box.tell("note_mid", 0, 20_200, T0 + WINDOW + 2 * WINDOW // SLICES)
    assert not box.wild()


def test_a_mid_that_falls_counts_from_the_low_that_it_reaches(make: Any) -> None:
    box = make(move_max_bp=100)
    box.tell("note_mid", 0, 20_200, T0)
    box.tell("note_mid", 0, 20_000, T0 + 1)
    assert not box.wild()
    box.tell("note_mid", 0, 19_999, T0 + 2)
    assert box.wild()


@pytest.mark.parametrize(
    ("field", "code"),
    [
        *((f"fills_{name}", RiskCode.REPEATED_EXECUTION) for name in ("max", "window_ns")),
        *((f"rejects_{name}", RiskCode.REJECT_STORM) for name in ("max", "window_ns")),
        ("fee_max_percent", RiskCode.FEE_SANITY),
        *((f"filled_{name}", RiskCode.FILL_RATE_ANOMALY) for name in ("expected_e8", "max_percent", "window_ns")),
        ("drawdown_max_e8", RiskCode.DRAWDOWN),
        *((f"loss_rate_{name}", RiskCode.LOSS_RATE) for name in ("max_e8", "window_ns")),
    ],
)
def test_a_breaker_without_a_limit_stops_everything(make: Any, field: str, code: RiskCode) -> None:
    box = make()
    box.firm[field] = 0
    assert box.standing() == code
    for name, arguments in (("note_fill", (0, T0)), ("note_reject", (0, T0)), ("note_pnl", (5, T0))):
        box.tell(name, *arguments)
    assert box.standing() == code


@pytest.mark.parametrize("field", ["move_max_bp", "move_window_ns"])
def test_an_instrument_without_a_limit_of_its_moves_is_wild(make: Any, field: str) -> None:
    box = make()
    box.limits[field] = 0
    box.tell("note_mid", 0, 20_000, T0)
    assert box.wild()


@pytest.mark.parametrize("seed", range(40))
def test_breakers_equal_the_naive_twin_on_random_events(make: Any, seed: int) -> None:
    chance = random.Random(seed)
    box = make(
        fills_max=chance.randint(1, 6),
        rejects_max=chance.randint(1, 6),
        drawdown_max_e8=chance.choice([60, 200, 10_000]),
        loss_rate_max_e8=chance.choice([30, 80, 10_000]),
        move_max_bp=chance.choice([20, 60, 500]),
    )
    twin = NaiveBreakers(box.limits, box.firm[0], 2)
    at_ns, pnl, mids = T0, 0, [20_000, 30_000]
    for step in range(400):
        where = f"seed {seed} step {step}"
        at_ns += chance.choice([0, 1, SECOND // 3, SECOND, 3 * SECOND, 20 * SECOND])
        what, k = chance.randrange(5), chance.randrange(2)
        if what == 0:
            box.tell("note_fill", k, at_ns)
            twin.on_fill(k, at_ns)
        elif what == 1:
            box.tell("note_reject", k, at_ns)
            twin.on_reject(k, at_ns)
        elif what == 2:
            pnl += chance.randint(-30, 29)
            box.tell("note_pnl", pnl, at_ns)
            twin.on_pnl(pnl, at_ns)
        else:
            mids[k] = max(mids[k] + chance.randint(-40, 40), 10_000)
            box.state.moves[k, PULL] = 0
            box.tell("note_mid", k, mids[k], at_ns)
            assert bool(box.state.moves[k, PULL]) == twin.on_mid(k, mids[k], at_ns), where
        assert [box.standing(k) for k in range(2)] == [twin.standing(k) for k in range(2)], where
        assert [bool(box.state.moves[k, WILD]) for k in range(2)] == twin.wild, where
        if twin.tripped and chance.random() < 0.2:
            scope = chance.choice(list(twin.tripped))
            rearm(box.state, 2 if scope < 0 else scope)
            twin.rearm(scope)
