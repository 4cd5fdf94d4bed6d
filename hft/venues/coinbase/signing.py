"""Coinbase signing: the header and message signatures of REST and WebSocket, for cold code.

A signature is base64(HMAC-SHA256(base64-decoded secret, timestamp + METHOD + path + body)). The timestamp is unix seconds with
decimals, within 30 seconds of the venue's clock: a request with an earlier one is taken for less long. The path is signed with its
query, as the venue's own samples do; its text says "only the path", so this is a switch. What is sent on the hot path is signed by a
kernel (`orders.py`) from the same secret.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Any

from hft.http_client import Headers
from hft.venues.interface import Credentials

#: Sent with every request; the venue refuses requests without one.
USER_AGENT = "hft"

#: What a WebSocket's `subscribe` signs.
VERIFY_PATH = "/users/self/verify"

#: How long after its time stamp the venue takes a request.
STAMP_LIFE_NS = 30_000_000_000
#: How long the venue's API may hold an order that it has taken, until it can be asked for.
PENDING_NS = 1_000_000_000

_MICROSECONDS = 1_000_000


def secret_bytes(credentials: Credentials) -> bytes:
    """The decoded secret. Raises ValueError if it is not base64."""
    try:
        return base64.b64decode(credentials.secret, validate=True)
    except binascii.Error:
        raise ValueError("the secret of a Coinbase key must be base64") from None


def timestamp_text(utc_ns: int) -> str:
    """Unix seconds with six decimals."""
    microseconds = utc_ns // 1000
    return f"{microseconds // _MICROSECONDS}.{microseconds % _MICROSECONDS:06d}"


def signature(secret: bytes, timestamp: str, method: str, path: str, body: bytes = b"") -> str:
    """Sign one request; `method` is upper case, `path` as it is signed."""
    message = f"{timestamp}{method}{path}".encode() + body
    return base64.b64encode(hmac.digest(secret, message, "sha256")).decode()


def signed_headers(credentials: Credentials, method: str, target: str, utc_ns: int, body: bytes = b"", sign_query: bool = True) -> Headers:
    """The headers of a private REST request to `target`, path and query."""
    timestamp = timestamp_text(utc_ns)
    path = target if sign_query else target.partition("?")[0]
    return (
        ("CB-ACCESS-KEY", credentials.key),
        ("CB-ACCESS-SIGN", signature(secret_bytes(credentials), timestamp, method, path, body)),
        ("CB-ACCESS-TIMESTAMP", timestamp),
        ("CB-ACCESS-PASSPHRASE", credentials.passphrase),
        ("Content-Type", "application/json"),
        ("User-Agent", USER_AGENT),
    )


def signed_members(credentials: Credentials, utc_ns: int) -> dict[str, Any]:
    """What authenticates a `subscribe` message."""
    timestamp = timestamp_text(utc_ns)
    return {
        "signature": signature(secret_bytes(credentials), timestamp, "GET", VERIFY_PATH),
        "key": credentials.key,
        "passphrase": credentials.passphrase,
        "timestamp": timestamp,
    }
