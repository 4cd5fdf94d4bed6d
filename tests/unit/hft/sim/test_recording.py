"""Recordings: what is refused, what is inferred, and that playback tells the same book as the file."""

import gzip
import json
from decimal import Decimal

import pytest

from hft.sim.market import EventKind
from hft.sim.recording import RecordedMarket
from hft.sim.recording_index import RecordingError, RecordingFile, scan
from support.naive_follower import NaiveFollower

T0 = 1_723_161_253_000_000_000
E0 = 1_723_161_254_000  # the venue's clock is 1 s ahead of the recorder's


def diff(at_ms: int, first: int, last: int, bids=(), asks=(), symbol="BTCUSDT") -> str:
    data = {"e": "depthUpdate", "E": E0 + at_ms, "s": symbol, "U": first, "u": last, "b": list(bids), "a": list(asks)}
    return f"{T0 + at_ms * 1_000_000} " + json.dumps({"stream": f"{symbol.lower()}@depth@100ms", "data": data}, separators=(",", ":"))


def trade(at_ms: int, symbol="BTCUSDT") -> str:
    data = (
        f'{{"e":"trade","E":{E0 + at_ms},"s":"{symbol}","t":7,"p":"100.00000000","q":"1.00000000","T":{E0 + at_ms - 3},"m":true,"M":true}}'
    )
    return f'{T0 + at_ms * 1_000_000} {{"stream":"{symbol.lower()}@trade","data":{data}}}'


def snapshot(at_ms: int, last: int, bids, asks) -> str:
    return f"{T0 + at_ms * 1_000_000} " + json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}, separators=(",", ":"))


def recording(*lines: str, name="some.gz") -> RecordingFile:
    return RecordingFile(name, lambda: [line.encode() + b"\n" for line in lines])


PLAIN = (
    diff(0, 10, 11, bids=[["99.00000000", "1.00000000"]]),
    diff(100, 12, 14, asks=[["101.00000000", "2.00000000"]]),
    trade(110),
    snapshot(120, 12, [["99.00000000", "1.00000000"], ["98.00000000", "5.00000000"]], [["101.50000000", "1.00000000"]]),
    diff(200, 15, 15, bids=[["98.00000000", "0.00000000"]]),
    diff(300, 16, 20, asks=[["101.00000000", "0.10000000"]]),
)


def play(market: RecordedMarket, until_ms: int, stamp=lambda position_ns: T0 + position_ns) -> list:
    return [event for event in market.advance(until_ms * 1_000_000, 10**9) if event.kind != EventKind.BOOK]


def begun(*files: RecordingFile, as_recorded=False, start_ns=0, hold=lambda symbol: False) -> RecordedMarket:
    market = RecordedMarket(scan(files), as_recorded)
    market.begin(lambda position_ns: start_ns + position_ns, hold)
    return market


def test_snapshot_ahead_is_served_verbatim_until_playback_passes_it():
    market = begun(recording(*PLAIN))
    recorded = PLAIN[3].partition(" ")[2].encode()
    assert market.depth("BTCUSDT", 1000) == recorded
    play(market, 110)
    assert market.depth("BTCUSDT", 2) == recorded
    assert json.loads(market.depth("BTCUSDT", 1))["bids"] == [["99.00000000", "1.00000000"]]
    play(market, 120)
    # The snapshot (id 12) is older than the diff already played (12..14): the book holds both.
    assert json.loads(market.depth("BTCUSDT", 1000)) == {
        "lastUpdateId": 14,
        "bids": [["99.00000000", "1.00000000"], ["98.00000000", "5.00000000"]],
        "asks": [["101.00000000", "2.00000000"], ["101.50000000", "1.00000000"]],
    }
    play(market, 10**6)
    assert json.loads(market.depth("BTCUSDT", 1))["asks"] == [["101.00000000", "0.10000000"]]
    assert market.book("BTCUSDT").last_update_id == 20 and market.due_ns() is None


