"""Peers: an instrument's mid against the same pair's at other venues, on both sides of the limit and with nothing to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hft import risk
from hft.bounds import ConfigBoundsError
from hft.breakers import new_breakers
from hft.peers import diverge, new_peers
from hft.records import MarketKind, RiskCode
from hft.units import WIDE
from support.risk_account import ASK, BID, NOW, instrument_rows, intent, new_account, tell

OK, DIVERGED = RiskCode.OK, RiskCode.CROSS_VENUE_DIVERGENCE
MID_X2 = BID + ASK


@pytest.fixture(params=["jit", "py"])
def check(request: pytest.FixtureRequest) -> Callable[..., RiskCode]:
    """`risk.check` of record 0, compiled and as plain Python."""
    kernel = risk.check if request.param == "jit" else getattr(risk.check, "py_func", risk.check)
    return lambda state, records, now_ns=NOW: RiskCode(kernel(state, records, 0, now_ns))


def three_venues(max_bp: int = 100) -> risk.RiskState:
    """Instrument 0 and 1 are one pair at two venues, the second with ticks of 0.1; 2 is another pair."""
    rows = {"venue": [0, 1, 2], "base_asset": [0, 0, 1], "tick_units": [1, 10, 1]}
    state = new_account(3, venues=3, rows=rows)
    state.limits["divergence_max_bp"] = max_bp
    # Until here its book was told in ticks of 0.01.
    state = state._replace(breakers=new_breakers(3, 2, state.firm))
    tell(state, MarketKind.TOP, row=1, bid=BID // 10, ask=ASK // 10)
    return state


def test_peers_are_the_same_pair_at_other_venues() -> None:
    rows = instrument_rows(5)
    rows["venue"], rows["base_asset"], rows["quote_asset"] = [0, 1, 2, 0, 1], [0, 0, 0, 1, 1], [1, 1, 1, 0, 2]
    assert new_peers(rows).rows.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1], [-1, -1, -1], [-1, -1, -1]]


def test_a_tick_of_too_many_decimals_is_refused() -> None:
    with pytest.raises(ConfigBoundsError, match="12 decimals"):
        new_peers(instrument_rows(1, price_decimals=13))


def test_a_mid_may_be_the_limit_away_from_a_peers_and_no_further(check: Any) -> None:
    state = three_venues(100)
    low_x2 = MID_X2 // 10 * 10
    for mid_x2, code in ((low_x2 + low_x2 // 100, OK), (low_x2 + low_x2 // 100 + 1, DIVERGED)):
        tell(state, MarketKind.TOP, bid=mid_x2 // 2 - 5, ask=mid_x2 - mid_x2 // 2 + 5)
        tell(state, MarketKind.TOP, row=1, bid=low_x2 // 20 - 1, ask=low_x2 // 10 - low_x2 // 20 + 1)
        assert check(state, intent(price_ticks=mid_x2 // 2 - 100)) == code
        assert check(state, intent(instrument=1, price_ticks=low_x2 // 20 - 10)) == code, "nobody knows which of the two is wrong"
        assert check(state, intent(instrument=2)) == OK


@pytest.mark.parametrize("what", ["invalid", "one-sided", "crossed", "old"])
def test_an_instrument_whose_peers_all_say_nothing_is_refused(check: Any, what: str) -> None:
    state = three_venues()
    assert check(state, intent()) == OK
    now_ns = NOW
    if what == "invalid":
        tell(state, MarketKind.INVALID, row=1)
    elif what == "one-sided":
        tell(state, MarketKind.TOP, row=1, bid=0, ask=ASK // 10)
    elif what == "crossed":
        tell(state, MarketKind.TOP, row=1, bid=ASK // 10, ask=BID // 10)
    else:
        state.limits["book_age_max_ns"][1] = 1000
        assert check(state, intent(), NOW + 1000) == OK
        now_ns = NOW + 1001
    assert check(state, intent(), now_ns) == DIVERGED and check(state, intent(instrument=2), now_ns) == OK


def test_one_peer_that_agrees_is_enough_and_one_that_does_not_is_too_much(check: Any) -> None:
    state = new_account(3, venues=3, rows={"venue": [0, 1, 2]})
    tell(state, MarketKind.INVALID, row=1)
    assert check(state, intent()) == OK
    tell(state, MarketKind.VALID, row=1)
    tell(state, MarketKind.TOP, row=1, bid=2 * BID, ask=2 * ASK)
    assert check(state, intent()) == DIVERGED


@pytest.mark.parametrize(
    ("one", "other", "max_bp", "far"),
    [(10_000, 10_100, 100, False), (10_000, 10_101, 100, True), (10_101, 10_000, 100, True), (9_999, 10_099, 100, True)]
    + [(WIDE, WIDE, 10_000, True), (WIDE - 1, WIDE - 1, 1, False), (WIDE - 1, 1, 10_000, True)],
)
def test_divergence_is_exact(one: int, other: int, max_bp: int, far: bool) -> None:
    assert bool(diverge(one, other, max_bp)) == far
