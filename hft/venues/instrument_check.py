"""Instrument check: how a configured instrument differs from what its venue says of it, the same for all venues."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from hft.venues.interface import InstrumentRules


def check_instrument(row: Any, rules: InstrumentRules) -> list[str]:
    """Every way in which an INSTRUMENT row would have orders refused, or books unread, by the venue's rules; one sentence each.

    The tick is the venue's: books have prices at each of its ticks. The lot may be a multiple, because sizes of books are rounded down;
    bounds may be tighter than the venue's.
    """
    found = [] if rules.status == "trading" else [f"does not trade: {rules.status}"]
    try:
        found += _differences(row, rules)
    except InvalidOperation:
        found.append("has rules that are no numbers")
    return [f"{rules.symbol} {each}" for each in found]


def _differences(row: Any, rules: InstrumentRules) -> list[str]:
    tick = Decimal(int(row["tick_units"])).scaleb(-int(row["price_decimals"]))
    lot = Decimal(int(row["lot_units"])).scaleb(-int(row["qty_decimals"]))
    found = []
    if rules.tick and tick != Decimal(rules.tick):
        found.append(f"tick: configured {tick:f}, the venue has {rules.tick}")
    if rules.lot and (not Decimal(rules.lot) or lot % Decimal(rules.lot)):
        found.append(f"lot: configured {lot:f}, no multiple of the venue's {rules.lot}")
    price_max, qty_max = int(row["price_ticks_max"]) * tick, int(row["qty_lots_max"]) * lot
    for name, ours, theirs in (("price_max", price_max, rules.price_max), ("qty_max", qty_max, rules.qty_max)):
        if theirs and ours > Decimal(theirs):
            found.append(f"{name}: configured {ours.normalize():f}, the venue takes at most {theirs}")
    notional_min = Decimal(int(row["notional_min_e8"])).scaleb(-8)
    if rules.notional_min and notional_min < Decimal(rules.notional_min):
        found.append(f"min_notional: configured {notional_min.normalize():f}, the venue wants {rules.notional_min}")
    return found
