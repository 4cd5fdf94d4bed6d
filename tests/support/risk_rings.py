"""Names of risk's stage and of its rings in `support.engine`'s config."""

from __future__ import annotations

STAGE, MARKETS, REPORTS, INTENTS, ORDERS, REFUSALS = (
    "risk",
    "market.binance.risk",
    "reports.binance.risk",
    "intents.mm.risk",
    "orders.risk.binance",
    "reports.risk.mm",
)
