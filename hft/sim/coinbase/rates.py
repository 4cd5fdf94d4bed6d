"""Coinbase's request rates: token buckets of the address for public requests and messages, of a profile for private ones."""

from __future__ import annotations

from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.rates import RateCounter

#: (at once, a second), in thousandths
PUBLIC, PRIVATE, FILLS = (15_000, 10_000), (30_000, 15_000), (20_000, 10_000)
CONNECTIONS, MESSAGES = (20_000, 8_000), (100_000, 100_000)
_ONE = 1000


class RequestRates:
    """The buckets of REST requests and of connections. All clients share one address."""

    def __init__(self, unlimited: bool) -> None:
        self._unlimited = unlimited
        self._public = RateCounter(*PUBLIC, unlimited)
        self._connections = RateCounter(*CONNECTIONS, unlimited)
        #: (account, whether of /fills) -> bucket
        self._private: dict[tuple[str, bool], RateCounter] = {}

    def public(self, now_ns: int) -> None:
        """Count a public request. Raises CoinbaseError."""
        if not self._public.fits(_ONE, now_ns):
            raise CoinbaseError(429, "Public rate limit exceeded")

    def private(self, account: str, fills: bool, now_ns: int) -> None:
        """Count a private request; `fills` have a bucket of their own. Raises CoinbaseError."""
        bucket = self._private.setdefault((account, fills), RateCounter(*(FILLS if fills else PRIVATE), self._unlimited))
        if not bucket.fits(_ONE, now_ns):
            raise CoinbaseError(429, "Private rate limit exceeded")

    def connects(self, now_ns: int) -> bool:
        """Count a connection; return whether it may be made."""
        return self._connections.fits(_ONE, now_ns)


def new_message_rate(unlimited: bool) -> RateCounter:
    """Return the bucket of a connection's messages."""
    return RateCounter(*MESSAGES, unlimited)


def message_fits(rate: RateCounter, now_ns: int) -> bool:
    """Count a message; return whether it may be said."""
    return rate.fits(_ONE, now_ns)
