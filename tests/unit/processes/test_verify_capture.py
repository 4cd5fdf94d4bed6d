"""Does verify-capture find what is right and what is wrong with a capture, whatever its form?"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hft.book import new_book, set_level, state_hash
from processes.capture import NOTES, CaptureError, read_capture
from processes.verify_capture import books, print_capture, verify
from shm.jit import JIT_ENABLED
from support.naive_book import NaiveBook


class Market:
    """Makes the messages of a venue whose book is known; prices in hundredths, sizes in thousandths."""

    def __init__(self, symbol: str = "BTCUSDT", seed: int = 1, first_id: int = 1000) -> None:
        self.symbol, self.rng, self.id, self.naive = symbol, random.Random(seed), first_id, NaiveBook()
        self.hashes: dict[int, int] = {}
        for i in range(20):
            self.naive.set_level(1, 10_000 - i, 5 + i)
            self.naive.set_level(-1, 10_001 + i, 5 + i)

    def message(self, kind: str, data: dict[str, Any]) -> bytes:
        return json.dumps({"stream": f"{self.symbol.lower()}@{kind}", "data": data}, separators=(",", ":")).encode()

    def snapshot(self) -> bytes:
        sides = {
            name: [[f"{p / 100:.8f}", f"{q / 1000:.8f}"] for p, q in self.naive.levels(side)] for name, side in (("bids", 1), ("asks", -1))
        }
        return json.dumps({"lastUpdateId": self.id, **sides}, separators=(",", ":")).encode()

    def diff(self) -> bytes:
        sides: dict[str, list[list[str]]] = {"b": [], "a": []}
        for _ in range(self.rng.randint(1, 4)):
            side = self.rng.choice((1, -1))
            price = 10_000 - side * self.rng.randint(3, 30) + (side < 0)
            lots = self.rng.choice((0, self.rng.randint(1, 10**6)))
            self.naive.set_level(side, price, lots)
            sides["b" if side == 1 else "a"].append([f"{price / 100:.8f}", f"{lots / 1000:.8f}"])
        first, self.id = self.id + 1, self.id + self.rng.randint(1, 5)
        return self.message("depth@100ms", {"e": "depthUpdate", "E": 1723161255408, "s": self.symbol, "U": first, "u": self.id, **sides})

    def quote(self) -> bytes:
        (bid, bid_lots), (ask, ask_lots) = self.naive.best(1), self.naive.best(-1)
        best = {"b": f"{bid / 100:.8f}", "B": f"{bid_lots / 1000:.8f}", "a": f"{ask / 100:.8f}", "A": f"{ask_lots / 1000:.8f}"}
        return self.message("bookTicker", {"u": self.id, "s": self.symbol, **best})

    def expected_hash(self) -> int:
        book = new_book(256, near_ticks=1024)
        for side in (1, -1):
            for price, lots in self.naive.levels(side):
                set_level(book, side, price, lots)
        return int(state_hash(book))

    def session(self, diffs: int = 40) -> list[bytes]:
        """Diffs, each after the quote of its own id, with a snapshot after the second: it and 38 diffs can be compared."""
        messages = [self.quote()]
        for n in range(diffs):
            if n == 2:
                messages.append(self.snapshot())
            diff = self.diff()
            messages += [self.quote(), diff]
            self.hashes[self.id] = self.expected_hash()
        return messages


TRADE = b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":1,"p":"100.00","q":"0.5","T":1723161255342,"m":true}'


def as_lines(messages: list[bytes]) -> bytes:
    return b"".join(b"%d %s\n" % (1723161253937085768 + n, message) for n, message in enumerate(messages))


def written(path: Path, messages: list[bytes]) -> Path:
    path.write_bytes(as_lines(messages))
    return path


def test_verify_finds_every_update_equal_and_every_book_the_same(tmp_path: Path) -> None:
    market = Market()
    path = written(tmp_path / "x", [*market.session(), TRADE])
    document = verify("binance", path)
    expected = {"messages": 83, "compared": 39, "equal": 39, "gaps": 0, "crossed": 0, "refused": 0, "trades": 1, "quotes": 41, "diffs": 40}
    assert {key: document[key] for key in expected} == expected
    assert (document["book_updates"], document["snapshots"], document["checksum_bad"]) == (39, 1, 0)
    assert document["symbols"]["BTCUSDT"]["price_decimals"] == 2
    assert document["symbols"]["BTCUSDT"]["qty_decimals"] == 3
    found = books(path)["BTCUSDT"]
    assert {int(row["update_id"]): int(row["hash"]) for row in found} == dict(list(market.hashes.items())[1:])


@pytest.mark.parametrize("form", ["gz", "bare", "cryptofeed"])
def test_verify_reads_every_form_of_a_capture(form: str, tmp_path: Path) -> None:
    messages = Market().session()
    path = tmp_path / "capture"
    if form == "gz":
        path.write_bytes(gzip.compress(as_lines(messages)))
    elif form == "bare":
        path.write_bytes(b"\n\n".join(messages))
    else:
        path = tmp_path / "streams.ws"
        stamped = [b"%d.5: %s" % (1633998511 + n, message) for n, message in enumerate(messages)]
        at = next(n for n, message in enumerate(messages) if message.startswith(b'{"lastUpdateId"'))
        snapshot = stamped.pop(at).split(b": ", 1)[1]
        path.write_bytes(b"\n".join([b"wss://x/stream?streams=a <-> 1633998511.1", b"wss://x/stream <- 1633998511.2: hello", *stamped]))
        url = b"https://x/api/v3/depth?symbol=BTCUSDT&limit=1000"
        (tmp_path / "depth_snapshots.http").write_bytes(b"%s -> %d.4: %s\n" % (url, 1633998511 + at, snapshot))
        assert verify("binance", tmp_path)["equal"] == 39, "a folder is read by its usual names"
    document = verify("binance", path)
    assert (document["compared"], document["equal"], document["gaps"], document["refused"]) == (39, 39, 0, 0)


def test_verify_tells_where_the_book_and_the_quotes_differ(tmp_path: Path) -> None:
    messages = Market().session()
    changed = json.loads(messages[50])
    changed["data"]["B"] = "77.00000000"
    assert "B" in json.loads(messages[50])["data"]
    messages[50] = json.dumps(changed).encode()
    document = verify("binance", written(tmp_path / "x", messages))
    assert (document["compared"], document["equal"]) == (39, 38)
    [one] = document["first_differing"]
    assert (one["line"], one["bookTicker"][2]) == (52, 77_000)


def test_verify_counts_a_gap_and_does_not_trust_the_book_after_it(tmp_path: Path) -> None:
    messages = Market().session()
    del messages[60]
    assert b"depthUpdate" in messages[60] or b"bookTicker" in messages[60]
    removed = next(n for n in range(60, 80) if b"depthUpdate" in messages[n])
    del messages[removed]
    document = verify("binance", written(tmp_path / "x", messages))
    assert document["gaps"] == 1
    assert document["compared"] == document["equal"] < 39


def test_verify_counts_a_crossed_book(tmp_path: Path) -> None:
    market = Market()
    messages = market.session()
    crossing = {"e": "depthUpdate", "E": 1, "s": "BTCUSDT", "U": market.id + 1, "u": market.id + 1, "b": [["200.00", "1"]], "a": []}
    document = verify("binance", written(tmp_path / "x", [*messages, market.message("depth@100ms", crossing)]))
    assert (document["crossed"], document["gaps"], document["compared"]) == (1, 0, 39)


def test_verify_goes_on_after_bad_lines_and_names_them(tmp_path: Path) -> None:
    messages = Market().session()
    for at, bad in ((10, b'{"stream":'), (30, b"\xff\xfe\x00"), (50, b"[]"), (70, b'{"e":"trade","s":"BTCUSDT"}')):
        messages.insert(at, bad)
    document = verify("binance", written(tmp_path / "x", messages))
    assert (document["refused"], document["compared"], document["equal"]) == (4, 39, 39)
    assert [one["line"] for one in document["first_refused"]] == [11, 31, 51, 71]
    assert document["first_refused"][0]["reason"] == "malformed"


def test_verify_tells_which_snapshot_belongs_to_which_symbol(tmp_path: Path) -> None:
    one, other = Market("BTCUSDT", 1, 1000).session(), Market("ETHUSDT", 2, 9_000_000).session()
    mixed = [message for pair in zip(one, other, strict=True) for message in pair]
    document = verify("binance", written(tmp_path / "x", mixed))
    assert (document["snapshots"], document["compared"], document["equal"]) == (2, 78, 78)
    assert {symbol: row["equal"] for symbol, row in document["symbols"].items()} == {"BTCUSDT": 39, "ETHUSDT": 39}


def test_verify_refuses_a_snapshot_that_could_be_of_either_symbol(tmp_path: Path) -> None:
    one, other = Market("BTCUSDT", 1, 1000).session(), Market("ETHUSDT", 2, 1000).session()
    document = verify("binance", written(tmp_path / "x", [message for pair in zip(one, other, strict=True) for message in pair]))
    assert (document["refused"], document["snapshots"], document["compared"]) == (2, 0, 0)


def test_verify_takes_a_new_connection_as_the_end_of_what_was_known(tmp_path: Path) -> None:
    messages = Market().session()
    lines = [b"%d.5: %s" % (1633998511 + n, message) for n, message in enumerate(messages)]
    lines.insert(60, b"wss://x/stream <-> 1633998570.0")
    path = tmp_path / "streams.ws"
    path.write_bytes(b"\n".join(lines))
    document = verify("binance", path)
    assert (document["gaps"], document["refused"]) == (0, 0)
    assert 0 < document["compared"] == document["equal"] < 39


def test_verify_refuses_files_that_are_no_capture(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    packed = gzip.compress(as_lines(Market().session(200)))
    cut.write_bytes(packed[: len(packed) // 2])
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(packed[:40] + bytes(byte ^ 255 for byte in packed[40:80]) + packed[80:])
    empty = written(tmp_path / "empty", [])
    other = tmp_path / "other"
    other.write_bytes(b"hello\n\x00\x01\nworld\n")
    (tmp_path / "folder").mkdir()
    replies = tmp_path / "streams.ws"
    replies.write_bytes(b"1.0: {}\n")
    (tmp_path / "depth_snapshots.http").write_bytes(b"nonsense\n")
    for path, match in (
        (cut, r"cut\.gz: the file is cut off after line \d+"),
        (damaged, "damaged after line"),
        (empty, "no Binance market data among 0 messages"),
        (other, "no Binance market data among 3 messages"),
        (tmp_path / "folder", "streams.ws: no such capture"),
        (tmp_path / "absent", "absent: no such capture"),
        (Path("/dev/null"), "expected a file"),
        (replies, r"depth_snapshots\.http line 1: expected"),
    ):
        with pytest.raises(CaptureError, match=match):
            verify("binance", path)


def test_verify_refuses_a_venue_whose_oracle_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="expected binance, coinbase, kraken"):
        verify("bitmex", tmp_path)


def test_print_capture_shows_each_symbol_and_each_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    messages = Market().session()
    messages.insert(10, b"{")
    messages[51] = messages[51].replace(b'"B":"', b'"B":"9')
    document = verify("binance", written(tmp_path / "x", messages))
    print_capture(document)
    text = capsys.readouterr().out
    assert "BTCUSDT" in text
    assert "refused 1" in text
    assert "x line 11: malformed" in text and "x line 53: BTCUSDT at " in text


def test_what_is_wrong_is_said_with_its_place(tmp_path: Path) -> None:
    good = written(tmp_path / "good", Market().session())
    assert verify("binance", good)["wrong"] == []
    messages = Market().session()
    messages.insert(10, b'{"stream":')
    path = written(tmp_path / "refused", messages)
    assert verify("binance", path)["wrong"] == [f"{path}: 1 messages refused, the first at refused line 11: malformed: '{{\"stream\":'"]
    path = written(tmp_path / "trades", [TRADE] * 3)
    assert verify("binance", path)["wrong"] == [f"{path}: nothing was compared with what the venue says, in 3 messages"]


def test_each_file_of_a_folder_must_be_right_and_is_named(tmp_path: Path) -> None:
    messages = Market().session()
    written(tmp_path / "a.jsonl", messages)
    written(tmp_path / "b.jsonl", [TRADE])
    document = verify("binance", tmp_path)
    assert document["wrong"] == [f"{tmp_path / 'b.jsonl'}: nothing was compared with what the venue says, in 1 messages"]
    assert document["compared"] == document["equal"] == 39


def test_places_in_a_recorded_session_are_those_in_its_segments(tmp_path: Path) -> None:
    (tmp_path / NOTES).write_bytes(b"")
    messages = Market().session()
    messages.insert(45, b"{")
    messages[51] = messages[51].replace(b'"B":"', b'"B":"9')
    for name, part in (("1.gz", messages[:40]), ("2.gz", messages[40:])):
        (tmp_path / name).write_bytes(gzip.compress(as_lines(part)))
    document = verify("binance", tmp_path)
    assert [(one["file"], one["line"]) for one in document["first_refused"]] == [("2.gz", 6)]
    assert {(one["file"], one["line"]) for one in document["first_differing"]} == {("2.gz", 13)}


@pytest.mark.parametrize("venue", ["binance", "coinbase", "kraken"])
def test_capture_of_another_venue_is_refused_with_how_it_begins(venue: str, tmp_path: Path) -> None:
    other = {
        "binance": b'{"type":"match","product_id":"BTC-USD","price":"1","size":"1"}',
        "coinbase": b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD"}]}',
        "kraken": b'{"stream":"btcusdt@trade","data":{"e":"trade","s":"BTCUSDT"}}',
    }[venue]
    path = tmp_path / "x.jsonl"
    path.write_bytes(b"\n" + other + b"\n")
    with pytest.raises(
        CaptureError, match=r"x\.jsonl line 2: no \w+ market data among 1 messages: .*; the capture begins with '{"
    ) as refused:
        verify(venue, path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "least"), [("btcusdt", 3449), ("ethusdt", 3432)])
def test_verify_finds_the_recordings_equal_at_every_update(name: str, least: int, recorded: Callable[[str], Path], tmp_path: Path) -> None:
    path = recorded(f"binance_spot/{name}_20240808.gz")
    if not JIT_ENABLED:
        lines = [line.payload for line, _ in zip(read_capture(path), range(400), strict=False)]
        path, least = written(tmp_path / "x", lines), 10
    document = verify("binance", path)
    assert document["compared"] >= least
    assert document["compared"] == document["equal"]
    assert (document["gaps"], document["crossed"], document["refused"]) == (0, 0, 0)


def test_verify_finds_the_many_symbols_of_a_short_recording_equal(recorded: Callable[[str], Path]) -> None:
    document = verify("binance", recorded("binance_spot/short_2021/streams.ws"))
    assert (document["snapshots"], document["compared"], document["equal"], document["gaps"]) == (4, 159, 159, 0)
