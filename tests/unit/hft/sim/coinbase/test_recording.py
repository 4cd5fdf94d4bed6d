"""Recordings of Coinbase's feed as markets: what is served is the recorded book, and what is not a recording is refused."""

import json
from decimal import Decimal

import pytest

from hft.sim.coinbase.recording import products_of, scan
from hft.sim.market import EventKind
from hft.sim.recorded_frames import RecordedFrames
from hft.sim.recording_index import RecordingError, RecordingFile
from support.coinbasesim import CoinbaseDriver, LevelFollower, OrderFollower, levels_of

BIDS, ASKS = [["100.00", "1.5"], ["99.00", "2"]], [["101.00", "0.25"], ["102.50", "4"]]
ORDERS = ("received", "open", "match", "done", "change")


def snapshot(symbol="BTC-USD", bids=BIDS, asks=ASKS):
    return json.dumps({"type": "snapshot", "product_id": symbol, "bids": bids, "asks": asks}).encode()


def update(second, *changes, symbol="BTC-USD"):
    stamp = f"2026-08-24T22:21:{second:02d}.000000Z"
    return json.dumps({"type": "l2update", "product_id": symbol, "changes": changes, "time": stamp}).encode()


def match(second, side="sell", size="0.1", trade_id=7):
    said = {"type": "match", "trade_id": trade_id, "side": side, "size": size, "price": "101.00", "product_id": "BTC-USD"}
    return json.dumps({**said, "time": f"2026-08-24T22:21:{second:02d}.000000Z"}).encode()


def recording(*lines):
    return scan(RecordingFile("some", lambda: lines))


def driver_of(found):
    return CoinbaseDriver(make_market=lambda: RecordedFrames(found), products=tuple(products_of(found)), trades_take=False)


def test_a_recorded_feed_is_served_level_by_level(recorded):
    path = recorded("coinbase/level2_ticker_matches_2021.ws")
    lines = path.read_bytes().splitlines()
    found = scan(RecordingFile(path.name, lambda: lines))
    driver = driver_of(found)
    assert len(found.infos) == 10 and driver.venue._products["SKL-BTC"].price_decimals == 8
    session = driver.followed("level2", "matches", key="alice-view", products=found.infos)
    driver.run(40)
    assert driver.state()["finished"]
    originals = [json.loads(line.partition(b" ")[2]) for line in lines if line[:1].isdigit()]
    told = {product: LevelFollower() for product in found.infos}
    for message in originals:
        if message["type"] in ("snapshot", "l2update"):
            told[message["product_id"]].message(json.dumps(message).encode())
    served = {product: LevelFollower() for product in found.infos}
    for payload in driver.payloads(session, "snapshot", "l2update"):
        served[json.loads(payload)["product_id"]].message(payload)
    assert {name: follower.levels() for name, follower in served.items()} == {name: follower.levels() for name, follower in told.items()}
    assert sum(follower.crossed for follower in served.values()) == 0
    keys = ("product_id", "trade_id", "side")
    recorded_trades = [tuple(message[key] for key in keys) for message in originals if message["type"] == "match"]
    assert sorted(tuple(message[key] for key in keys) for message in driver.messages(session, "match")) == sorted(recorded_trades)


def test_messages_come_at_their_own_times_and_what_a_recorder_wrote_beside_them_is_skipped():
    lines = [
        b"wss://ws-feed.exchange.coinbase.com <-> 1618677816.8434298",
        b'1618677817.0: {"type":"subscriptions","channels":[]}',
        b"1 " + snapshot(),
        b"",
        b"2 " + update(10, ["buy", "100.00", "3"]),
        b"3 [1,2]",
        update(13, ["sell", "101.00", "0.00"], ["buy", "100.00", "3"]),
    ]
    market = RecordedFrames(recording(*lines))
    assert market.due_ns() == 0
    (first,) = market.advance(0, 9)
    assert first.kind is EventKind.DEPTH and json.loads(first.body)["b"] == [["100.00000000", "3.00000000"]]
    assert market.due_ns() == 3_000_000_000
    (second,) = market.advance(3_000_000_000, 9)
    assert json.loads(second.body)["a"] == [["101.00000000", "0.00000000"]] and json.loads(second.body)["b"] == []
    assert market.due_ns() is None


def test_a_second_snapshot_is_what_changed_since():
    market = RecordedFrames(recording(snapshot(), update(10, ["buy", "98.00", "1"]), snapshot(bids=BIDS[:1])))
    body = json.loads(market.advance(2**62, 9)[-1].body)
    assert {price for price, size in body["b"] if not Decimal(size)} == {"98.00000000", "99.00000000"} and body["a"] == []


def test_increments_are_the_finest_recorded_or_the_known_ones():
    found = recording(snapshot(), snapshot("SKL-GBP", [["0.5752", "10.5"]], [["0.5762", "2865"]]), match(10))
    assert {product.product_id: (product.quote_increment, product.base_increment) for product in products_of(found)} == {
        "BTC-USD": ("0.01", "0.00000001"),
        "SKL-GBP": ("0.0001", "0.1"),
    }


