"""What a stage says goes to the kernel that it was warmed with: another type would be compiled while it trades, which takes seconds."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from hft.config import load
from hft.tables import build_tables
from hft.venues.interface import Text
from processes import feed_stage, venue_stage
from processes.feed_stage import FeedStage
from processes.venue_stage import VenueStage
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
