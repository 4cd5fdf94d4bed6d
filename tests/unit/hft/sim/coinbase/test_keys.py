"""Keys of the simulated Coinbase: signatures, times, passphrases and permissions."""

import pytest

from hft.sim.coinbase.keys import ALICE_KEY, Keyring, default_customers, keys_of, secret_of, sign
from hft.sim.coinbase.wire import CoinbaseError
from hft.sim.exchange.customers import Customer, CustomersError, KeySpec
from support.coinbasesim import SECOND_NS, CoinbaseDriver, signed, signed_message

NOW_NS = 1_700_000_000 * SECOND_NS
#: A third party's published vector: the secret is the base64 of 64 letters a.
SECRET = "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYQ=="


def ring():
    return Keyring(keys_of(default_customers(["BTC", "USD"])))


def test_signatures_are_those_of_published_vectors():
    assert sign(SECRET, "1493343391.076892", "GET", "/users/self") == "5qne58tAXSW3OJlU/GoC+/mTLF1xgT8vucjJWFZzhsU="


def test_a_signed_request_names_its_account_and_its_body_and_query_count():
    headers = signed(ALICE_KEY, "POST", "/orders?x=1", b"{}", NOW_NS)
    assert ring().authenticate("POST", "/orders?x=1", headers, b"{}", NOW_NS).account == "alice"
    for method, target, body in (("GET", "/orders?x=1", b"{}"), ("POST", "/orders", b"{}"), ("POST", "/orders?x=1", b"{ }")):
        with pytest.raises(CoinbaseError, match="invalid signature") as refused:
            ring().authenticate(method, target, headers, body, NOW_NS)
        assert refused.value.status == 401


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"cb-access-key": ""}, "CB-ACCESS-KEY header is required"),
        ({"cb-access-sign": ""}, "CB-ACCESS-SIGN header is required"),
        ({"cb-access-timestamp": ""}, "CB-ACCESS-TIMESTAMP header is required"),
        ({"cb-access-passphrase": ""}, "CB-ACCESS-PASSPHRASE header is required"),
        ({"cb-access-timestamp": "soon"}, "invalid timestamp"),
        ({"cb-access-timestamp": "NaN"}, "invalid timestamp"),
        ({"cb-access-timestamp": "Infinity"}, "invalid timestamp"),
        ({"cb-access-key": "nobody"}, "Invalid API Key"),
        ({"cb-access-sign": "x"}, "invalid signature"),
        ({"cb-access-passphrase": "bob"}, "Invalid Passphrase"),
    ],
)
def test_refusals_come_in_the_venues_words(headers, words):
    with pytest.raises(CoinbaseError, match=words) as refused:
        ring().authenticate("GET", "/fees", signed(ALICE_KEY, "GET", "/fees", b"", NOW_NS) | headers, b"", NOW_NS)
    assert refused.value.status == 401


@pytest.mark.parametrize(("off_s", "fine"), [(0, True), (29, True), (-29, True), (31, False), (-31, False)])
def test_a_request_lives_for_thirty_seconds(off_s, fine):
    headers = signed(ALICE_KEY, "GET", "/fees", b"", NOW_NS + off_s * SECOND_NS)
    if fine:
        assert ring().authenticate("GET", "/fees", headers, b"", NOW_NS)
    else:
        with pytest.raises(CoinbaseError, match="request timestamp expired"):
            ring().authenticate("GET", "/fees", headers, b"", NOW_NS)


def test_a_socket_signs_the_verify_path_with_a_time_as_text_or_number():
    message = signed_message(ALICE_KEY, NOW_NS)
    assert ring().authenticate_message(message, NOW_NS).account == "alice"
    whole = {**message, "timestamp": 1_700_000_000, "signature": sign(secret_of(ALICE_KEY), "1700000000", "GET", "/users/self/verify")}
    assert ring().authenticate_message(whole, NOW_NS).account == "alice"
    with pytest.raises(CoinbaseError, match="invalid timestamp"):
        ring().authenticate_message({}, NOW_NS)


def test_view_keys_look_and_do_not_trade():
    driver = CoinbaseDriver()
    assert driver.get("/orders", "alice-view") == []
    order = {"side": "buy", "product_id": "BTC-USD", "price": "1", "size": "1"}
    assert driver.refusal("POST", "/orders", "alice-view", order) == (403, "Forbidden")
    assert driver.refusal("DELETE", "/orders", "alice-view") == (403, "Forbidden")


def test_customers_need_usable_keys():
    with pytest.raises(CustomersError, match="not base64"):
        keys_of([Customer(name="x", keys=(KeySpec(key="k", secret="?", passphrase="p"),))])
    with pytest.raises(CustomersError, match="no passphrase"):
        keys_of([Customer(name="x", keys=(KeySpec(key="k", secret=secret_of("k")),))])
    (key,) = keys_of([Customer(name="x", keys=(KeySpec(key="k", secret=secret_of("k"), passphrase="p", permissions=("cancel",)),))])
    assert not key.permissions
