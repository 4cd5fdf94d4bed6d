"""Bookings: what a reconciliation is told of what is booked."""

from __future__ import annotations


def nothing_booked(row: int, trade_id: int) -> bool:
    """No trade is."""
    return False
