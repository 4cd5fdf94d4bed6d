"""What cold code calls is compiled before it trades: seconds without a heartbeat are taken for a process that hangs."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from hft.breakers import rearm
from hft.config import load
from hft.counting import count_report
from hft.fill_rate import forget
from hft.ledger import apply_fill
from hft.tables import build_tables
from hft.venues.binance import limits as binance_limits
from hft.venues.binance.orders import asked_place
from hft.venues.coinbase import limits as coinbase_limits
from hft.venues.coinbase.remembered import order_of
from hft.venues.coinbase.uuids import venue_key
from hft.venues.interface import Text
from hft.venues.kraken.ids import id_bits
from hft.venues.kraken.private_tables import amend_place, note_filled, remember
from processes import feed_stage, venue_stage
from processes.carried import warm_counting
from processes.feed_stage import FeedStage
from processes.recovery import warm_recovery
from processes.venue_stage import VenueStage
from shm.jit import JIT_ENABLED
from support.live_engine import ROOT


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Types of what is queued on any connection."""
    types: list[Any] = []

    def queue(wire: Any, lane: int, source: Any, offset: int, length: int) -> int:
        types.append(numba.typeof(source))
        return 1

    for module in (feed_stage, venue_stage):
        monkeypatch.setattr(module, "queue_text", queue)
    return types


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_texts_are_of_the_type_that_sending_was_compiled_for(venue: str, queued: list[Any]) -> None:
    config = load(ROOT / "configs" / "paper-orders.toml")
    topology, tables = config.topology(), build_tables(config)
    feed = FeedStage(topology.stage(f"feed.{venue}"), config, tables)
    feed._say([Text(b"{}")], feed.wire)
    VenueStage(topology.stage(f"execution.{venue}"), config, tables)._say([Text(b"{}")])
    assert queued == [numba.typeof(np.zeros(2, np.uint8))] * 2


CALLED = {
    "binance": (binance_limits.learn_ban, binance_limits.note_weight, asked_place),
    "coinbase": (coinbase_limits.learn, order_of, venue_key),
    "kraken": (remember, note_filled, amend_place, id_bits),
}


@pytest.mark.parametrize("venue", list(CALLED))
@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_an_account_is_warmed_with_every_kernel_that_it_calls(venue: str) -> None:
    config = load(ROOT / "configs" / "paper-orders.toml")
    VenueStage(config.topology().stage(f"execution.{venue}"), config, build_tables(config)).desk.account.warm()
    assert all(kernel.signatures for kernel in CALLED[venue])


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_recovery_is_warmed_with_the_kernel_that_books_fills() -> None:
    warm_recovery(build_tables(load(ROOT / "configs" / "paper-orders.toml")))
    assert apply_fill.signatures


@pytest.mark.skipif(not JIT_ENABLED, reason="nothing is compiled")
def test_recovery_is_warmed_with_the_kernels_that_count_again() -> None:
    warm_counting(build_tables(load(ROOT / "configs" / "paper-orders.toml")))
    assert all(kernel.signatures for kernel in (count_report, rearm, forget))
