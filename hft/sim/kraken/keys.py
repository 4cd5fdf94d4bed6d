"""Kraken's keys: what each may do, signatures and nonces of REST, and the tokens that sockets work with.

The default customers are alice and bob. Alice's first key has the secret that the venue's documentation publishes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from hft.sim.exchange.customers import ALL, Customer, CustomersError, KeySpec
from hft.sim.kraken.pairs import MAKER_RATE, TAKER_RATE
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS, decode_json

TOKEN_LIFE_NS = 900 * SECOND_NS
NONCE_MAX = 2**64


class Permission(Enum):
    """What a key may be allowed."""

    FUNDS = "query funds"
    OPEN = "query open orders and trades"
    CLOSED = "query closed orders and trades"
    MODIFY = "create and modify orders"
    CANCEL = "cancel and close orders"
    SOCKET = "access the WebSockets API"


class Key(NamedTuple):
    """An API key of an account."""

    name: str  #: as it is sent
    secret: str  #: base64
    account: str
    permissions: frozenset[Permission]

    def require(self, *any_of: Permission) -> None:
        """Raise KrakenError unless the key has one of the permissions."""
        if not self.permissions.intersection(any_of):
            raise KrakenError("EGeneral:Permission denied")


#: Key and secret of alice for tests; the secret is the one of the example in the venue's documentation.
ALICE_KEY = "alice-trade"
ALICE_SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
_ALLOWED: Mapping[str, tuple[Permission, ...]] = {
    "read": (Permission.FUNDS, Permission.OPEN, Permission.CLOSED),
    "trade": (Permission.MODIFY, Permission.CANCEL),
    "cancel": (Permission.CANCEL,),
}


def secret_of(name: str) -> str:
    """Return the secret of a key for tests other than alice's first: the base64 of the key's name."""
    return base64.b64encode(name.encode()).decode()


def default_customers(assets: Iterable[str]) -> tuple[Customer, ...]:
    """Return alice and bob with plenty of each asset, and their keys `<name>-trade`, `<name>-read-only` and `<name>-cancel-only`."""
    balances = {asset: "100000000" if asset in ("USD", "EUR") else "100000" for asset in sorted(set(assets))}

    def key(name: str, permissions: tuple[str, ...]) -> KeySpec:
        return msgspec.convert({"key": name, "secret": secret_of(name), "permissions": permissions}, KeySpec)

    def keys(name: str) -> tuple[KeySpec, ...]:
        trade = KeySpec(key=ALICE_KEY, secret=ALICE_SECRET) if name == "alice" else key(f"{name}-trade", ALL)
        return trade, key(f"{name}-read-only", ("read",)), key(f"{name}-cancel-only", ("read", "cancel"))

    return tuple(
        Customer(name=name, balances=balances, maker_rate=MAKER_RATE, taker_rate=TAKER_RATE, keys=keys(name)) for name in ("alice", "bob")
    )


def keys_of(customers: Iterable[Customer]) -> list[Key]:
    """Return the keys of customers. Raises CustomersError when a secret is not base64."""
    keys = []
    for customer in customers:
        for spec in customer.keys:
            try:
                base64.b64decode(spec.secret, validate=True)
            except ValueError as error:
                raise CustomersError(f"{customer.name}: the secret of key {spec.key} is not base64") from error
            allowed = {Permission.SOCKET, *(permission for name in spec.permissions for permission in _ALLOWED[name])}
            keys.append(Key(spec.key, spec.secret, customer.name, frozenset(allowed)))
    return keys


def sign(secret: str, path: str, nonce: str, body: bytes) -> str:
    """Return the `API-Sign` of a request."""
    message = path.encode() + hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(hmac.digest(base64.b64decode(secret), message, "sha512")).decode()


def form(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the fields of a body: of a form text, of JSON anything. Raises KrakenError."""
    try:
        if headers.get("content-type", "").startswith("application/json"):
            fields = decode_json(body or b"{}")
        else:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KrakenError("EGeneral:Invalid arguments") from error
    if not isinstance(fields, dict):
        raise KrakenError("EGeneral:Invalid arguments")
    return fields


class Keyring:
    """All keys, their last nonces, and the tokens they were given."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.name: key for key in keys}
        self._nonces: dict[str, int] = {}
        #: token -> key, and when it ends unless a subscription lives
        self._tokens: dict[str, tuple[Key, int]] = {}

    def authenticate(self, path: str, headers: Mapping[str, str], fields: Mapping[str, Any], body: bytes) -> Key:
        """Return the key that signed a request. Raises KrakenError. The nonce is spent only by a true signature."""
        key = self._keys.get(headers.get("api-key", ""))
        if key is None:
            raise KrakenError("EAPI:Invalid key")
        nonce = str(fields.get("nonce", ""))
        if not nonce.isascii() or not nonce.isdigit() or int(nonce) >= NONCE_MAX:
            raise KrakenError("EAPI:Invalid nonce")
        signature = headers.get("api-sign", "")
        if not hmac.compare_digest(sign(key.secret, path, nonce, body).encode(), signature.encode()):
            raise KrakenError("EAPI:Invalid signature")
        if int(nonce) <= self._nonces.get(key.name, -1):
            raise KrakenError("EAPI:Invalid nonce")
        self._nonces[key.name] = int(nonce)
        return key

    def new_token(self, key: Key, now_ns: int) -> str:
        """Return a fresh token for sockets."""
        count = len(self._tokens) + 1
        digest = hashlib.sha256(f"{key.name}:{count}".encode()).digest()
        token = base64.b64encode(digest).decode().rstrip("=")
        self._tokens[token] = (key, now_ns + TOKEN_LIFE_NS)
        return token

    def key_of(self, token: object, now_ns: int, subscribed: bool) -> Key:
        """Return the key behind a token; `subscribed`: a subscription made with it lives. Raises KrakenError."""
        known = self._tokens.get(token) if isinstance(token, str) else None
        if known is None or now_ns >= known[1] and not subscribed:
            raise KrakenError("ESession:Invalid session")
        return known[0]
