"""Scenario: what one seed simulates: the engine's config and the venues' simulators."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from hft.config import Config
from hft.sim.binance.venue import BinanceVenue
from hft.sim.coinbase.products import PRODUCTS
from hft.sim.coinbase.products import flow as product_flow
from hft.sim.coinbase.venue import CoinbaseVenue
from hft.sim.kraken.pairs import PAIRS
from hft.sim.kraken.pairs import flow as pair_flow
from hft.sim.kraken.venue import KrakenVenue
from hft.sim.player import Settings
from hft.sim.synthetic import SPECS, FlowSpec, SyntheticMarket
from hft.sim.venue import Venue

VENUES = ("binance", "coinbase", "kraken")
PORTS = {"binance": 1, "coinbase": 2, "kraken": 3}
UTC_OFFSET_NS = 1_800_000_000_000_000_000
#: Virtual time begins here: anything positive does.
BEGIN_NS = 100_000_000_000

ACK_TIMEOUT_MS, QUERY_PAUSE_MS, SILENCE_MS = 300, 250, 1000
_EVENTS_PER_S = 30.0

#: Each is a pair of its own: where another venue had it too, risk would ask that one's book, and its stages need not run.
_INSTRUMENTS = {
    "binance": ("BTC-USDT.BINANCE", "BTCUSDT", "0.01", "0.00001"),
    "coinbase": ("BTC-USD.COINBASE", "BTC-USD", "0.01", "0.00000001"),
    "kraken": ("BTC-EUR.KRAKEN", "BTC/EUR", "0.1", "0.00000001"),
}
#: The simulators' own: maker's, taker's.
_FEES = {"binance": ("0.001", "0.001"), "coinbase": ("0.004", "0.006"), "kraken": ("0.0025", "0.0040")}
#: What a seed may draw.
OPEN_ORDERS = ("cancel", "adopt")
_STREAM_PATHS = {"binance": "/", "coinbase": "/", "kraken": "/v2"}
_ORDER_PATHS = {"binance": "/ws-api/v3", "coinbase": "/", "kraken": "/v2"}
#: Of base, at each venue: a few orders' worth, so that the limit is met.
POSITION_MAX = "0.03"


def config_of(venues: tuple[str, ...], trader_seed: int) -> Config:
    """The engine: one instrument a venue, one strategy that trades at `venues`, tight limits, small patience.

    Every venue is in it, so that kernels are those of `configs/paper-orders.toml`; stages of others than `venues` need not run.
    """
    instruments, limits = {}, {}
    for venue in VENUES:
        name, symbol, tick, lot = _INSTRUMENTS[venue]
        instruments[name] = {"symbol": symbol, "tick": tick, "lot": lot, "min_notional": "5", "price_max": "1000000", "qty_max": "1000"}
        instruments[name] |= {"maker_fee": _FEES[venue][0], "taker_fee": _FEES[venue][1]}
        limits[name] = _limits()
    traded = [_INSTRUMENTS[venue][0] for venue in venues]
    sections = {
        "engine": {"mode": "paper", "journal_file_mb": 1},
        "venues": {venue: _venue(venue) for venue in VENUES},
        "instruments": instruments,
        "limits": limits,
        "firm": _firm(),
        "strategies": {
            "trader": {
                "code": "processes.simulate.trader",
                "instruments": traded,
                "timer_ms": 40,
                "params": {"seed": trader_seed},
            }
        },
        "execution": {venue: _execution(venue) | {"open_orders_at_start": OPEN_ORDERS[trader_seed % 2]} for venue in VENUES},
        "placement": {
            "freeze_gc": False,
            "processes": {
                "market": {"stages": [*(f"feed.{venue}" for venue in VENUES), "portfolio"], "idle": "sleeping"},
                "trade": {"stages": ["strategy.trader", "risk", *(f"execution.{venue}" for venue in VENUES)], "idle": "sleeping"},
            },
        },
    }
    return msgspec.convert(sections, Config)


def _venue(venue: str) -> dict[str, Any]:
    port = PORTS[venue]
    found = {"stream_url": f"ws://127.0.0.1:{port}{_STREAM_PATHS[venue]}", "rest_url": f"http://127.0.0.1:{port}"}
    return found | {"silence_ms": SILENCE_MS, "snapshot_levels": 100}


def _execution(venue: str) -> dict[str, Any]:
    port = PORTS[venue]
    found = {
        "kind": "venue",
        "order_url": f"ws://127.0.0.1:{port}{_ORDER_PATHS[venue]}",
        "rest_url": f"http://127.0.0.1:{port}",
        "ack_timeout_ms": ACK_TIMEOUT_MS,
        "query_pause_ms": QUERY_PAUSE_MS,
    }
    return found | ({"tier": "pro", "dead_man_s": 60} if venue == "kraken" else {})


def _limits() -> dict[str, Any]:
    return {
        "order_qty_max": "0.02",
        "order_notional_max": "10000",
        "position_max": POSITION_MAX,
        "open_orders_max": 8,
        "collar_passive_bp": 100,
        "collar_through_bp": 20,
        "book_age_max_ms": SILENCE_MS,
        "duplicate_window_ms": 100,
        "move_max_bp": 1000,
        "move_window_ms": 60000,
        "divergence_max_bp": 10_000,
        "reference_max_bp": 10_000,
        "reference_window_ms": 300_000,
        "closed_pause_ms": 100,
        "stop_loss_bp": 10_000,
        "stop_loss_action": "hold",
    }


def _firm() -> dict[str, Any]:
    return {
        "base_currency": "USD",
        "rates": {"USD": "1", "USDT": "1", "EUR": "1"},
        "gross_max": "100000",
        "net_max": "100000",
        "concentration_max_percent": 100,
        "daily_loss_max": "20000",
        "intent_age_max_ms": 50,
        "send_age_max_ms": 50,
        "strategy_orders_per_s": 200,
        "firm_orders_per_s": 200,
        "unknown_orders_max": 4,
        "fills_max": 10_000,
        "fills_window_ms": 60_000,
        "filled_expected": "1000000",
        "filled_max_percent": 500,
        "filled_window_ms": 60_000,
        "rejects_max": 10_000,
        "rejects_window_ms": 10_000,
        "late_after_us": 60_000_000,
        "late_max": 10_000,
        "late_window_ms": 1000,
        "messages_per_fill_max": 100_000,
        "messages_window_ms": 300_000,
        "fee_max_percent": 200,
        "clock_offset_max_ms": 10_000,
        "drawdown_max": "20000",
        "loss_rate_max": "20000",
        "loss_rate_window_ms": 60_000,
    }


def _market(spec: FlowSpec, seed: int) -> Callable[[], SyntheticMarket]:
    shallow = spec._replace(levels=120)
    return lambda: SyntheticMarket([shallow], [Random(seed).random], _EVENTS_PER_S, seed)


def _binance(seed: int) -> Venue:
    return BinanceVenue(_market(SPECS["BTCUSDT"], seed), Settings(), UTC_OFFSET_NS)


def _coinbase(seed: int) -> Venue:
    product = PRODUCTS["BTC-USD"]
    return CoinbaseVenue(_market(product_flow(product), seed), Settings(), UTC_OFFSET_NS, (product,), ())


def _kraken(seed: int) -> Venue:
    symbol = "BTC/EUR"
    return KrakenVenue(_market(pair_flow(PAIRS[symbol]), seed), Settings(), UTC_OFFSET_NS, (symbol,), ())


_MAKERS: dict[str, Callable[[int], Venue]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}


def make_venue(venue: str, seed: int) -> Venue:
    """A venue's simulator with a market of its own."""
    return _MAKERS[venue](seed)
