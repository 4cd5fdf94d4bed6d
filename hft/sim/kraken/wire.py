"""How Kraken writes things: numbers with all their digits, times, and identifiers that look drawn by lot."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

SECOND_NS = 1_000_000_000
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#: Identifiers are numbers modulo 2^75, times an odd constant: every number has its own, and neighbours look unrelated.
_MODULUS, _FACTOR = 1 << 75, 0x2545F4914F6CDD1D_9E3779B97F4A7C15 & ((1 << 75) - 1)
_INVERSE = pow(_FACTOR, -1, _MODULUS)


class KrakenError(Exception):
    """A request is refused; the message is the venue's, such as `EOrder:Unknown order`."""


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


def unix_seconds(utc_ns: int) -> msgspec.Raw:
    """Return a time as REST does: seconds with a fraction, as a JSON number."""
    return number(utc_ns // 100_000, 4)


def identifier(prefix: str, count: int) -> str:
    """Return the identifier of the `count`-th thing of a kind, such as `OUF4EM-FRGI2-MQMWZD`; `prefix` is its first letter."""
    mixed = count * _FACTOR % _MODULUS
    letters = "".join(_ALPHABET[mixed >> shift & 31] for shift in range(70, -1, -5))
    return f"{prefix}{letters[:5]}-{letters[5:10]}-{letters[10:15]}{letters[0]}"


def identified(prefix: str, text: str) -> int:
    """Return the count that an identifier stands for; 0 when it is none of this kind, which no count is."""
    letters = text.replace("-", "")
    if len(text) != 19 or len(letters) != 17 or letters[0] != prefix or any(letter not in _ALPHABET for letter in letters):
        return 0
    mixed = 0
    for letter in letters[1:16]:
        mixed = mixed << 5 | _ALPHABET.index(letter)
    count = mixed * _INVERSE % _MODULUS
    return count if identifier(prefix, count) == text else 0
