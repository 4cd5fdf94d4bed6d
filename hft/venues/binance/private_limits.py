"""Binance private limits: what replies tell of the venue's counts, and when it answers again.

"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":50,"count":12}]
"data":{"serverTime":1659142907531,"retryAfter":1659146400000}
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.binance.limits import (
    BANNED_UNTIL_NS,
    ORDERS_10S,
    ORDERS_DAY,
    RAW,
    UTC_OFFSET_NS,
    WEIGHT,
    WINDOW_NS,
    WORDS,
    learn,
    learn_ban,
)
from hft.venues.binance.private_fields import BAD, read_key, read_word
from hft.venues.binance.private_words import (
    INTERVAL_S,
    L_INTERVAL,
    L_LIMIT,
    L_LIMIT_TYPE,
    LIMIT_COUNT,
    LIMIT_INTERVAL,
    LIMIT_INTERVAL_NUM,
    LIMIT_LIMIT,
    LIMIT_TYPE,
    P_LIMIT,
    RETRY_AFTER,
    SERVER_TIME,
    PrivateWords,
    list_of,
)
from hft.venues.members import UNKNOWN, first_element, next_element, note_members
from shm.jit import njit

_MS, _SECOND_NS = 1_000_000, 1_000_000_000
_BANNED, _TOO_MANY, _TOO_MUCH_WEIGHT = 418, 429, -1003


@njit
def learn_limits(words: PrivateWords, limits: NDArray[Any], data: NDArray[Any], start: int, end: int, received_ns: int) -> bool:
    """Learn the counts that a reply tells; False if they are not as documented."""
    place = words.places[P_LIMIT]
    at, more = first_element(data, start, end)
    while more:
        past = note_members(list_of(words, L_LIMIT), data, at, end, place)
        if past < 0:
            return False
        kind = read_word(words, L_LIMIT_TYPE, data, place[LIMIT_TYPE], end)
        interval = read_word(words, L_INTERVAL, data, place[LIMIT_INTERVAL], end)
        number, limit = read_key(data, place[LIMIT_INTERVAL_NUM], end), read_key(data, place[LIMIT_LIMIT], end)
        count = read_key(data, place[LIMIT_COUNT], end)
        if kind == BAD or interval == BAD or number < 0 or limit < 0 or count < 0:
            return False
        if kind != UNKNOWN and interval != UNKNOWN:
            row = _window_of(kind, INTERVAL_S[interval] * number)
            if row >= 0 and limits[row, WINDOW_NS] == INTERVAL_S[interval] * number * _SECOND_NS:
                learn(limits, row, limit, count, received_ns)
        at, more = next_element(data, past, end)
    return at >= 0


@njit
def _window_of(kind: int, interval_s: int) -> int:
    """Row of the limits table for a limit's type and seconds, or -1."""
    if kind == 0:
        return WEIGHT
    if kind == 1:
        return RAW
    return ORDERS_10S if interval_s == 10 else ORDERS_DAY if interval_s == 86_400 else -1


@njit
def read_retry(
    words: PrivateWords, limits: NDArray[Any], data: NDArray[Any], at: NDArray[Any], end: int, status: int, code: int, received_ns: int
) -> int:
    """Read when requests may be made again, and keep to it: how long from now, 0 if it does not say, -1 if it is not as documented."""
    if at[RETRY_AFTER] < 0:
        return hold_back(limits, status, code, received_ns) if status == _TOO_MANY or status == _BANNED else 0
    until_ms = read_key(data, at[RETRY_AFTER], end)
    if until_ms < 0:
        return -1
    if status == _BANNED or code == _TOO_MUCH_WEIGHT:
        learn_ban(limits, until_ms * _MS)
    utc_ns = received_ns + limits[WORDS, UTC_OFFSET_NS]
    if at[SERVER_TIME] >= 0:
        server_ms = read_key(data, at[SERVER_TIME], end)
        if server_ms < 0:
            return -1
        utc_ns = server_ms * _MS
    return max(0, until_ms * _MS - utc_ns)


@njit
def hold_back(limits: NDArray[Any], status: int, code: int, received_ns: int) -> int:
    """A throttled reply without a time: nothing leaves before the next window of the weight. How long that is."""
    if status != _BANNED and code != _TOO_MUCH_WEIGHT:
        return 0
    utc_ns = received_ns + limits[WORDS, UTC_OFFSET_NS]
    window_ns = limits[WEIGHT, WINDOW_NS]
    learn_ban(limits, utc_ns - utc_ns % window_ns + window_ns)
    return max(0, limits[WORDS, BANNED_UNTIL_NS] - utc_ns)
