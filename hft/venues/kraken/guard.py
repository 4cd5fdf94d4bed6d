"""Kraken guard: cancels all orders of the account and asks for the open ones.

Errors come with status 200. The nonce is this key's own, so a guardian needs a key that nothing else uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hft.venues.guards import Unclear, read_json
from hft.venues.interface import Call, Credentials
from hft.venues.kraken.rest_budget import TIERS
from hft.venues.kraken.signing import secret_bytes, signed_request


class KrakenGuard:
    """Cancels and questions of one account."""

    def __init__(self, credentials: Credentials, window_ms: int, tier: str) -> None:
        """`window_ms` is how far ahead the engine sets `deadline`. Raises ValueError for a secret that is not base64."""
        secret_bytes(credentials)
        self.window_ns = window_ms * 1_000_000
        self.burst, fall = TIERS[tier]
        self.refill_ns = 10**12 // fall
        self._credentials = credentials
        self._nonce = 0

    def cancels(self, utc_ns: int) -> list[Call]:
        """One request for all pairs."""
        return [self._call("CancelAll", utc_ns)]

    def question(self, utc_ns: int) -> Call:
        """All pairs at once."""
        return self._call("OpenOrders", utc_ns)

    def _call(self, method: str, utc_ns: int) -> Call:
        # Of a clock that was set back the nonce still rises.
        self._nonce = max(self._nonce + 1, utc_ns)
        request = signed_request(self._credentials, method, self._nonce)
        return Call(0, "POST", request.target, request.headers, request.body)

    def refused(self, status: int, body: bytes) -> str:
        """Why nothing was cancelled."""
        try:
            _result(status, body)
        except Unclear as error:
            return str(error)
        return ""

    def open_orders(self, status: int, body: bytes) -> list[str]:
        """What is open."""
        found = _result(status, body).get("open")
        if not isinstance(found, dict):
            raise Unclear(f"no open orders in the answer: {body[:160]!r}")
        return [f"{_pair(order)} {txid}" for txid, order in found.items()]


def _result(status: int, body: bytes) -> Mapping[str, Any]:
    document = read_json(status, body)
    if not isinstance(document, dict) or document.get("error") != [] or not isinstance(document.get("result"), dict):
        raise Unclear(f"HTTP 200: {str(document)[:160]}")
    result: Mapping[str, Any] = document["result"]
    return result


def _pair(order: Any) -> object:
    described = order.get("descr") if isinstance(order, dict) else None
    return described.get("pair") if isinstance(described, dict) else None
