"""How Kraken writes things: times in seconds, and identifiers that look drawn by lot."""

from __future__ import annotations

import msgspec

from hft.sim.texts import number

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#: Identifiers are numbers modulo 2^75, times an odd constant: every number has its own, and neighbours look unrelated.
_MODULUS, _FACTOR = 1 << 75, 0x2545F4914F6CDD1D_9E3779B97F4A7C15 & ((1 << 75) - 1)
_INVERSE = pow(_FACTOR, -1, _MODULUS)


class KrakenError(Exception):
    """A request is refused; the message is the venue's, such as `EOrder:Unknown order`."""


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
