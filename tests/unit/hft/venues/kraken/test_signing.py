"""Kraken signing: the venue's published answer, and requests that the simulated venue takes."""

from __future__ import annotations

import json

import pytest

from hft.sim.kraken.keys import ALICE_KEY, ALICE_SECRET
from hft.venues.interface import Credentials
from hft.venues.kraken.signing import TOKEN_METHOD, secret_bytes, signature, signed_request
from support.krakensim import KrakenDriver

KEYS = Credentials(ALICE_KEY, ALICE_SECRET.encode())


def test_signature_gives_the_published_answer() -> None:
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    told = signature(secret_bytes(KEYS), "/0/private/AddOrder", 1616492376594, body)
    assert told == "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="


def test_simulated_venue_gives_a_token_once_a_nonce() -> None:
    driver = KrakenDriver()

    def ask(nonce: int) -> dict[str, object]:
        target, headers, body = signed_request(KEYS, TOKEN_METHOD, nonce)
        answer = driver.venue.request("POST", target, {name.lower(): value for name, value in headers}, body, driver.now_ns)
        told: dict[str, object] = json.loads(answer.body)
        return told

    nonce = 1_700_000_000_123_456_789
    assert ask(nonce)["error"] == [] and ask(nonce)["error"] == ["EAPI:Invalid nonce"]
    assert ask(nonce + 1)["error"] == []


def test_secret_that_is_not_base64_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="must be base64") as error:
        secret_bytes(Credentials("k", b"not base64!"))
    assert "not base64!" not in str(error.value)
