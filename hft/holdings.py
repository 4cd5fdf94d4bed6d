"""Holdings: what the ledger says that an account's assets have changed by, and where its venue says otherwise. Cold, in plain Python.

An account had something when its session began, which is nobody's position. Since then each asset may have changed by what fills moved
and fees took; whatever else changed it, such as a deposit, a person's order or a fill that was never told, is a difference.

The base asset of an instrument must be right to less than one lot. Venues round cash and fees by rules of their own, so a quote asset may
be off by less than the least order of its instruments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from numpy.typing import NDArray

#: Asset -> how much of it an account has, held by orders or not.
Balances = dict[str, Decimal]

_E8 = 10**8


def as_text(balances: Balances | None) -> dict[str, str] | None:
    """Balances as JSON takes them."""
    return None if balances is None else {asset: str(amount) for asset, amount in balances.items()}


def from_text(texts: Mapping[str, str] | None) -> Balances | None:
    """What `as_text` gave."""
    return None if texts is None else {asset: Decimal(text) for asset, text in texts.items()}


class Change(NamedTuple):
    """What the ledger says of one asset."""

    row: int  #: the first instrument that trades it here
    is_quote: bool  #: whether it is that instrument's quote asset, not its base
    amount: Decimal  #: by how much it changed
    step: Decimal  #: a venue that is off by less agrees


class Difference(NamedTuple):
    """An asset of which ledger and venue do not say the same."""

    asset: str
    row: int  #: as of Change
    is_quote: bool
    ledger: Decimal  #: changed by, since the session began
    venue: Decimal


def balances_of(told: Mapping[str, tuple[str, str]]) -> Balances:
    """The balances of a Snapshot."""
    return {asset: Decimal(free) + Decimal(held) for asset, (free, held) in told.items()}


def changes(positions: NDArray[Any], instruments: NDArray[Any], rows: Iterable[int], assets: Sequence[str]) -> dict[str, Change]:
    """What each asset of the instruments `rows` has changed by, by POSITION rows of the account, one an instrument."""
    found: dict[str, Change] = {}
    for row in rows:
        position, instrument = positions[row], instruments[row]
        lot_num, lot_den = int(instrument["lot_e8_num"]), int(instrument["lot_e8_den"])
        # Of fees in the base asset the position lacks whole lots only.
        base = Decimal(int(position["position_lots"]) * lot_num - int(position["base_fee_remainder"])) / (lot_den * _E8)
        _add(found, assets[int(instrument["base_asset"])], Change(row, False, base, Decimal(lot_num) / (lot_den * _E8)))
        cash = Decimal(int(position["cash_ticklots"]) * int(instrument["ticklot_num"])) / (int(instrument["ticklot_den"]) * _E8)
        least = max(int(instrument["notional_min_e8"]), 1 + int(position["fills"]))
        fees = Decimal(int(position["fees_quote_e8"])) / _E8
        _add(found, assets[int(instrument["quote_asset"])], Change(row, True, cash - fees, Decimal(least) / _E8))
    return found


def _add(found: dict[str, Change], asset: str, change: Change) -> None:
    known = found.get(asset)
    if known is not None:
        change = known._replace(amount=known.amount + change.amount, step=max(known.step, change.step))
    found[asset] = change


def began_with(now: Balances, changed: Mapping[str, Change]) -> Balances:
    """What an account had when its session began, if what it has `now` and the ledger are both right."""
    return {asset: now.get(asset, Decimal(0)) - change.amount for asset, change in changed.items()}


def differences(began: Balances, now: Balances, changed: Mapping[str, Change]) -> list[Difference]:
    """Every asset that the venue says something else of."""
    found = []
    for asset, change in changed.items():
        venue = now.get(asset, Decimal(0)) - began.get(asset, Decimal(0))
        if abs(venue - change.amount) >= change.step:
            found.append(Difference(asset, change.row, change.is_quote, change.amount, venue))
    return found