def test_exchange_times_are_shifted_to_now_and_keep_their_digits():
    start_ns = 1_800_000_000_000_000_000
    events = play(begun(recording(*PLAIN), start_ns=start_ns), 110)
    assert json.loads(events[0].body)["E"] == start_ns // 1_000_000
    message = json.loads(events[2].body)
    assert (message["E"], message["T"]) == (start_ns // 1_000_000 + 110, start_ns // 1_000_000 + 107)
    assert message["t"] == 7 and message["m"] is True


def test_microsecond_recordings_stay_in_microseconds():
    line = f'{T0} {{"stream":"btcusdt@trade","data":{{"e":"trade","E":{E0}123,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":{E0}120,"m":true}}}}'
    message = json.loads(play(begun(recording(line), start_ns=1_800_000_000_000_000_000), 1)[0].body)
    assert (message["E"], message["T"]) == (1_800_000_000_000_000, 1_799_999_999_999_997)


def test_as_recorded_leaves_every_byte_of_a_message():
    events = play(begun(recording(*PLAIN), as_recorded=True, start_ns=5), 10**6)
    bodies = [line.partition('"data":')[2][:-1].encode() for line in PLAIN if '"data"' in line]
    assert [event.body for event in events] == bodies


def test_playback_keeps_recorded_distances():
    assert [event.at_ns // 1_000_000 for event in play(begun(recording(*PLAIN)), 10**6)] == [0, 100, 110, 200, 300]


def test_playback_waits_at_a_snapshot_while_it_is_wanted():
    wanted = True
    market = begun(recording(*PLAIN), hold=lambda symbol: wanted)
    assert len(play(market, 10**6)) == 3 and market.held()
    assert market.due_ns() == 120_000_000
    wanted = False
    assert len(play(market, 10**6)) == 2 and not market.held()


def test_a_snapshot_that_replaced_the_book_is_told():
    market = begun(recording(*PLAIN))
    kinds = [event.kind for event in market.advance(10**12, 10**9)]
    assert kinds.count(EventKind.BOOK) == 1 and market.book("BTCUSDT").bids


def test_filters_are_inferred_and_ignore_a_few_odd_sizes():
    odd = [[f"{99 - step}.50000000", "1.20000000"] for step in range(5)]
    many = [[f"{price}.50000000", "0.10000000"] for price in range(2000, 4000)]
    lines = (diff(0, 1, 1, bids=odd), snapshot(1, 1, [["99.50000000", "0.12345678"]], many))
    info = scan([recording(*lines)]).symbols["BTCUSDT"]
    assert (info.base, info.quote, info.tick, info.lot) == ("BTC", "USDT", "0.10000000", "0.10000000")


def test_snapshots_of_two_pairs_in_one_file_find_their_pair_by_id():
    lines = (
        diff(0, 10, 11, bids=[["9", "1"]]),
        diff(1, 500, 510, bids=[["7", "1"]], symbol="ETHBTC"),
        snapshot(2, 505, [["7", "2"]], [["8", "1"]]),
        snapshot(3, 11, [["9", "3"]], [["10", "1"]]),
        diff(4, 12, 19),
        diff(5, 511, 519, symbol="ETHBTC"),
    )
    index = scan([recording(*lines)])
    assert [(found.symbol, found.book.last_update_id) for found in index.snapshots] == [("ETHBTC", 505), ("BTCUSDT", 11)]
    assert (index.symbols["ETHBTC"].base, index.symbols["ETHBTC"].quote) == ("ETH", "BTC")


def test_files_are_played_together_in_receive_order():
    first, second = recording(trade(0), trade(20)), recording(trade(10, "ETHUSDT"), name="other")
    events = play(begun(first, second), 100)
    assert [event.stream for event in events] == ["btcusdt@trade", "ethusdt@trade", "btcusdt@trade"]


def test_a_recording_without_a_snapshot_serves_the_levels_it_knows():
    market = begun(recording(*(line for line in PLAIN if "lastUpdateId" not in line)))
    assert json.loads(market.depth("BTCUSDT", 100)) == {"lastUpdateId": 9, "bids": [], "asks": []}
    play(market, 100)
    assert json.loads(market.depth("BTCUSDT", 100))["lastUpdateId"] == 14


def test_after_a_gap_the_next_recorded_snapshot_is_served():
    later = snapshot(400, 40, [["90.00000000", "1.00000000"]], [["91.00000000", "1.00000000"]])
    market = begun(recording(*PLAIN, diff(350, 30, 31), later))
    play(market, 300)
    assert json.loads(market.depth("BTCUSDT", 100))["lastUpdateId"] == 20
    play(market, 350)
    assert market.depth("BTCUSDT", 100) == later.partition(" ")[2].encode()


def test_a_thousand_milliseconds_stream_is_derived_from_the_fast_one():
    lines = [diff(at, 10 + at, 109 + at, bids=[["99.00000000", f"{at}.00000000"]]) for at in range(0, 2500, 100)]
    slow = [json.loads(event.body) for event in play(begun(recording(*lines)), 10**6) if event.stream == "btcusdt@depth"]
    assert [(message["U"], message["u"], message["b"]) for message in slow] == [
        (10, 1109, [["99.00000000", "1000.00000000"]]),
        (1110, 2109, [["99.00000000", "2000.00000000"]]),
    ]


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([], "no market data found"),
        ([f'{T0} {{"result":null,"id":1}}'], r"no market data found \(1 other lines\)"),
        (["{}"], "line 1: expected `<receive ns> <json>`"),
        ([PLAIN[0], "17231612 {}"], "line 2: expected a receive time of 19 digits"),
        ([f"{T0} null"], "line 1: Expected `object`, got `null`"),
        ([f"{T0} " + PLAIN[0][20:-4]], "line 1: "),
        ([f'{T0} {{"stream":"btcusdt@depth","data":{{"e":"depthUpdate"}}}}'], "line 1: Object missing required field"),
        ([f'{T0} {{"stream":"@trade","data":{{}}}}'], "expected a stream name"),
        ([diff(0, 1, 1, bids=[["1e5", "1"]])], "expected a decimal number, found '1e5'"),
        ([diff(0, 1, 1, bids=[["\uff11", "1"]])], "expected a decimal number"),
        ([diff(0, 1, 1, bids=[["-1.0", "1"]])], "expected a decimal number"),
        ([snapshot(0, 1, [["1", "x"]], [])], "expected a decimal number, found 'x'"),
        ([snapshot(0, 1, [["1"]], [])], "line 1: "),
    ],
)
def test_a_bad_recording_is_refused_with_its_name_and_place(lines, complaint):
    with pytest.raises(RecordingError, match=complaint) as caught:
        scan([recording(*lines)])
    assert "some.gz" in str(caught.value)


