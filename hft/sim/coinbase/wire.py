"""How Coinbase writes things: errors, ids that look drawn by lot, times and amounts."""

from __future__ import annotations

import hashlib

from hft.sim.texts import fixed, rfc3339

#: Decimals of prices and sizes in answers about orders, and of money.
ORDER_DECIMALS, MONEY_DECIMALS = 8, 16

#: A UUID of version 4 has this many bits that say something; ids are numbers times an odd constant, so neighbours look unrelated.
_BITS = 122
_MODULUS = 1 << _BITS
_FACTOR = 0x2545F4914F6CDD1D_9E3779B97F4A7C15 & (_MODULUS - 1)
_INVERSE = pow(_FACTOR, -1, _MODULUS)
_LOW_BITS, _MIDDLE_BITS = 62, 12
UUID_LENGTH = 36


class CoinbaseError(Exception):
    """A request is refused; the message is the venue's, such as `Insufficient funds`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def uuid_of(count: int) -> str:
    """Return the id of the `count`-th thing."""
    mixed = count * _FACTOR % _MODULUS
    low, middle, high = mixed & ((1 << _LOW_BITS) - 1), mixed >> _LOW_BITS & 0xFFF, mixed >> (_LOW_BITS + _MIDDLE_BITS)
    digits = f"{high:012x}4{middle:03x}{2 << _LOW_BITS | low:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def count_of(text: str) -> int:
    """Return the count that an id stands for; 0 when it is none of ours, which no count is."""
    if not is_uuid(text):
        return 0
    number = int(text.replace("-", ""), 16)
    low, middle, high = number & ((1 << _LOW_BITS) - 1), number >> 64 & 0xFFF, number >> 80
    count = (high << (_LOW_BITS + _MIDDLE_BITS) | middle << _LOW_BITS | low) * _INVERSE % _MODULUS
    return count if uuid_of(count) == text.lower() else 0


def is_uuid(text: str) -> bool:
    """Return whether a text has the form of a UUID."""
    parts = text.split("-")
    digits = "".join(parts)
    return (
        [len(part) for part in parts] == [8, 4, 4, 4, 12]
        and digits.isascii()
        and all(digit in "0123456789abcdefABCDEF" for digit in digits)
    )


def named_uuid(name: str) -> str:
    """Return the id that goes with a name."""
    return uuid_of(int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], "big") | 1)


def user_id(account: str) -> str:
    """Return the id of an account's user, 24 hex digits."""
    return hashlib.sha256(f"user {account}".encode()).hexdigest()[:24]


def profile_id(account: str) -> str:
    """Return the id of an account's only profile."""
    return named_uuid(f"profile {account}")


def money(amount_e8: int) -> str:
    """Return an amount of money with all the venue's digits."""
    return fixed(amount_e8 * 10 ** (MONEY_DECIMALS - 8), MONEY_DECIMALS)


def rate_text(rate_e8: int) -> str:
    """Return a fee rate, such as `0.004`."""
    text = fixed(rate_e8, 8).rstrip("0")
    return text + "0" if text.endswith(".") else text


def milliseconds(utc_ns: int) -> str:
    """Return a time with milliseconds, as REST writes them."""
    return rfc3339(utc_ns)[:-4] + "Z"
