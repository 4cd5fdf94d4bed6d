"""Keys: signatures, nonces, permissions and tokens."""

import pytest

from hft.sim.exchange.customers import Customer, CustomersError, KeySpec
from hft.sim.kraken.keys import (
    ALICE_KEY,
    ALICE_SECRET,
    TOKEN_LIFE_NS,
    Keyring,
    Permission,
    default_customers,
    form,
    keys_of,
    secret_of,
    sign,
)
from hft.sim.kraken.wire import KrakenError
from support.krakensim import signed

PATH = "/0/private/AddOrder"


def keyring():
    return Keyring(keys_of(default_customers(["BTC", "USD"])))


def authenticate(ring, key=ALICE_KEY, secret="", **fields):
    _, path, headers, body = signed("Balance", key, {"nonce": 1, **fields}, secret)
    return ring.authenticate(path, headers, form(headers, body), body)


def test_the_signature_is_the_published_one():
    body = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
    expected = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="
    assert sign(ALICE_SECRET, PATH, "1616492376594", body) == expected
    ring, headers = keyring(), {"api-key": ALICE_KEY, "api-sign": expected}
    assert ring.authenticate(PATH, headers, form(headers, body), body).account == "alice"


@pytest.mark.parametrize("change", [{"path": "/0/private/Balance"}, {"body": b"nonce=1616492376594"}, {"sign": "AAAA"}, {"sign": "Ä"}])
def test_a_signature_of_something_else_is_refused_and_leaves_the_nonce(change):
    ring = keyring()
    _, path, headers, body = signed("AddOrder", ALICE_KEY, {"nonce": 5, "pair": "XBTUSD"})
    bad = {**headers, "api-sign": change.get("sign", headers["api-sign"])}
    with pytest.raises(KrakenError, match="EAPI:Invalid signature"):
        ring.authenticate(change.get("path", path), bad, {"nonce": "5"}, change.get("body", body) + (b"" if change else b"x"))
    assert ring.authenticate(path, headers, form(headers, body), body)


def test_nonces_must_rise_for_each_key_on_its_own():
    ring = keyring()
    authenticate(ring, nonce=10)
    for nonce in (10, 9, 0):
        with pytest.raises(KrakenError, match="EAPI:Invalid nonce"):
            authenticate(ring, nonce=nonce)
    authenticate(ring, nonce=11)
    authenticate(ring, key="bob-trade", nonce=1)


@pytest.mark.parametrize("nonce", ["", "-1", "1.5", "abc", str(2**64)])
def test_what_is_no_nonce_is_refused(nonce):
    with pytest.raises(KrakenError, match="EAPI:Invalid nonce"):
        authenticate(keyring(), nonce=nonce)


def test_an_unknown_key_and_anothers_secret_are_refused():
    with pytest.raises(KrakenError, match="EAPI:Invalid key"):
        authenticate(keyring(), key="mallory", secret=secret_of("x"))
    with pytest.raises(KrakenError, match="EAPI:Invalid signature"):
        authenticate(keyring(), key="bob-trade", secret=ALICE_SECRET)


def test_permissions_are_what_the_customer_says():
    keys = {key.name: key.permissions for key in keys_of(default_customers(["USD"]))}
    assert keys[ALICE_KEY] == frozenset(Permission)
    assert keys["alice-read-only"] == {Permission.FUNDS, Permission.OPEN, Permission.CLOSED, Permission.SOCKET}
    assert keys["bob-cancel-only"] == keys["alice-read-only"] | {Permission.CANCEL}


def test_a_secret_that_is_not_base64_is_refused_and_the_key_named():
    with pytest.raises(CustomersError, match="key k is not base64"):
        keys_of([Customer(name="carol", keys=(KeySpec(key="k", secret="!"),))])


def test_a_token_stands_for_its_key_for_fifteen_minutes_or_while_a_subscription_lives():
    ring = keyring()
    key = authenticate(ring)
    token = ring.new_token(key, 0)
    assert token != ring.new_token(key, 0)
    assert ring.key_of(token, TOKEN_LIFE_NS - 1, subscribed=False) == key
    with pytest.raises(KrakenError, match="ESession:Invalid session"):
        ring.key_of(token, TOKEN_LIFE_NS, subscribed=False)
    assert ring.key_of(token, 10 * TOKEN_LIFE_NS, subscribed=True) == key


@pytest.mark.parametrize("token", [None, "", "nonsense", 7, ["x"]])
def test_what_is_no_token_is_refused(token):
    with pytest.raises(KrakenError, match="ESession:Invalid session"):
        keyring().key_of(token, 0, subscribed=True)


@pytest.mark.parametrize(
    ("kind", "body"), [("application/json", b"[1]"), ("application/json", b"{"), ("", b"\xff"), ("application/json", b"[" * 5000)]
)
def test_a_body_that_is_no_set_of_fields_is_refused(kind, body):
    with pytest.raises(KrakenError, match="EGeneral:Invalid arguments"):
        form({"content-type": kind}, body)
