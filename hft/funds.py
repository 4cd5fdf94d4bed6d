"""Funds: whether what an account has of an asset covers an order, with all that already works there, sent or not, known or not.

    free = what the account had when the session began + what fills have moved since - what working orders may take

A buy takes price x size and the taker fee of the quote asset, a sell its size of the base asset. What is not whole in 1e-8 is rounded against
us. Fees in other assets are not counted. The venue says what it had; until then nothing covers anything. On paper there is no account.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.orders import Orders, find, is_working
from hft.records import IntentKind, Side
from hft.units import E8, WIDE, as_int, mul_div_half_even, mul_saturated
from shm.jit import njit

#: Whether a venue's accounts cover orders: there is none to ask, it has not said what there is, it has.
NO_ACCOUNT, NOT_SAID, SAID = range(3)

_REPLACE = int(IntentKind.REPLACE)

# Columns of Funds.free: what the account began with, and what is left of it now.
_BEGAN_E8, _FREE_E8 = range(2)

# Columns of Funds.taken: what an instrument has taken of its base and its quote asset; negative when it brought some.
BASE, QUOTE = range(2)


class Funds(NamedTuple):
    """State of all venues; made by `new_funds`."""

    known: NDArray[Any]  #: venue -> NO_ACCOUNT, NOT_SAID or SAID
    free: NDArray[Any]  #: [venue, asset, column], in 1e-8 of the asset
    taken: NDArray[Any]  #: [instrument, BASE or QUOTE], in 1e-8 of the asset


def new_funds(instruments: NDArray[Any], venues: int) -> Funds:
    """No venue has accounts."""
    assets = int(max(instruments["base_asset"].max(), instruments["quote_asset"].max())) + 1
    return Funds(np.zeros(venues, np.int64), np.zeros((venues, assets, 2), np.int64), np.zeros((len(instruments), 2), np.int64))


@njit
def begin(funds: Funds, instruments: NDArray[Any], row: int, which: int, began_e8: int) -> None:
    """The account at an instrument's venue had so much of its BASE or QUOTE asset when the session began."""
    asset = as_int(instruments[row]["base_asset"] if which == BASE else instruments[row]["quote_asset"])
    free = funds.free[as_int(instruments[row]["venue"]), asset]
    began_e8 = min(max(began_e8, -WIDE // 4), WIDE // 4)
    free[_FREE_E8] += began_e8 - free[_BEGAN_E8]
    free[_BEGAN_E8] = began_e8


@njit
def settle(funds: Funds, instruments: NDArray[Any], positions: NDArray[Any], orders: Orders, row: int) -> None:
    """Bring what an instrument has taken up to its POSITION row and its working orders."""
    instrument, position, venue = instruments[row], positions[row], as_int(instruments[row]["venue"])
    if venue < 0 or venue >= len(funds.known) or funds.known[venue] == NO_ACCOUNT:
        return
    den = instrument["lot_e8_den"]
    lots_e8 = (orders.lots[row, 1] - position["position_lots"]) * instrument["lot_e8_num"] + position["base_fee_remainder"]
    base_e8 = -(-lots_e8 // den)
    # Cash is exact with its remainder; what is left of a unit was spent.
    quote_e8 = position["cost_e8"] - position["realised_e8"] + (1 if position["notional_remainder"] < 0 else 0)
    quote_e8 += position["fees_quote_e8"] + buy_e8(instruments, row, orders.buy_ticklots[row])
    _move(funds, venue, as_int(instrument["base_asset"]), row, BASE, base_e8)
    _move(funds, venue, as_int(instrument["quote_asset"]), row, QUOTE, quote_e8)


@njit
def _move(funds: Funds, venue: int, asset: int, row: int, which: int, taken_e8: int) -> None:
    funds.free[venue, asset, _FREE_E8] -= taken_e8 - funds.taken[row, which]
    funds.taken[row, which] = taken_e8


@njit
def buy_e8(instruments: NDArray[Any], row: int, ticklots: int) -> int:
    """What buys of so many tick-lots of an instrument may take of its quote asset, the taker fee included; WIDE when out of range."""
    instrument = instruments[row]
    cost_e8, rest = mul_div_half_even(ticklots, instrument["ticklot_num"], instrument["ticklot_den"])
    cost_e8 += 1 if rest > 0 else 0
    fee_e8, rest = mul_div_half_even(cost_e8, max(instrument["taker_fee_e8"], as_int(0)), E8)
    # Of two that are out of range the sum would be too.
    return as_int(WIDE) if max(cost_e8, fee_e8) >= WIDE else min(cost_e8 + fee_e8 + (1 if rest > 0 else 0), as_int(WIDE))


@njit
def covers(funds: Funds, instruments: NDArray[Any], orders: Orders, intents: NDArray[Any], i: int) -> bool:
    """Whether what is free at its venue covers INTENT record `i`, whose instrument and size are right; where there is no account: True.

    What a REPLACE is to change gives back what it has taken, on the same side: no venue holds both.
    """
    row = as_int(intents[i]["instrument"])
    instrument, venue = instruments[row], as_int(instruments[row]["venue"])
    if funds.known[venue] == NO_ACCOUNT:
        return True
    if funds.known[venue] != SAID:
        return False
    lots, given_lots, given_ticklots = intents[i]["qty_lots"], as_int(0), as_int(0)
    slot = find(orders, intents[i]["ref_order_id"]) if intents[i]["kind"] == _REPLACE else as_int(-1)
    if slot >= 0 and is_working(orders.rows[slot]["state"]):
        given_lots = orders.rows[slot]["leaves_lots"]
        given_ticklots = orders.rows[slot]["price_ticks"] * given_lots
    if intents[i]["side"] == Side.BUY:
        before, asset = orders.buy_ticklots[row], as_int(instrument["quote_asset"])
        after_e8 = buy_e8(instruments, row, before - given_ticklots + mul_saturated(intents[i]["price_ticks"], lots))
        needed_e8 = after_e8 - buy_e8(instruments, row, before) if after_e8 < WIDE else as_int(WIDE)
    else:
        asset = as_int(instrument["base_asset"])
        needed_e8 = -(-mul_saturated(lots - given_lots, instrument["lot_e8_num"]) // instrument["lot_e8_den"])
    return bool(needed_e8 < WIDE and needed_e8 <= funds.free[venue, asset, _FREE_E8])