def test_orders_of_full_add_up_to_the_recorded_levels_through_trades():
    lines = [
        snapshot(),
        update(10, ["sell", "101.00", "0.15"]),
        match(10),
        match(11, size="0.05", trade_id=8),
        update(12, ["sell", "101.00", "0.1"]),
    ]
    driver = driver_of(recording(*lines))
    session = driver.followed("full", key="alice-view")
    follower = OrderFollower()
    follower.snapshot(driver.get("/products/BTC-USD/book?level=3"))
    driver.run(5)
    for message in driver.messages(session, *ORDERS):
        follower.message(message)
    assert follower.gaps == 0 and follower.levels() == levels_of(driver.book())
    assert [message["trade_id"] for message in driver.messages(session, "match")] == [7, 8]


def test_recorded_orders_are_served_as_the_levels_behind_them():
    """What a recorder has of `full`: the book comes while messages of it go on."""
    live = CoinbaseDriver(seed=8)
    session = live.followed("full", key="alice-view")
    live.run(2)
    body = live.request("GET", "/products/BTC-USD/book?level=3").body
    live.run(0.5)
    early = len(live.sent[session.number])
    live.run(10)
    payloads = live.sent[session.number]
    lines = [b"1 " + payload for payload in payloads]
    lines[early:early] = [b'1 {"recorder":"reply","symbol":"BTC-USD","target":"/products/BTC-USD/book?level=3"}', b"1 " + body]
    found = recording(*lines)
    driver = driver_of(found)
    assert products_of(found) == [driver.venue._products["BTC-USD"]] and driver.venue._products["BTC-USD"].quote_increment == "0.01"
    again = driver.followed("level2", "matches", key="alice-view")
    driver.run(15)
    assert driver.state()["finished"] and levels_of(driver.book()) == levels_of(live.book())
    follower = LevelFollower()
    for payload in driver.payloads(again, "snapshot", "l2update"):
        follower.message(payload)
    assert follower.levels() == levels_of(live.book()) and follower.crossed == 0 and follower.updates > 100
    told = live.messages(session, "match")
    served = driver.messages(again, "match")
    assert [message["trade_id"] for message in served] == [message["trade_id"] for message in told][-len(served) :] and len(served) > 50


def test_a_later_whole_book_of_orders_is_what_changed_since():
    def order(kind, sequence, **said):
        common = {"type": kind, "product_id": "BTC-USD", "sequence": sequence, "side": "buy", "time": "2026-08-24T22:21:10.000000Z"}
        return json.dumps({**common, **said}).encode()

    reply = b'{"recorder":"reply","symbol":"BTC-USD"}'

    def whole(sequence, *bids):
        return json.dumps({"sequence": sequence, "bids": bids, "asks": [["101.00", "1", "c"]]}).encode()

    lines = [
        order("open", 4, order_id="a", price="99.00", remaining_size="1"),
        order("open", 6, order_id="b", price="98.00", remaining_size="2"),
        reply,
        whole(5, ["99.00", "1", "a"]),
        order("change", 7, order_id="b", new_size="1.5", old_size="2"),
        order("change", 8, order_id="b", new_price="97.00", old_price="98.00", new_size="1.5"),
        order("done", 9, order_id="never", reason="canceled"),
        order("match", 10, maker_order_id="a", taker_order_id="t", trade_id=3, size="0.4", price="99.00"),
        order("done", 11, order_id="a", reason="canceled", remaining_size="0.6"),
        reply,
        whole(12, ["97.00", "1.5", "b"], ["96.00", "5", "d"]),
    ]
    market = RecordedFrames(recording(*lines))
    assert market.book("BTC-USD").bids == [("99.00000000", "1.00000000"), ("98.00000000", "2.00000000")]
    events = market.advance(2**62, 99)
    bids = [json.loads(event.body)["b"] for event in events if event.kind is EventKind.DEPTH]
    assert bids == [
        [["98.00000000", "1.50000000"]],
        [["98.00000000", "0.00000000"], ["97.00000000", "1.50000000"]],
        [["99.00000000", "0.60000000"]],
        [["99.00000000", "0.00000000"]],
        [["96.00000000", "5.00000000"]],
    ]
    assert [json.loads(event.body)["t"] for event in events if event.kind is EventKind.TRADE] == [3]


def test_accounts_trade_against_a_recorded_book():
    driver = driver_of(recording(snapshot()))
    row = driver.place(price="101.00", size="0.2")
    assert driver.get(f"/orders/{row['id']}", "alice-view")["done_reason"] == "filled"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "there is no book snapshot"),
        ([match(10)], "there is no book snapshot"),
        ([b"nonsense"], "some line 1"),
        ([snapshot(), b'{"type":"snapshot"}'], "some line 2"),
        ([snapshot(), update(10, ["buy", "100", "0.-10000"])], "some line 2"),
        ([snapshot(), update(10, ["both", "100", "1"])], "some line 2"),
        ([snapshot(), b'{"type":"l2update","product_id":"BTC-USD","changes":[],"time":"soon"}'], "some line 2"),
        ([snapshot(bids=[["0.0000000001", "1"]])], "more than 8 decimals"),
    ],
)
def test_what_cannot_be_played_is_refused_and_named(lines, said):
    with pytest.raises(RecordingError, match=said):
        recording(*lines)
