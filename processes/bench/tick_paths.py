"""Tick paths: the venues whose way from market data to an order the tick-to-trade benchmark measures."""

from __future__ import annotations

from collections.abc import Mapping

from processes.bench.tick_binance import BINANCE
from processes.bench.tick_coinbase import COINBASE
from processes.bench.tick_kraken import KRAKEN
from processes.bench.tick_path import VenuePath

#: name on the command line -> path
PATHS: Mapping[str, VenuePath] = {path.venue: path for path in (BINANCE, KRAKEN, COINBASE)}
