"""Signatures that the venue publishes, and those recomputed from the key that it publishes."""

from __future__ import annotations

import base64
import subprocess
import sys
from urllib.parse import quote

import pytest

from hft.venues.binance.signing import (
    Ed25519Signer,
    HmacSigner,
    SigningKeyError,
    is_private_key,
    new_signer,
    rest_query,
    rest_signed,
    ws_payload,
    ws_signed,
)
from hft.venues.interface import Credentials

KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
FULL_WIDTH = "１２３４５６"
ED25519_DER = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u"
ED25519 = f"-----BEGIN PRIVATE KEY-----\n{ED25519_DER}\n-----END PRIVATE KEY-----\n".encode()


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (
            {"symbol": "BTCUSDT", "side": "SELL", "price": "52000.00", "quantity": "0.01000000", "recvWindow": 100},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"symbol": FULL_WIDTH, "side": "BUY", "price": "0.10000000", "quantity": "1.00000000", "recvWindow": 5000},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)
def test_websocket_request_has_the_published_signature(params: dict[str, object], signature: str) -> None:
    signed = ws_signed({**params, "timeInForce": "GTC", "timestamp": 1645423376532, "type": "LIMIT"}, KEY, HmacSigner(SECRET))
    assert signed["signature"] == signature and signed["apiKey"] == KEY


@pytest.mark.parametrize(
    ("symbol", "signature"),
    [
        ("LTCBTC", "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"),
        (FULL_WIDTH, "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
    ],
)
def test_rest_request_has_the_published_signature(symbol: str, signature: str) -> None:
    params = {"symbol": symbol, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": 1, "price": "0.1"}
    params |= {"recvWindow": 5000, "timestamp": 1499827319559}
    query = rest_signed(params, HmacSigner(SECRET))
    assert query.endswith(f"&signature={signature}") and query.startswith(f"symbol={quote(symbol)}&side=BUY")
    assert query.isascii() and rest_query({"a": "b/c d", "e": True}) == "a=b%2Fc%20d&e=true"


def test_fix_log_on_has_the_published_ed25519_signature() -> None:
    payload = b"A\x01EXAMPLE\x01SPOT\x011\x0120240627-11:17:25.223"
    signature = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    assert Ed25519Signer(ED25519).sign(payload) == signature


def test_session_log_on_is_signed_with_the_same_key() -> None:
    key = "sBRXrJx2DsOraMXOaUovEhgVRcjOvCtQwnWj8VxkOh1xqboS02SPGfKi2h8spZJb"
    signature = "QkxRSX10rV71REvvMibSfvHCKvHoDFDweKdzKXhHhcKIGkHoZPXAPVNsZYgJtf0CuKIm+cVrCqO07JHjZCVpAg=="
    assert ws_signed({"timestamp": 1649729878532}, key, Ed25519Signer(ED25519))["signature"] == signature


def test_kind_of_the_key_is_seen_by_the_secret() -> None:
    assert isinstance(new_signer(Credentials("k", ED25519)), Ed25519Signer) and new_signer(Credentials("k", ED25519)).logs_on
    assert isinstance(new_signer(Credentials("k", SECRET)), HmacSigner) and not new_signer(Credentials("k", SECRET)).logs_on
    assert is_private_key(b"\n" + ED25519) and not is_private_key(SECRET)
    assert ws_payload({"b": 1, "a": "x", "c": False}) == b"a=x&b=1&c=false"


@pytest.mark.parametrize("pem", [b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"-----BEGIN nothing"])
def test_secret_that_is_no_key_is_an_error_that_does_not_show_it(pem: bytes) -> None:
    with pytest.raises(SigningKeyError) as caught:
        new_signer(Credentials("k", pem))
    assert "AAAA" not in str(caught.value)


def test_key_of_another_kind_is_an_error() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    pem = X25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SigningKeyError, match="X25519"):
        new_signer(Credentials("k", pem))


def test_signatures_are_base64_of_64_bytes() -> None:
    assert len(base64.b64decode(Ed25519Signer(ED25519).sign(b"x"))) == 64


def test_programs_without_such_a_key_do_not_load_cryptography() -> None:
    code = "import sys, hft.venues.binance.signing; sys.exit('cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
