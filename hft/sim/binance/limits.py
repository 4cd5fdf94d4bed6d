"""Limits of the simulated Binance: request weight and raw requests of an address, unfilled orders of an account.

Windows are aligned to the wall clock: a minute's weight is gone with the minute. An unfilled order counts once when it is accepted;
its first fill gives one count back to a taker and five to a maker, so those whose orders fill can keep trading.
"""

from __future__ import annotations

from collections.abc import Mapping

from hft.sim.binance.errors import ApiError

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
WEIGHT_MAX = 6000
RAW_REQUESTS_MAX = 300_000
ORDERS_10S_MAX, ORDERS_DAY_MAX = 100, 200_000
TAKER_CREDIT, MAKER_CREDIT = 1, 5
#: Requests beyond the limit that are answered with 429 before the address is banned.
PATIENCE = 20
BAN_NS = 120 * SECOND_NS

RATE_LIMITS: tuple[Mapping[str, object], ...] = (
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_MAX},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": ORDERS_10S_MAX},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": ORDERS_DAY_MAX},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": RAW_REQUESTS_MAX},
)


class Window:
    """A count that starts again with each period of the wall clock."""

    __slots__ = ("_number", "_period_ns", "used")

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._number = -1
        self.used = 0

    def add(self, count: int, utc_ns: int) -> int:
        """Count up or down, never below 0; return what is used in this period."""
        number = utc_ns // self._period_ns
        if number != self._number:
            self._number, self.used = number, 0
        self.used = max(0, self.used + count)
        return self.used

    def end_ns(self, utc_ns: int) -> int:
        """Return when the period is over."""
        return (utc_ns // self._period_ns + 1) * self._period_ns


class AddressLimits:
    """What one address used. Everybody on loopback is one address."""

    def __init__(self, unlimited: bool) -> None:
        """`unlimited` counts but never refuses."""
        self._unlimited = unlimited
        self.weight = Window(MINUTE_NS)
        self._raw = Window(5 * MINUTE_NS)
        self._over = 0
        self._banned_until_ns = 0

    def charge(self, weight: int, utc_ns: int) -> None:
        """Count a request before it is looked at. Raises ApiError beyond the limits."""
        if self._unlimited:
            if weight:
                self.weight.add(weight, utc_ns)
            return
        if utc_ns < self._banned_until_ns:
            raise banned(self._banned_until_ns, utc_ns)
        raw = self._raw.add(1, utc_ns)
        if self.weight.add(weight, utc_ns) <= WEIGHT_MAX and raw <= RAW_REQUESTS_MAX:
            self._over = 0
            return
        self._over += 1
        if self._over > PATIENCE:
            self._over, self._banned_until_ns = 0, utc_ns + BAN_NS
            raise banned(self._banned_until_ns, utc_ns)
        text = f"Too much request weight used; current limit is {WEIGHT_MAX} request weight per 1 MINUTE."
        if raw > RAW_REQUESTS_MAX:
            text = f"Too many requests; current limit is {RAW_REQUESTS_MAX} requests per 5 MINUTE."
        raise ApiError(429, -1003, text, retry_data(self.weight.end_ns(utc_ns), utc_ns))

    def charge_failed(self, weight: int, utc_ns: int) -> None:
        """Count a request that would have cost nothing had it succeeded."""
        self.weight.add(weight, utc_ns)


class OrderLimits:
    """How many unfilled orders an account has placed."""

    def __init__(self, unlimited: bool) -> None:
        self._unlimited = unlimited
        self.ten_seconds, self.day = Window(10 * SECOND_NS), Window(86_400 * SECOND_NS)

    def exceeded(self, utc_ns: int) -> ApiError | None:
        """Return the refusal of one more order, if there is no room."""
        if self._unlimited:
            return None
        used_10s, used_day = self.ten_seconds.add(0, utc_ns), self.day.add(0, utc_ns)
        if used_10s < ORDERS_10S_MAX and used_day < ORDERS_DAY_MAX:
            return None
        limit, window = (f"{ORDERS_10S_MAX} orders per 10 SECOND", self.ten_seconds)
        if used_day >= ORDERS_DAY_MAX:
            limit, window = (f"{ORDERS_DAY_MAX} orders per 1 DAY", self.day)
        return ApiError(429, -1015, f"Too many new orders; current limit is {limit}.", retry_data(window.end_ns(utc_ns), utc_ns))

    def add(self, count: int, utc_ns: int) -> None:
        """Count orders accepted (positive) or credited (negative)."""
        self.ten_seconds.add(count, utc_ns)
        self.day.add(count, utc_ns)

    def text(self, utc_ns: int) -> str:
        """Return both counts as the WebSocket API reports them, in JSON without brackets."""
        used_10s, used_day = self.ten_seconds.add(0, utc_ns), self.day.add(0, utc_ns)
        return (
            f'{{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":{ORDERS_10S_MAX},"count":{used_10s}}},'
            f'{{"rateLimitType":"ORDERS","interval":"DAY","intervalNum":1,"limit":{ORDERS_DAY_MAX},"count":{used_day}}}'
        )


def retry_data(retry_after_ns: int, utc_ns: int) -> dict[str, object]:
    """Return what a refusal for too much says of time, in ms."""
    return {"serverTime": utc_ns // 1_000_000, "retryAfter": retry_after_ns // 1_000_000}


def banned(until_ns: int, utc_ns: int) -> ApiError:
    """Return the refusal of an address that is banned."""
    until_ms = until_ns // 1_000_000
    text = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams for live updates to avoid bans."
    return ApiError(418, -1003, text, retry_data(until_ns, utc_ns))
