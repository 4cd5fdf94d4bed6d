"""Agreement: whether an engine and its venue say the same of the account: balances, positions, open orders."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from hft.tables import Tables
from processes.chaos.ledger import Ledger, Open

Balances = dict[str, Decimal]

#: venue -> by how much a fee in the quote asset may differ from what the venue booked: this one tells the rate of a fill, not its fee
_FEE_ROUNDING = {"COINBASE": Decimal("1e-8")}


def balances_of(account: dict[str, Any]) -> Balances:
    """Return what an account has of each asset, held or not."""
    return {asset: Decimal(amount["free"]) + Decimal(amount["hold"]) for asset, amount in account["balances"].items()}


def open_orders_of(account: dict[str, Any]) -> Counter[Open]:
    """Return the open orders of an account; ids aside, which an order changed in place keeps at the venue alone."""
    return Counter(
        Open(order["symbol"], order["side"], Decimal(order["price"]), Decimal(order["qty"]) - Decimal(order["filled"]))
        for order in account["open_orders"]
    )


def differences(ledger: Ledger, tables: Tables, account: dict[str, Any], began: Balances, positions: list[dict[str, Any]]) -> list[str]:
    """Say, for people, in what an engine differs from its venue's account, which had `began`; nothing if they agree.

    `account` is the venue's, `positions` what the engine's status says of the firm.
    """
    found = []
    now, roundings = balances_of(account), _roundings(ledger, tables)
    for asset in sorted(now.keys() | ledger.moved.keys()):
        there = now.get(asset, Decimal(0)) - began.get(asset, Decimal(0))
        if abs(there - ledger.moved.get(asset, Decimal(0))) > roundings.get(asset, Decimal(0)):
            found.append(f"{asset}: the venue moved {there}, fills say {ledger.moved.get(asset, Decimal(0))}")
    here, there_open = Counter(ledger.open.values()), open_orders_of(account)
    found += [f"open only here: {_text(order)}" for order in (here - there_open).elements()]
    found += [f"open only at the venue: {_text(order)}" for order in (there_open - here).elements()]
    if ledger.unknown:
        found.append(f"{ledger.unknown} orders unknown")
    for position in positions:
        row = tables.instruments.index(position["instrument"])
        # Fees taken in the base asset are owed until they make a lot.
        if abs(Decimal(position["position"]) - ledger.positions.get(row, Decimal(0))) >= ledger.step(row):
            found.append(f"{position['instrument']}: position {position['position']}, fills say {ledger.positions[row]}")
    return found


def _roundings(ledger: Ledger, tables: Tables) -> Balances:
    """By how much each quote asset may be off after so many fills; at venues that tell fees, not at all."""
    quotes = {name.rpartition(".")[0].rpartition("-")[2]: name.rpartition(".")[2] for name in tables.instruments}
    return {quote: _FEE_ROUNDING.get(venue, Decimal(0)) * len(ledger.trade_ids) for quote, venue in quotes.items()}


def _text(order: Open) -> str:
    return f"{order.side} {order.leaves} {order.symbol} at {order.price}"
