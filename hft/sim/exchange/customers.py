"""Customers: who has an account at a simulated venue, what is on it, and which keys speak for it.

A file of them is JSON: `[{"name":"alice","balances":{"BTC":"10"},"maker_rate":"0.001","taker_rate":"0.001","keys":[{"key":"…",
"secret":"…"}]}]`. What a key needs depends on the venue: `secret` for HMAC, `public_key` (PEM or its base64 body) for Ed25519,
`passphrase` where there is one.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hft.sim.exchange.records import Account

Permission = Literal["read", "trade", "cancel"]
#: What a key may do unless its specification says otherwise; `trade` includes `cancel`.
ALL: tuple[Permission, ...] = ("read", "trade", "cancel")


class KeySpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key."""

    key: str
    secret: str = ""
    public_key: str = ""
    passphrase: str = ""
    permissions: tuple[Permission, ...] = ALL


class Customer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account and its keys; numbers are decimal text."""

    name: str
    balances: dict[str, str] = {}
    maker_rate: str = "0.001"
    taker_rate: str = "0.001"
    keys: tuple[KeySpec, ...] = ()

    def account(self) -> Account:
        """Return a fresh account."""
        return Account(self.name, self.balances, self.maker_rate, self.taker_rate)


class CustomersError(ValueError):
    """A file of customers is not valid; the message says where."""


def decode_customers(body: bytes) -> tuple[Customer, ...]:
    """Return the customers of a file. Raises CustomersError."""
    try:
        customers = msgspec.json.decode(body, type=tuple[Customer, ...])
        for customer in customers:
            customer.account()
    except (msgspec.MsgspecError, UnicodeDecodeError, ArithmeticError) as error:
        raise CustomersError(str(error) or "a number is not decimal text") from error
    if len({customer.name for customer in customers}) != len(customers) or not customers:
        raise CustomersError("expected at least one customer, each name once")
    return customers
