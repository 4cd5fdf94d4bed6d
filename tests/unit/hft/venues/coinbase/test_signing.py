"""Coinbase signing: known answers, by cold code and by the kernel that signs requests."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from hft.sha256 import DIGEST_BYTES, hmac_sha256, new_hmac_key, new_scratch, put_base64
from hft.venues.coinbase.signing import secret_bytes, signature, signed_headers, signed_members, timestamp_text
from hft.venues.interface import Credentials

SECRET = b"a" * 64
KEYS = Credentials("the key", base64.b64encode(SECRET), "the passphrase")
KNOWN = [
    ("1493343391.076892", "GET", "/users/self", "5qne58tAXSW3OJlU/GoC+/mTLF1xgT8vucjJWFZzhsU="),
    ("1493343391.076892", "GET", "/users/self/verify", "Gt5TiJQH8Z1/D5L/nu4kxTFOIbT49iONuH36/rKLsHM="),
    ("1700000000", "DELETE", "/orders/a9625b04-fc66-4999-a876-543c3684d702", "qHgHjmhXmY2UKGbGO0GRjyvYYE36UDbs0QSIsO09rn4="),
]


@pytest.mark.parametrize(("timestamp", "method", "path", "answer"), KNOWN)
def test_signature_gives_the_known_answer_in_cold_code_and_in_the_kernel(timestamp: str, method: str, path: str, answer: str) -> None:
    assert signature(SECRET, timestamp, method, path) == answer
    data, out = np.frombuffer(f"{timestamp}{method}{path}".encode(), np.uint8), np.zeros(100, np.uint8)
    hmac_sha256(new_hmac_key(SECRET), data, 0, len(data), new_scratch(), out, 0)
    assert out[50 : put_base64(out, 0, DIGEST_BYTES, out, 50)].tobytes().decode() == answer


def test_headers_sign_path_and_query_unless_told_otherwise() -> None:
    utc_ns = 1_493_343_391_076_892_999
    assert timestamp_text(utc_ns) == "1493343391.076892"
    headers = dict(signed_headers(KEYS, "GET", "/users/self?x=1", utc_ns, sign_query=False))
    assert headers["CB-ACCESS-SIGN"] == KNOWN[0][3] and headers["CB-ACCESS-TIMESTAMP"] == "1493343391.076892"
    assert (headers["CB-ACCESS-KEY"], headers["CB-ACCESS-PASSPHRASE"]) == ("the key", "the passphrase") and headers["User-Agent"]
    with_query = dict(signed_headers(KEYS, "GET", "/users/self?x=1", utc_ns))["CB-ACCESS-SIGN"]
    assert with_query == signature(SECRET, "1493343391.076892", "GET", "/users/self?x=1") != KNOWN[0][3]


def test_subscription_is_signed_as_the_verify_request() -> None:
    members = signed_members(KEYS, 1_493_343_391_076_892_000)
    assert members == {"signature": KNOWN[1][3], "key": "the key", "passphrase": "the passphrase", "timestamp": "1493343391.076892"}


def test_secret_that_is_not_base64_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="must be base64") as error:
        secret_bytes(Credentials("k", b"not base64!"))
    assert "not base64!" not in str(error.value)
