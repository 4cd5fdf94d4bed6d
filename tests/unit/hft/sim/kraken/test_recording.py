"""Recordings of Kraken's socket as markets: what is served has the recorded checksums."""

import json

import pytest

from hft.sim.kraken.recording import scan
from hft.sim.kraken.venue import KrakenVenue
from hft.sim.market import EventKind
from hft.sim.player import Settings
from hft.sim.recorded_frames import RecordedFrames
from hft.sim.recording_index import RecordingError, RecordingFile
from support.krakensim import WALL_NS, BookFollower, KrakenDriver


def frame(kind, second, bids, asks, symbol="BTC/USD"):
    levels = {name: [{"price": price, "qty": qty} for price, qty in side] for name, side in (("bids", bids), ("asks", asks))}
    data = {"symbol": symbol, **levels, "checksum": 0, "timestamp": f"2026-08-24T22:21:{second:02d}.000000Z"}
    return json.dumps({"channel": "book", "type": kind, "data": [data]}).encode()


def trade(second, kind="update"):
    row = {"symbol": "BTC/USD", "side": "sell", "price": 100.5, "qty": 2, "ord_type": "limit", "trade_id": 9}
    return json.dumps({"channel": "trade", "type": kind, "data": [{**row, "timestamp": f"2026-08-24T22:21:{second:02d}Z"}]}).encode()


def recording(*lines):
    return scan(RecordingFile("some", lambda: lines))


def driver_of(found):
    driver = KrakenDriver()
    driver.venue = KrakenVenue(lambda: RecordedFrames(found), Settings(), WALL_NS, tuple(found.first))
    return driver


BIDS = [(100 - n, 1.5) for n in range(10)]
ASKS = [(101 + n, 0.25) for n in range(10)]


def test_a_recorded_book_is_served_with_the_venues_own_checksums(recorded):
    path = recorded("kraken_v2/book10_btcusd_2026.jsonl")
    lines = path.read_bytes().splitlines()
    driver = driver_of(scan(RecordingFile(path.name, lambda: lines)))
    session = driver.open()
    driver.subscribe(session, "book", symbol=["BTC/USD"])
    driver.run(60)
    originals = [json.loads(line) for line in lines]
    expected = [message["data"][0]["checksum"] for message in originals if message.get("channel") == "book"]
    served = driver.messages(session, "book")
    assert [message["data"][0]["checksum"] for message in served] == expected
    follower = BookFollower(10)
    assert all(follower.message(payload) for payload in driver.sent[session.number] if b'"book","type"' in payload)


def test_messages_come_at_their_own_times_and_receive_times_are_skipped():
    lines = [b"1 " + frame("snapshot", 10, BIDS, ASKS), b"", b"2 " + frame("update", 13, [(100, 3)], []), b'{"channel":"heartbeat"}']
    market = RecordedFrames(recording(*lines))
    assert market.due_ns() == 0 and market.advance(0, 9) == [] and market.due_ns() == 3_000_000_000
    (event,) = market.advance(3_000_000_000, 9)
    assert event.kind is EventKind.DEPTH and event.at_ns == 3_000_000_000 and market.due_ns() is None
    assert json.loads(event.body)["b"] == [["100.00000000", "3.00000000"]]


def test_levels_that_fall_out_of_the_recorded_depth_leave_the_book():
    market = RecordedFrames(recording(frame("snapshot", 10, BIDS, ASKS), frame("update", 11, [(100.5, 1)], [])))
    (event,) = market.advance(2**62, 9)
    assert json.loads(event.body)["b"] == [["91.00000000", "0.00000000"], ["100.50000000", "1.00000000"]]
    assert len(market.book("BTC/USD").bids) == 10


def test_a_second_snapshot_is_what_changed_since():
    market = RecordedFrames(recording(frame("snapshot", 10, BIDS, ASKS), frame("snapshot", 12, BIDS[1:], ASKS)))
    (event,) = market.advance(2**62, 9)
    update = json.loads(event.body)
    assert update["b"] == [["100.00000000", "0.00000000"]] and update["a"] == []


def test_trades_are_played_and_those_of_a_snapshot_are_not():
    market = RecordedFrames(recording(frame("snapshot", 10, BIDS, ASKS), trade(11, "snapshot"), trade(12)))
    (event,) = market.advance(2**62, 9)
    body = json.loads(event.body)
    assert (body["p"], body["q"], body["m"], body["t"]) == ("100.50000000", "2.00000000", True, 9)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "there is no book snapshot"),
        ([frame("snapshot", 10, BIDS, ASKS, "DOGE/USD")], "there is no book snapshot"),
        ([b"nonsense"], "some line 1"),
        ([b"[1]"], "some line 1"),
        ([b'{"channel":"book","type":"snapshot","data":[]}'], "some line 1"),
        ([b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","timestamp":"x"}]}'], "some line 1"),
    ],
)
def test_what_cannot_be_played_is_refused_and_named(lines, said):
    with pytest.raises(RecordingError, match=said):
        recording(*lines)


def test_accounts_trade_against_a_recorded_book():
    driver = driver_of(recording(frame("snapshot", 10, BIDS, ASKS)))
    answer = driver.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price="101", volume="0.2")
    assert driver.private("QueryOrders", txid=answer["result"]["txid"][0])["result"][answer["result"]["txid"][0]]["status"] == "closed"
