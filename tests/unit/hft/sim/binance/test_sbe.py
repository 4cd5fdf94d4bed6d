"""SBE market streams say what the JSON streams of the same flow say."""

import json
from decimal import Decimal

import pytest

from hft.sim.binance.keys import ALICE_KEY, BOB_KEY
from hft.sim.binance.sbe import Encoder
from hft.sim.synthetic import SPECS
from hft.sim.venue import Opcode, RefusedError
from support.sbe_reader import decode
from support.virtual_venue import VirtualVenue


def sbe(driver, target):
    session = driver.venue.open(driver.venue.admit(target, {"x-mbx-apikey": BOB_KEY}, driver.now_ns), driver.now_ns)
    driver.sent[session.number] = []
    return session


def frames(driver, session):
    return [decode(payload) for opcode, payload in driver.sent[session.number] if opcode == Opcode.BINARY]


def levels(rows):
    return [(Decimal(price), Decimal(qty)) for price, qty in rows]


def from_json(message):
    """What an SBE frame of this message holds, without the time of a bookTicker."""
    if message.get("e") == "trade":
        trade = (message["t"], Decimal(message["p"]), Decimal(message["q"]), message["m"])
        times = {"eventTime": message["E"] * 1000, "transactTime": message["T"] * 1000}
        return {"template": 10000, **times, "trades": [trade], "symbol": message["s"]}
    if message.get("e") == "depthUpdate":
        ids = {"eventTime": message["E"] * 1000, "first": message["U"], "last": message["u"]}
        return {"template": 10003, **ids, "bids": levels(message["b"]), "asks": levels(message["a"]), "symbol": message["s"]}
    return {"template": 10001, "id": message["u"], "symbol": message["s"], **{name: Decimal(message[name]) for name in "bBaA"}}


def test_both_encodings_of_one_flow_are_equal():
    driver = VirtualVenue()
    binary = sbe(driver, "/stream?streams=btcusdt@trade/btcusdt@bestBidAsk/btcusdt@depth")
    plain = driver.open()
    driver.run(5)
    found = frames(driver, binary)
    for frame in found:
        if frame["template"] == 10001:
            assert 0 < frame.pop("eventTime") < 2 * 10**15
    assert found == [from_json(message) for message in driver.data(plain)]
    assert {frame["template"] for frame in found} == {10000, 10001, 10003}


def test_depth20_is_the_best_of_the_book_at_its_id():
    driver = VirtualVenue()
    session = sbe(driver, "/ws/btcusdt@depth20")
    driver.run(1)
    last = frames(driver, session)[-1]
    assert len(last["bids"]) == len(last["asks"]) == 20
    assert [row[0] for row in last["bids"]] == sorted((row[0] for row in last["bids"]), reverse=True)
    assert last["bids"][0][0] < last["asks"][0][0]


def test_subscriptions_are_asked_for_and_answered_in_json():
    driver = VirtualVenue()
    session = sbe(driver, "/ws")
    assert driver.ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@bookTicker"], "id": 1}) == {
        "result": None,
        "id": 1,
    }
    driver.run(3)
    assert {frame["template"] for frame in frames(driver, session)} == {10000}


def test_only_an_ed25519_key_opens_a_binary_connection():
    driver = VirtualVenue()
    for key, status in ((ALICE_KEY, 403), ("nobody", 401)):
        with pytest.raises(RefusedError) as refused:
            driver.venue.admit("/ws", {"x-mbx-apikey": key}, 0)
        assert refused.value.status == status


@pytest.mark.parametrize("kind", ["drop_depth", "duplicate", "corrupt", "crossed"])
def test_faults_strike_both_encodings_at_once(kind):
    driver = VirtualVenue()
    binary, plain = sbe(driver, "/ws/btcusdt@depth"), driver.open("/ws/btcusdt@depth@100ms")
    driver.fault(kind=kind)
    driver.run(1)
    texts = driver.texts(plain)
    payloads = [payload for opcode, payload in driver.sent[binary.number] if opcode == Opcode.BINARY]
    assert len(texts) == len(payloads)
    if kind == "corrupt":
        texts, payloads = texts[1:], payloads[1:]
    assert [decode(payload) for payload in payloads] == [from_json(json.loads(text)) for text in texts]


def test_a_price_finer_than_the_tick_is_an_error_and_not_rounded():
    with pytest.raises(ValueError, match="more than 2 places"):
        Encoder(SPECS["BTCUSDT"].info).diff(b'{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"b":[["1.001","1"]],"a":[]}')
