"""Refusals of the simulated Binance: HTTP status, code and text as the venue words them."""

from __future__ import annotations

from collections.abc import Mapping

from hft.sim.exchange.records import Refused


class ApiError(Exception):
    """A refusal. `data` goes into the WebSocket API's error, and into the body of a REST answer to cancelReplace."""

    def __init__(self, status: int, code: int, text: str, data: Mapping[str, object] | None = None) -> None:
        super().__init__(text)
        self.status, self.code, self.text, self.data = status, code, text, data


UNAUTHORIZED = (401, -2015, "Invalid API-key, IP, or permissions for action.")
UNKNOWN_ORDER = (400, -2011, "Unknown order sent.")

#: What the exchange refuses a new order for -> the venue's answer. LOT_SIZE is MARKET_LOT_SIZE's on a market order.
NEW_ORDER: Mapping[Refused, tuple[int, int, str]] = {
    Refused.DUPLICATE_CLIENT_ID: (400, -2010, "Duplicate order sent."),
    Refused.INSUFFICIENT_FUNDS: (400, -2010, "Account has insufficient balance for requested action."),
    Refused.WOULD_TAKE: (400, -2010, "Order would immediately match and take."),
    Refused.TOO_MANY_OPEN: (400, -1013, "Filter failure: MAX_NUM_ORDERS"),
    Refused.QTY_TOO_SMALL: (400, -1013, "Filter failure: LOT_SIZE"),
    Refused.QTY_TOO_LARGE: (400, -1013, "Filter failure: LOT_SIZE"),
    Refused.PRICE_TOO_HIGH: (400, -1013, "Filter failure: PRICE_FILTER"),
    Refused.NOTIONAL_TOO_SMALL: (400, -1013, "Filter failure: NOTIONAL"),
    Refused.STATUS: (400, -2010, "Market is closed."),
    Refused.UNKNOWN_ORDER: UNKNOWN_ORDER,
}
