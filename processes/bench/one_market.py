"""One market: what the benchmarks of order flow trade, under limits that approve every order of theirs with all controls on."""

from __future__ import annotations

from typing import NamedTuple


class OneMarket(NamedTuple):
    """An instrument as a venue has it."""

    instrument: str
    symbol: str
    tick: str
    lot: str
    quote: str  #: asset that prices are in


BINANCE_MARKET = OneMarket("BTC-USDT.BINANCE", "BTCUSDT", "0.01", "0.00001", "USDT")

_TABLES = """\
[instruments."{instrument}"]
symbol = "{symbol}"
tick = "{tick}"
lot = "{lot}"
min_notional = "5"
price_max = "1000000"
qty_max = "9000"
maker_fee = "0.006"
taker_fee = "0.006"

[limits."{instrument}"]
order_qty_max = "0.1"
order_notional_max = "10000"
position_max = "0.5"
open_orders_max = 64
collar_passive_bp = 100
collar_through_bp = 20
book_age_max_ms = 3600000
duplicate_window_ms = 1
move_max_bp = 300
move_window_ms = 60000
divergence_max_bp = 10000
reference_max_bp = 10000
reference_window_ms = 300000
closed_pause_ms = 1
stop_loss_bp = 10000
stop_loss_action = "hold"

[firm]
base_currency = "{quote}"
rates = {{ {quote} = "1" }}
gross_max = "100000"
net_max = "100000"
concentration_max_percent = 100
daily_loss_max = "2000"
intent_age_max_ms = 60000
send_age_max_ms = 60000
strategy_orders_per_s = 1000000
firm_orders_per_s = 1000000
unknown_orders_max = 1024
fills_max = 100000
fills_window_ms = 1
filled_expected = "1000000000"
filled_max_percent = 10000
filled_window_ms = 1
rejects_max = 100000
rejects_window_ms = 1
late_after_us = 60000000
late_max = 100000
late_window_ms = 1
messages_per_fill_max = 1000000
messages_window_ms = 1
fee_max_percent = 200
clock_offset_max_ms = 1000000000000
drawdown_max = "2000"
loss_rate_max = "1000"
loss_rate_window_ms = 60000
"""


def tables_of(market: OneMarket) -> str:
    """Tables of a config in which only this market is traded."""
    return _TABLES.format(**market._asdict())


#: The tables of Binance's.
ONE_MARKET = tables_of(BINANCE_MARKET)
