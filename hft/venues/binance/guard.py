"""Binance guard: cancels each symbol's orders over REST and asks for all open orders of the account.

The venue cancels a symbol at a time. The question names none, so that an order in a symbol nobody expects is seen, and then cancelled too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hft.venues.binance.signing import new_signer, rest_signed
from hft.venues.guards import Unclear, read_json
from hft.venues.interface import Call, Credentials

_MS = 1_000_000

#: A cancel that arrives late does no harm, so its window is wide; stamped this early, it is taken from a clock that is ahead, too.
_WINDOW_MS, _EARLY_MS = 10_000, 1_000

#: "Unknown order sent.": there was nothing to cancel.
_NOTHING_OPEN = -2011

#: What the question weighs, and the guardian's part of the address's 6000 a minute (see `limits`).
_QUESTION_WEIGHT, _WEIGHT_A_MINUTE = 80, 1800


class BinanceGuard:
    """Cancels and questions of one account."""

    burst, refill_ns = _WEIGHT_A_MINUTE // _QUESTION_WEIGHT, 60_000 * _MS * _QUESTION_WEIGHT // _WEIGHT_A_MINUTE

    def __init__(self, credentials: Credentials, symbols: Sequence[str], window_ms: int) -> None:
        """`window_ms` is the engine's `recvWindow`. Raises SigningKeyError."""
        self.window_ns = window_ms * _MS
        self._headers = (("X-MBX-APIKEY", credentials.key),)
        self._signer = new_signer(credentials)
        self._symbols = list(symbols)

    def cancels(self, utc_ns: int) -> list[Call]:
        """One request a symbol."""
        return [self._call("DELETE", {"symbol": symbol}, 1, utc_ns) for symbol in self._symbols]

    def question(self, utc_ns: int) -> Call:
        """All symbols at once."""
        return self._call("GET", {}, _QUESTION_WEIGHT, utc_ns)

    def _call(self, method: str, params: dict[str, Any], weight: int, utc_ns: int) -> Call:
        signed = rest_signed({**params, "recvWindow": _WINDOW_MS, "timestamp": utc_ns // _MS - _EARLY_MS}, self._signer)
        return Call(0, method, f"/api/v3/openOrders?{signed}", self._headers, weight=weight)

    def refused(self, status: int, body: bytes) -> str:
        """Why a symbol was not cancelled."""
        try:
            document = read_json(200 if status == 400 else status, body)
        except Unclear as error:
            return str(error)
        if status == 200:
            return ""
        code = document.get("code") if isinstance(document, dict) else None
        return "" if code == _NOTHING_OPEN else f"HTTP 400: {str(document)[:160]}"

    def open_orders(self, status: int, body: bytes) -> list[str]:
        """What is open; a symbol that is new among them is cancelled from now on."""
        document = read_json(status, body)
        if not isinstance(document, list) or not all(isinstance(order, dict) and "symbol" in order for order in document):
            raise Unclear(f"not a list of orders: {str(document)[:160]}")
        for order in document:
            if order["symbol"] not in self._symbols:
                self._symbols.append(str(order["symbol"]))
        return [f"{order['symbol']} {order.get('orderId')}" for order in document]
