"""Kraken signing: private REST requests. Sockets are not signed: their messages carry a token, which such a request asks for.

API-Sign is base64(HMAC-SHA512(base64-decoded secret, path + SHA-256(nonce + body))), the body exactly as sent. Nonces of a key rise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from hft.http_client import Headers
from hft.venues.interface import Credentials

TOKEN_METHOD = "GetWebSocketsToken"


class SignedRequest(NamedTuple):
    """A private request, to be sent by POST."""

    target: str
    headers: Headers
    body: bytes


def secret_bytes(credentials: Credentials) -> bytes:
    """The decoded secret. Raises ValueError if it is not base64."""
    try:
        return base64.b64decode(credentials.secret, validate=True)
    except binascii.Error:
        raise ValueError("the secret of a Kraken key must be base64") from None


def signature(secret: bytes, path: str, nonce: int, body: bytes) -> str:
    """API-Sign of a request whose body contains this nonce."""
    message = path.encode() + hashlib.sha256(str(nonce).encode() + body).digest()
    return base64.b64encode(hmac.digest(secret, message, "sha512")).decode()


def signed_request(credentials: Credentials, method: str, nonce: int, fields: Mapping[str, str | int] | None = None) -> SignedRequest:
    """A private REST request of the venue's `method` with `fields` as its form; `nonce` must be higher than the key's last one."""
    path = f"/0/private/{method}"
    body = urlencode({"nonce": nonce, **(fields or {})}).encode()
    headers = (
        ("API-Key", credentials.key),
        ("API-Sign", signature(secret_bytes(credentials), path, nonce, body)),
        ("Content-Type", "application/x-www-form-urlencoded"),
    )
    return SignedRequest(path, headers, body)
