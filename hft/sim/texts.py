"""How venues write things, and how their requests are read: numbers with all their digits, times, and JSON with exact fractions."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

SECOND_NS = 1_000_000_000

#: Decodes JSON with its fractions exact, as Decimal.
decode_json = msgspec.json.Decoder(float_hook=Decimal).decode


def fixed(units: int, decimals: int) -> str:
    """Return `units` of 10^-decimals as text with all digits."""
    whole, part = divmod(abs(units), 10**decimals)
    sign = "-" if units < 0 else ""
    return f"{sign}{whole}.{part:0{decimals}d}" if decimals else f"{sign}{whole}"


def number(units: int, decimals: int) -> msgspec.Raw:
    """Return the same as a JSON number."""
    return msgspec.Raw(fixed(units, decimals).encode())


def to_units(value: Decimal, unit: Decimal) -> int:
    """Return a value in whole units. Raises ValueError when it is none."""
    count = value / unit
    if count != count.to_integral_value():
        raise ValueError(f"{value} is no multiple of {unit}")
    return int(count)


def rfc3339(utc_ns: int) -> str:
    """Return a time with microseconds."""
    seconds, rest_ns = divmod(utc_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns // 1000:06d}Z"


def rfc3339_seconds(utc_ns: int) -> str:
    """Return a time with whole seconds."""
    return f"{datetime.fromtimestamp(utc_ns // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%SZ}"


def parse_rfc3339(text: str) -> int:
    """Return UTC in ns. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text[:40]} has no time zone")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * SECOND_NS + since.microseconds * 1000
