"""Coinbase's keys: what each may do, and the signatures of REST requests and of socket subscriptions.

The default customers are alice and bob. The secret of every built-in key is the base64 of the key's name, its passphrase the name of the
account.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, NamedTuple

import msgspec

from hft.sim.coinbase.products import CASH, MAKER_RATE, TAKER_RATE
from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.exchange.customers import ALL, Customer, CustomersError, KeySpec
from hft.sim.texts import SECOND_NS

#: How far a request's time may be from the venue's.
WINDOW_NS = 30 * SECOND_NS
#: Digits that a time may have before or behind its point.
DIGITS_MAX = 20
VERIFY_PATH = "/users/self/verify"
HEADERS = ("cb-access-key", "cb-access-sign", "cb-access-timestamp", "cb-access-passphrase")
ALICE_KEY = "alice-trade"
#: A second key with which alice may do all: the venue has none that may only cancel.
ALICE_GUARDIAN_KEY = "alice-guardian"


class Permission(Enum):
    """What a key may be allowed."""

    VIEW = "view"
    TRADE = "trade"


class Key(NamedTuple):
    """An API key of an account."""

    name: str  #: as it is sent
    secret: str  #: base64
    passphrase: str
    account: str
    permissions: frozenset[Permission]

    def require(self, *any_of: Permission) -> None:
        """Raise CoinbaseError unless the key has one of the permissions."""
        if not self.permissions.intersection(any_of):
            raise CoinbaseError(403, "Forbidden")


def secret_of(name: str) -> str:
    """Return the secret of a built-in key."""
    return base64.b64encode(name.encode()).decode()


def default_customers(currencies: Iterable[str]) -> tuple[Customer, ...]:
    """Return alice and bob with plenty of each currency, and their keys `<name>-trade`, `<name>-guardian` and `<name>-view`."""
    balances = {currency: "100000000" if currency in CASH else "100000" for currency in sorted(set(currencies))}

    def key(account: str, name: str, permissions: tuple[str, ...]) -> KeySpec:
        spec = {"key": name, "secret": secret_of(name), "passphrase": account, "permissions": permissions}
        return msgspec.convert(spec, KeySpec)

    return tuple(
        Customer(
            name=name,
            balances=balances,
            maker_rate=MAKER_RATE,
            taker_rate=TAKER_RATE,
            keys=(key(name, f"{name}-trade", ALL), key(name, f"{name}-guardian", ALL), key(name, f"{name}-view", ("read",))),
        )
        for name in ("alice", "bob")
    )


def keys_of(customers: Iterable[Customer]) -> list[Key]:
    """Return the keys of customers. Raises CustomersError when a secret is not base64, or a passphrase is missing.

    The venue has no permission to cancel only: `cancel` without `trade` allows nothing.
    """
    keys = []
    for customer in customers:
        for spec in customer.keys:
            try:
                base64.b64decode(spec.secret, validate=True)
            except ValueError as error:
                raise CustomersError(f"{customer.name}: the secret of key {spec.key} is not base64") from error
            if not spec.passphrase:
                raise CustomersError(f"{customer.name}: key {spec.key} has no passphrase")
            allowed = {"read": Permission.VIEW, "trade": Permission.TRADE}
            permissions = frozenset(allowed[name] for name in spec.permissions if name in allowed)
            keys.append(Key(spec.key, spec.secret, spec.passphrase, customer.name, permissions))
    return keys


def sign(secret: str, timestamp: str, method: str, target: str, body: bytes = b"") -> str:
    """Return the signature of a request; `target` is the path with its query."""
    message = f"{timestamp}{method}{target}".encode() + body
    return base64.b64encode(hmac.digest(base64.b64decode(secret), message, "sha256")).decode()


def _time_ns(text: str) -> int:
    """Return a time given in seconds. Raises CoinbaseError."""
    try:
        seconds = Decimal(text)
        if not seconds.is_finite() or abs(seconds.adjusted()) > DIGITS_MAX:
            raise CoinbaseError(401, "invalid timestamp")
    except InvalidOperation as error:
        raise CoinbaseError(401, "invalid timestamp") from error
    return int(seconds * SECOND_NS)


class Keyring:
    """All keys."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.name: key for key in keys}

    def authenticate(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Key:
        """Return the key that signed a REST request. Raises CoinbaseError."""
        for name in HEADERS:
            if not headers.get(name):
                raise CoinbaseError(401, f"{name.upper()} header is required")
        key, signature, timestamp, passphrase = (headers[name] for name in HEADERS)
        return self._check(key, signature, timestamp, passphrase, (method, target, body), now_ns)

    def authenticate_message(self, message: Mapping[str, Any], now_ns: int) -> Key:
        """Return the key that signed a socket's `subscribe`. Raises CoinbaseError."""
        # Clients send the time as text or as a number.
        key, signature, timestamp, passphrase = (str(message.get(name, "")) for name in ("key", "signature", "timestamp", "passphrase"))
        return self._check(key, signature, timestamp, passphrase, ("GET", VERIFY_PATH, b""), now_ns)

    def _check(self, name: str, signature: str, timestamp: str, passphrase: str, request: tuple[str, str, bytes], now_ns: int) -> Key:
        if abs(now_ns - _time_ns(timestamp)) > WINDOW_NS:
            raise CoinbaseError(401, "request timestamp expired")
        key = self._keys.get(name)
        if key is None:
            raise CoinbaseError(401, "Invalid API Key")
        method, target, body = request
        if not hmac.compare_digest(sign(key.secret, timestamp, method, target, body).encode(), signature.encode()):
            raise CoinbaseError(401, "invalid signature")
        if not hmac.compare_digest(key.passphrase.encode(), passphrase.encode()):
            raise CoinbaseError(401, "Invalid Passphrase")
        return key
