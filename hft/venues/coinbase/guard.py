"""Coinbase guard: cancels all orders of the key's profile and asks for those that may still trade."""

from __future__ import annotations

from hft.venues.coinbase.signing import PENDING_NS, secret_bytes, signed_headers
from hft.venues.guards import Unclear, read_json
from hft.venues.interface import Call, Credentials

_SECOND_NS = 1_000_000_000

#: Every status of an order that may still trade.
_QUESTION = "/orders?status=open&status=pending&status=active&status=received&limit=1000"


class CoinbaseGuard:
    """Cancels and questions of one profile."""

    #: A part of the profile's 15 private requests a second.
    burst, refill_ns = 10, _SECOND_NS // 4

    def __init__(self, credentials: Credentials, window_ms: int) -> None:
        """`window_ms` is how long the venue takes an order of the engine. Raises ValueError for a secret that is not base64."""
        secret_bytes(credentials)
        self._credentials = credentials
        self.window_ns = window_ms * 1_000_000 + PENDING_NS

    def cancels(self, utc_ns: int) -> list[Call]:
        """One request for all products."""
        return [self._call("DELETE", "/orders", utc_ns)]

    def question(self, utc_ns: int) -> Call:
        """All products at once."""
        return self._call("GET", _QUESTION, utc_ns)

    def _call(self, method: str, target: str, utc_ns: int) -> Call:
        return Call(0, method, target, signed_headers(self._credentials, method, target, utc_ns))

    def refused(self, status: int, body: bytes) -> str:
        """Why nothing was cancelled."""
        try:
            read_json(status, body)
        except Unclear as error:
            return str(error)
        return ""

    def open_orders(self, status: int, body: bytes) -> list[str]:
        """What is open."""
        document = read_json(status, body)
        if not isinstance(document, list) or not all(isinstance(order, dict) and "id" in order for order in document):
            raise Unclear(f"not a list of orders: {str(document)[:160]}")
        return [f"{order.get('product_id')} {order['id']}" for order in document]
