"""Signatures against the published answers, windows of time, and permissions."""

import pytest

from hft.sim.binance.errors import ApiError
from hft.sim.binance.keys import ALICE_KEY, ALICE_SECRET, BOB_KEY, BOB_PRIVATE_KEY, ApiKey, KeyRing, check_time, public_of, socket_payload
from hft.sim.exchange.customers import CustomersError, KeySpec, decode_customers

HMAC = ApiKey(KeySpec(key=ALICE_KEY, secret=ALICE_SECRET), "alice")
ED25519 = ApiKey(KeySpec(key=BOB_KEY, public_key=public_of(BOB_PRIVATE_KEY)), "bob")
MS = 1_000_000


@pytest.mark.parametrize(
    ("params", "signature"),
    [
        (
            {"price": "52000.00", "quantity": "0.01000000", "recvWindow": 100, "side": "SELL", "symbol": "BTCUSDT"},
            "aa1b5712c094bc4e57c05a1a5c1fd8d88dcd628338ea863fec7b88e59fe2db24",
        ),
        (
            {"price": "0.10000000", "quantity": "1.00000000", "recvWindow": 5000, "side": "BUY", "symbol": "１２３４５６"},
            "b33892ae8e687c939f4468c6268ddd4c40ac1af18ad19a064864c47bae0752cd",
        ),
    ],
)
def test_socket_signatures_equal_the_published_ones(params, signature):
    whole = {"apiKey": ALICE_KEY, "timeInForce": "GTC", "timestamp": 1645423376532, "type": "LIMIT", "signature": "left out", **params}
    assert HMAC.signed(socket_payload(whole), signature) and HMAC.signed(socket_payload(whole), signature.upper())
    assert not HMAC.signed(socket_payload({**whole, "price": "1"}), signature)


def test_ed25519_signatures_equal_the_published_one():
    payload = b"A\x01EXAMPLE\x01SPOT\x011\x0120240627-11:17:25.223"
    signature = "4MHXelVVcpkdwuLbl6n73HQUXUf1dse2PCgT1DYqW9w8AVZ1RACFGM+5UdlGPrQHrgtS3CvsRURC1oj73j8gCA=="
    assert ED25519.signed(payload, signature)
    assert not ED25519.signed(payload + b" ", signature) and not ED25519.signed(payload, "no base64!") and not ED25519.signed(payload, "")


@pytest.mark.parametrize(
    ("sent_ms", "window", "code"),
    [
        (1000_000, "", None),
        (1000_999, "", None),
        (1001_000, "", -1021),
        (995_000, "", None),
        (994_999, "", -1021),
        (994_999, "5001", None),
        (940_000, "60000", None),
        (999_999, "60001", -1131),
        (999_999, "0.5", -1021),
        (999_999, "1.0", None),
        (999_999, "1e3", -1100),
    ],
)
def test_a_request_counts_only_in_its_window(sent_ms, window, code):
    for stamp in (str(sent_ms + 1_600_000_000_000), str((sent_ms + 1_600_000_000_000) * 1000)):
        try:
            check_time(stamp, window, (1_600_000_000_000 + 1000_000) * MS)
            assert code is None
        except ApiError as error:
            assert error.code == code


def test_a_key_does_only_what_it_may():
    cancels = ApiKey(KeySpec(key="k", secret="s", permissions=("cancel",)), "x")
    cancels.require("cancel")
    for permission in ("read", "trade"):
        with pytest.raises(ApiError) as caught:
            cancels.require(permission)
        assert caught.value.code == -2015
    ApiKey(KeySpec(key="k", secret="s", permissions=("trade",)), "x").require("cancel")


def test_unknown_and_malformed_keys_are_told_apart():
    ring = KeyRing(())
    for text, expected in (("", -2014), ("x" * 129, -2014), ("x" * 64, -2015)):
        with pytest.raises(ApiError) as caught:
            ring.find(text)
        assert caught.value.code == expected


@pytest.mark.parametrize("spec", [{"key": "k"}, {"key": "k", "public_key": "AAAA"}, {"key": "k", "public_key": "!"}])
def test_a_key_that_cannot_verify_anything_is_refused(spec):
    with pytest.raises(CustomersError):
        ApiKey(KeySpec(**spec), "x")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'[{"name":"a","what":1}]', b'[{"name":"a","balances":{"BTC":"x"}}]', b'[{"name":"a"},{"name":"a"}]']
)
def test_a_file_of_customers_that_is_not_valid_is_refused(body):
    with pytest.raises(CustomersError):
        decode_customers(body)


def test_a_file_of_customers_gives_accounts():
    (customer,) = decode_customers(b'[{"name":"a","balances":{"BTC":"1.5"},"taker_rate":"0.002","keys":[{"key":"k","secret":"s"}]}]')
    assert customer.account().free == {"BTC": 150_000_000} and customer.account().taker_rate_e8 == 200_000
