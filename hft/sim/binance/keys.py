"""Keys of the simulated Binance: who signs, whether the signature and the time are right, and what the key may do.

The default customers trade with keys that the venue's documentation publishes: alice signs with HMAC, bob with Ed25519. Each has a
key that may only read and one that may only cancel besides, with HMAC secrets equal to the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key, load_der_public_key

from hft.sim.binance.errors import UNAUTHORIZED, ApiError
from hft.sim.exchange.customers import Customer, CustomersError, KeySpec, Permission

ALICE_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
ALICE_SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
BOB_KEY = "sBRXrJx2DsOraMXOaUovEhgVRcjOvCtQwnWj8VxkOh1xqboS02SPGfKi2h8spZJb"
#: PKCS #8, base64 without the PEM lines.
BOB_PRIVATE_KEY = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"

RECV_WINDOW_MS, RECV_WINDOW_MAX_MS = 5000, 60_000
AHEAD_MAX_NS = 1_000_000_000


def public_of(private_key: str) -> str:
    """Return the public key of a base64 PKCS #8 Ed25519 private key, as base64 SubjectPublicKeyInfo."""
    private = load_der_private_key(base64.b64decode(private_key), None)
    assert isinstance(private, Ed25519PrivateKey)
    return base64.b64encode(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def default_customers(assets: Iterable[str]) -> tuple[Customer, ...]:
    """Return alice and bob with plenty of each asset."""
    balances = {asset: "100000000" if asset in ("USDT", "USDC", "USD", "BUSD", "EUR") else "100000" for asset in sorted(set(assets))}
    keys = {"alice": KeySpec(key=ALICE_KEY, secret=ALICE_SECRET), "bob": KeySpec(key=BOB_KEY, public_key=public_of(BOB_PRIVATE_KEY))}
    return tuple(
        Customer(
            name=name,
            balances=balances,
            keys=(
                key,
                KeySpec(key=f"{name}-read-only", secret=f"{name}-read-only", permissions=("read",)),
                KeySpec(key=f"{name}-cancel-only", secret=f"{name}-cancel-only", permissions=("read", "cancel")),
            ),
        )
        for name, key in keys.items()
    )


class ApiKey:
    """One key."""

    __slots__ = ("can", "customer", "key", "public", "secret")

    def __init__(self, spec: KeySpec, customer: str) -> None:
        """Raises CustomersError unless the key has a secret or an Ed25519 public key."""
        self.key, self.customer = spec.key, customer
        self.can: frozenset[Permission] = frozenset(spec.permissions)
        self.secret = spec.secret.encode()
        self.public: Ed25519PublicKey | None = None
        if spec.public_key:
            body = "".join(line for line in spec.public_key.splitlines() if not line.startswith("-----"))
            try:
                public = load_der_public_key(base64.b64decode(body, validate=True))
            except ValueError as error:
                raise CustomersError(f"public_key of {spec.key}: {error}") from error
            if not isinstance(public, Ed25519PublicKey):
                raise CustomersError(f"public_key of {spec.key} is not an Ed25519 key")
            self.public = public
        elif not self.secret:
            raise CustomersError(f"key {spec.key} needs a secret or a public_key")

    def signed(self, payload: bytes, signature: str) -> bool:
        """Return whether a signature is this key's for the payload."""
        if self.public is None:
            expected = hmac.new(self.secret, payload, hashlib.sha256).hexdigest()
            return hmac.compare_digest(expected.encode(), signature.lower().encode())
        try:
            self.public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def require(self, permission: Permission) -> None:
        """Refuse what the key may not do. Raises ApiError."""
        if permission not in self.can and not (permission == "cancel" and "trade" in self.can):
            raise ApiError(*UNAUTHORIZED)


class KeyRing:
    """All keys of the venue."""

    def __init__(self, customers: Iterable[Customer]) -> None:
        self._keys = {spec.key: ApiKey(spec, customer.name) for customer in customers for spec in customer.keys}

    def find(self, api_key: str) -> ApiKey:
        """Return a key. Raises ApiError."""
        if not api_key or len(api_key) > 128:
            raise ApiError(401, -2014, "API-key format invalid.")
        key = self._keys.get(api_key)
        if key is None:
            raise ApiError(*UNAUTHORIZED)
        return key


def socket_payload(params: Mapping[str, object]) -> bytes:
    """Return what a request on the WebSocket API signs: all parameters but the signature, by name, not percent-encoded."""
    return "&".join(f"{name}={text_of(params[name])}" for name in sorted(params) if name != "signature").encode()


def text_of(value: object) -> str:
    """Return a parameter of a JSON request as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_time(timestamp: str, recv_window: str, utc_ns: int) -> None:
    """Refuse a request from outside its window. Raises ApiError. Times are ms, or us where they have the digits for it."""
    if not timestamp:
        raise ApiError(400, -1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 17):
        raise ApiError(400, -1100, "Illegal characters found in parameter 'timestamp'; legal range is '^[0-9]{1,20}$'.")
    sent_ns = int(timestamp) * (1_000 if len(timestamp) > 14 else 1_000_000)
    window_ns = RECV_WINDOW_MS * 1_000_000
    if recv_window:
        whole, _, part = recv_window.partition(".")
        if not (recv_window.isascii() and whole.isdigit() and len(whole) <= 8 and (not part or part.isdigit() and len(part) <= 3)):
            raise ApiError(400, -1100, "Illegal characters found in parameter 'recvWindow'; legal range is '^[0-9]{1,20}$'.")
        window_ns = int(whole) * 1_000_000 + int(part.ljust(3, "0") or "0") * 1_000
        if window_ns > RECV_WINDOW_MAX_MS * 1_000_000:
            raise ApiError(400, -1131, "recvWindow must be less than 60000.")
    if sent_ns >= utc_ns + AHEAD_MAX_NS:
        raise ApiError(400, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if utc_ns - sent_ns > window_ns:
        raise ApiError(400, -1021, "Timestamp for this request is outside of the recvWindow.")
