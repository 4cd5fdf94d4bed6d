"""The synthetic market: its streams, book and snapshots agree, it repeats under a seed, and it looks alive."""

import json
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from hft.sim.market import EventKind, SimError
from hft.sim.synthetic import LEVELS_MIN, SPECS, SyntheticMarket
from support.naive_follower import NaiveFollower

SECOND_NS = 1_000_000_000
SEEDS = [1, 2, 20240808]


def market(seed: int, symbols: tuple[str, ...] = ("BTCUSDT",), rate_per_s: float = 100.0) -> SyntheticMarket:
    uniforms = [random.Random(f"{seed}:{symbol}").random for symbol in symbols]
    played = SyntheticMarket([SPECS[symbol] for symbol in symbols], uniforms, rate_per_s, seed)
    played.begin(lambda position_ns: 1_700_000_000 * SECOND_NS + position_ns, lambda symbol: False)
    return played


def everything(played: SyntheticMarket, seconds: int) -> list:
    return played.advance(seconds * SECOND_NS, 10**9)


@pytest.mark.parametrize("seed", SEEDS)
def test_flow_repeats_byte_for_byte_under_one_seed_however_it_is_advanced(seed):
    symbols = ("BTCUSDT", "ETHUSDT")
    whole = everything(market(seed, symbols), 5)
    pieces, slow = [], market(seed, symbols)
    for until_ns in range(0, 5 * SECOND_NS + 1, 10_000_000):
        while events := slow.advance(until_ns, 3):
            pieces += events
    assert pieces == whole, f"seed {seed}"
    assert everything(market(seed + 1, symbols), 5) != whole


@pytest.mark.parametrize("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.load) for seed in range(100, 140))])
@pytest.mark.parametrize("symbol", sorted(SPECS))
def test_streams_snapshots_and_book_agree_exactly(seed, symbol):
    played, follower = market(seed, (symbol,)), NaiveFollower()
    for event in everything(played, 1):
        if not event.stream.endswith("@depth"):
            follower.message(event.body)
    follower.snapshot(played.depth(symbol, 5000))
    for event in everything(played, 20):
        if not event.stream.endswith("@depth"):
            follower.message(event.body)
    assert follower.gaps == 0 and follower.crossed == 0 and follower.compared > 50, f"seed {seed}"
    assert follower.unequal == [], f"seed {seed}"


def test_snapshot_equals_the_followed_book_right_after_a_diff():
    played, follower = market(5), NaiveFollower()
    follower.snapshot(played.depth("BTCUSDT", 5000))
    while played.due_ns() < 3 * SECOND_NS:
        for event in played.advance(played.due_ns(), 1):
            if event.stream.endswith("@depth"):
                continue
            follower.message(event.body)
            if event.kind == EventKind.DEPTH:
                book = played.book("BTCUSDT")
                assert book.last_update_id == follower.book_id
                assert {Decimal(p): Decimal(q) for p, q in book.bids} == follower.sides["b"]
                assert {Decimal(p): Decimal(q) for p, q in book.asks} == follower.sides["a"]


def test_the_slow_depth_stream_leads_to_the_same_book_as_the_fast_one():
    played = market(6)
    fast, slow = NaiveFollower(), NaiveFollower()
    for follower in (fast, slow):
        follower.snapshot(played.depth("BTCUSDT", 5000))
    merged = 0
    for event in everything(played, 10):
        if event.stream == "btcusdt@depth":
            slow.message(event.body)
            merged += 1
            assert (slow.book_id, slow.sides) == (fast.book_id, fast.sides)
        elif event.kind == EventKind.DEPTH:
            fast.message(event.body)
    assert merged >= 9 and slow.gaps == 0


def test_diffs_follow_each_other_without_a_gap_and_trades_are_numbered():
    last_u = last_t = 0
    for event in everything(market(7), 20):
        message = json.loads(event.body)
        if event.stream.endswith("@depth@100ms"):
            assert not last_u or message["U"] == last_u + 1
            assert message["u"] >= message["U"]
            last_u = message["u"]
        elif event.kind == EventKind.TRADE:
            assert not last_t or message["t"] == last_t + 1
            last_t = message["t"]
    assert last_u and last_t


def test_trades_happen_at_prices_the_book_had():
    played, follower = market(8), NaiveFollower()
    ticker = None
    for event in everything(played, 20):
        message = json.loads(event.body)
        if event.kind == EventKind.TICKER:
            ticker = message
        elif event.kind == EventKind.TRADE and ticker is not None:
            follower.message(event.body)
            price = Decimal(message["p"])
            assert price <= Decimal(ticker["b"]) if message["m"] else price >= Decimal(ticker["a"])
    assert len(follower.trades) > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_flow_looks_alive(seed):
    played = market(seed)
    mids, counts, spreads = [], [], []
    for second in range(1, 301):
        counts.append(len(everything(played, second)))
        flow = played.flows["BTCUSDT"]
        bid, ask = flow.bids.keys[-1], -flow.asks.keys[-1]
        assert ask - bid >= 1 and min(len(flow.bids), len(flow.asks)) >= LEVELS_MIN, f"seed {seed}, second {second}"
        mids.append((bid + ask) / 2)
        spreads.append(ask - bid)
    moves = [abs(b - a) for a, b in pairwise(mids)]
    mean = sum(moves) / len(moves)
    covariance = sum((a - mean) * (b - mean) for a, b in pairwise(moves))
    assert mean > 0 and covariance > 0, f"seed {seed}: volatility does not cluster"
    assert sorted(spreads)[len(spreads) // 2] <= 10, f"seed {seed}: the spread does not close"
    assert sum(counts) / len(counts) > 50 and max(counts) > 2 * sorted(counts)[len(counts) // 2], f"seed {seed}: no bursts"
    assert min(len(flow.bids), len(flow.asks)) > 200


def test_rate_multiplies_the_number_of_events():
    calm, busy = (len(everything(market(3, rate_per_s=rate), 30)) for rate in (50.0, 500.0))
    assert busy > 4 * calm


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, float("nan")])
def test_rate_outside_its_range_is_refused(rate):
    with pytest.raises(SimError, match="rate must be within"):
        market(1, rate_per_s=rate)


def test_texts_have_eight_digits_and_respect_tick_and_lot():
    for event in everything(market(9, ("ETHUSDT",)), 5):
        if event.kind == EventKind.TICKER:
            message = json.loads(event.body)
            for key, step in (("b", "0.01"), ("a", "0.01"), ("B", "0.0001"), ("A", "0.0001")):
                assert len(message[key].partition(".")[2]) == 8 and Decimal(message[key]) % Decimal(step) == 0
