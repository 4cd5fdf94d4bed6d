"""Binance signing: what is signed of a request, and signatures by HMAC-SHA256 and by Ed25519.

On the WebSocket API the parameters are sorted by name and not percent-encoded; on REST they are signed as they are sent, encoded
and in any order. `cryptography` is imported by the first Ed25519 key, so that programs without one start faster.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

from hft.venues.interface import Credentials


class SigningKeyError(ValueError):
    """The secret of the credentials is no key of the kind that is needed; the message never holds it."""


class Signer(Protocol):
    """One way to sign."""

    #: Whether `session.logon` takes keys of this kind; others sign each request.
    logs_on: bool

    def sign(self, payload: bytes) -> str:
        """The signature as the venue wants it in a parameter."""


class HmacSigner:
    """HMAC-SHA256, as hex digits."""

    logs_on = False

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sign(self, payload: bytes) -> str:
        """64 lower-case hex digits."""
        return hmac.new(self._secret, payload, hashlib.sha256).hexdigest()


class Ed25519Signer:
    """Ed25519, as base64; the secret is a PEM private key in PKCS #8."""

    logs_on = True

    def __init__(self, pem: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key: Any = load_pem_private_key(pem, None)
        except (ValueError, TypeError) as error:
            raise SigningKeyError("the secret is no PEM private key without a password") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningKeyError(f"expected an Ed25519 private key, found {type(key).__name__}")
        self._key = key

    def sign(self, payload: bytes) -> str:
        """88 characters of base64."""
        return base64.b64encode(self._key.sign(payload)).decode()


def is_private_key(secret: bytes) -> bool:
    """Whether a secret is a PEM private key; an HMAC secret otherwise."""
    return secret.lstrip().startswith(b"-----BEGIN")


def new_signer(credentials: Credentials) -> Signer:
    """The signer of a key: Ed25519 for a PEM private key, HMAC otherwise."""
    return Ed25519Signer(credentials.secret) if is_private_key(credentials.secret) else HmacSigner(credentials.secret)


def ws_payload(params: Mapping[str, Any]) -> bytes:
    """What is signed of a WebSocket request: `k=v` of all parameters, sorted by name."""
    return "&".join(f"{name}={text_of(params[name])}" for name in sorted(params)).encode()


def ws_signed(params: Mapping[str, Any], key: str, signer: Signer) -> dict[str, Any]:
    """The parameters with `apiKey` and `signature`."""
    signed = {**params, "apiKey": key}
    return {**signed, "signature": signer.sign(ws_payload(signed))}


def rest_query(params: Mapping[str, Any]) -> str:
    """Parameters as a percent-encoded query, in their order."""
    return "&".join(f"{name}={quote(text_of(value), safe='')}" for name, value in params.items())


def rest_signed(params: Mapping[str, Any], signer: Signer) -> str:
    """A signed query; `signature` is last."""
    query = rest_query(params)
    return f"{query}&signature={quote(signer.sign(query.encode()), safe='')}"


def text_of(value: Any) -> str:
    """A parameter's value as it is signed."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
