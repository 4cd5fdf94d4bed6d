"""Desks: opens a venue's order entry: its codec for kernels and its account session for cold code.

Venues are imported when they are asked for, so that whoever trades one does not load the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hft.config import VenueExecution
from hft.tables import Tables
from hft.venues.interface import AccountSession, Credentials


class Desk(NamedTuple):
    """A venue's order entry."""

    codec: Any  #: see `hft/venues/codecs.py`
    account: AccountSession
    http_orders: bool  #: whether orders are HTTP requests; the WebSocket then only tells what became of them
    window_ns: int  #: how long after it was sent a request may still come to be known: until then NOT_FOUND proves nothing


class DeskOrder(NamedTuple):
    """What a desk is opened with."""

    section: VenueExecution
    tables: Tables
    rows: list[int]  #: the venue's instrument rows
    credentials: Credentials
    installation: int  #: 63 bits that tell this installation's orders from others' at the same account


def open_desk(venue: str, order: DeskOrder) -> Desk:
    """Open the order entry of a venue. Raises KeyError for a venue without one."""
    return _OPENERS[venue](order)


def _binance(order: DeskOrder) -> Desk:
    from hft.venues.binance.account import BinanceAccount
    from hft.venues.binance.orders import new_codec

    tables, section, rows = order.tables, order.section, order.rows
    symbols = [tables.symbols[row] for row in rows]
    codec = new_codec(
        tables.instrument_rows,
        symbols,
        rows,
        tables.assets,
        credentials=order.credentials,
        recv_window_ms=section.request_window_ms,
    )
    account = BinanceAccount(order.credentials, codec, symbols, rows, tables.assets, section.order_url)
    return Desk(codec, account, False, section.request_window_ms * 1_000_000)


def _coinbase(order: DeskOrder) -> Desk:
    from hft.http_client import parse_url
    from hft.venues.coinbase.account import CoinbaseAccount
    from hft.venues.coinbase.orders import new_codec
    from hft.venues.coinbase.signing import PENDING_NS

    tables, section, rows = order.tables, order.section, order.rows
    symbols = [tables.symbols[row] for row in rows]
    host = parse_url(section.rest_url, ("http", "https")).authority
    codec = new_codec(tables.instrument_rows, symbols, rows, order.credentials, host, order.installation, section.request_window_ms)
    account = CoinbaseAccount(order.credentials, codec, symbols, rows, section.order_url)
    return Desk(codec, account, True, section.request_window_ms * 1_000_000 + PENDING_NS)


def _kraken(order: DeskOrder) -> Desk:
    from hft.venues.kraken.account import KrakenAccount
    from hft.venues.kraken.orders import new_codec

    tables, section, rows = order.tables, order.section, order.rows
    symbols = [tables.symbols[row] for row in rows]
    codec = new_codec(tables.instrument_rows, symbols, rows, section.request_window_ms, tier=section.tier)
    dead_man_s = section.dead_man_s or 0
    account = KrakenAccount(order.credentials, codec, symbols, rows, section.order_url, tier=section.tier, dead_man_s=dead_man_s)
    return Desk(codec, account, False, section.request_window_ms * 1_000_000)


_OPENERS: Mapping[str, Callable[[DeskOrder], Desk]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}
