"""Do the codec and book benches measure what they say, on recorded messages and on made ones?"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from processes.bench import book, codec
from processes.bench.book_flows import coinbase_flow, kraken_flow
from processes.bench.messages import load_messages

RATIOS = ("binance_orjson_decimal", "binance_msgspec_float")
BOOK_RATIOS = ("binance_msgspec_float_best_mean", "binance_sbe_json", "coinbase_orjson_decimal", "kraken_orjson_decimal_mean")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make the benches find no recordings."""
    for bench in (codec, book):
        monkeypatch.setattr(bench, "load_messages", lambda limit: load_messages(limit, tmp_path))
    monkeypatch.setattr(book, "coinbase_flow", lambda limit: coinbase_flow(limit, tmp_path / "none.ws"))
    monkeypatch.setattr(book, "kraken_flow", lambda limit: kraken_flow(limit, tmp_path / "none.ws"))


def test_codec_bench_gives_every_ratio_and_the_same_outcome_twice(made: None) -> None:
    documents = [codec.run(rounds=1, messages=40) for _ in range(2)]
    assert documents[0]["hash"] == documents[1]["hash"]
    for document in documents:
        json.dumps(document)
        assert all(document["ratio"][name] > 0 for name in RATIOS)
        assert (document["results"]["messages"], document["results"]["recorded"]) == (80, False)
        assert document["floor"]["orjson_decimal"]["median_ns"] > 0


def test_book_bench_gives_the_ratios_of_every_venue_and_the_same_outcome_twice(made: None) -> None:
    documents = [book.run(rounds=1, messages=40) for _ in range(2)]
    assert documents[0]["hash"] == documents[1]["hash"]
    for document in documents:
        json.dumps(document)
        assert all(document["ratio"][name] > 0 for name in (*RATIOS, *BOOK_RATIOS))
        counted = {venue: (row["messages"], row["recorded"]) for venue, row in document["results"].items() if venue != "rounds"}
        assert counted == {"binance": (80, False), "binance_sbe": (80, False), "coinbase": (40, False), "kraken": (40, False)}
        assert set(document["floor"]) >= {"binance_orjson_decimal", "coinbase_orjson_decimal", "kraken_orjson_decimal"}


def test_book_bench_refuses_to_judge_books_that_disagree(made: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(book._BINANCE_REFERENCES, "orjson_decimal", lambda frames, sides, spans_ns: sides[0].update({10**9: 1}))
    with pytest.raises(AssertionError, match="binance: the books disagree"):
        book.run(rounds=1, messages=3)


def test_book_bench_refuses_messages_that_move_no_book(made: None, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = coinbase_flow(3, Path("/nowhere"))
    monkeypatch.setattr(book, "coinbase_flow", lambda limit: flow._replace(frames=[flow.frames[0], b"{}"]))
    with pytest.raises(AssertionError, match="coinbase: no book was moved by b'{}'"):
        book.run(rounds=1, messages=3)


def test_recorded_books_have_the_venues_checksums_and_are_those_of_the_reference(recorded: Any) -> None:
    flow = kraken_flow(60, recorded("kraken_v1/book1000_2021.ws"))
    assert (len(flow.before), len(flow.frames), flow.recorded) == (10, 60, True)
    assert flow.frames[0].startswith(b'{"channel":"book","type":"update","data":[{"symbol":')
    kraken = book._kraken(flow)
    assert book._ours(kraken)()[1] == kraken.references["orjson_decimal"]()[1]
    flow = coinbase_flow(60, recorded("coinbase/level2_ticker_matches_2021.ws"))
    coinbase = book._coinbase(flow)
    assert book._ours(coinbase)()[1] == coinbase.references["orjson_decimal"]()[1]


def test_codec_bench_refuses_frames_that_are_not_read(made: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "load_messages", lambda limit: [m._replace(frames=[b"{}"]) for m in load_messages(1, Path("/nowhere"))])
    with pytest.raises(AssertionError, match="not read"):
        codec.run(rounds=1)


def test_made_messages_have_the_shape_of_real_ones_and_are_the_same_each_time(tmp_path: Path) -> None:
    one, other = (load_messages(1500, tmp_path) for _ in range(2))
    assert [m.frames for m in one] == [m.frames for m in other]
    levels = [frame.count(b'","') - 1 for frame in one[0].frames]
    assert 12 <= median(levels) <= 20
    assert 25 <= np.mean(levels) <= 45
    data, offsets = one[0].packed()
    assert data[offsets[7] : offsets[8]].tobytes() == one[0].frames[7]


def test_recorded_messages_begin_with_the_snapshot(recorded: Any) -> None:
    folder = recorded("binance_spot/btcusdt_20240808.gz").parent
    [btc, eth] = load_messages(25, folder)
    assert (btc.symbol, eth.symbol, btc.recorded, len(eth.frames)) == ("BTCUSDT", "ETHUSDT", True, 25)
    assert btc.snapshot.startswith(b'{"lastUpdateId":50093239218')