def test_a_truncated_gzip_is_refused(tmp_path):
    path = tmp_path / "cut.gz"
    whole = gzip.compress("\n".join(trade(at) for at in range(1000)).encode())
    path.write_bytes(whole[: len(whole) // 2])

    def lines():
        with gzip.open(path, "rb") as file:
            yield from file

    with pytest.raises(RecordingError, match=r"cut\.gz line \d+: unreadable after it"):
        scan([RecordingFile("cut.gz", lines)])


@pytest.mark.parametrize(("name", "least"), [("btcusdt", 3449), ("ethusdt", 3432)])
def test_real_recording_plays_without_gaps_and_equals_the_venues_own_best_prices(recorded, name, least):
    path = recorded(f"binance_spot/{name}_20240808.gz")

    def lines():
        with gzip.open(path, "rb") as file:
            yield from file

    market = begun(RecordingFile(path.name, lines))
    follower, symbol = NaiveFollower(), name.upper()
    follower.snapshot(market.depth(symbol, 5000))
    diffs = 0
    for event in market.advance(2**62, 10**9):
        if event.kind == EventKind.BOOK:
            continue
        if not event.stream.endswith("@depth"):
            diffs += event.kind == EventKind.DEPTH
            follower.message(event.body)
    assert diffs >= least and (follower.gaps, follower.crossed, follower.unequal) == (0, 0, [])
    book = market.book(symbol)
    assert book.last_update_id == follower.book_id
    assert {Decimal(price): Decimal(qty) for price, qty in book.bids} == follower.sides["b"]
    assert {Decimal(price): Decimal(qty) for price, qty in book.asks} == follower.sides["a"]
