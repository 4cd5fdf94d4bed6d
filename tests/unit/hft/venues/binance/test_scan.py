"""Does the Binance scanner read what the venue documents, and refuse everything else as a whole?"""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.records import MARKET, MarketFlag, MarketKind
from hft.venues.binance.scan import Found, FrameKind, ScanCount, new_scanner, scan, scan_snapshot
from hft.venues.json_bytes import UNITS_MAX, read_decimal, skip_value
from shm.jit import JIT_ENABLED
from support.binance_frames import DEPTH, PREFIX, QUOTE, SNAPSHOT, TRADE, Refused, btcusdt, expected, instruments, scanned

EVENTS = {"depth": DEPTH, "quote": QUOTE, "trade": TRADE}


def wrapped(event: bytes) -> bytes:
    return PREFIX + event + b"}"


def bytes_of(text: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(text, np.uint8).copy() if text else np.zeros(0, np.uint8)


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("wrap", [wrapped, bytes], ids=["combined", "raw"])
def test_scanner_reads_an_event(name: str, wrap: Callable[[bytes], bytes]) -> None:
    frame = wrap(EVENTS[name])
    result = scanned(btcusdt(), frame)
    assert result == expected(frame, instruments(), ["BTCUSDT"])
    assert result["instrument"] == 0


def test_scanner_reads_the_documented_depth_event_to_these_integers() -> None:
    result = scanned(btcusdt(), wrapped(DEPTH))
    assert result == {
        "kind": FrameKind.DEPTH,
        "instrument": 0,
        "first_id": 50093239208,
        "last_id": 50093239224,
        "exchange_ns": 1723161255408_000_000,
        "b": [(6183763, 378826), (6182099, 0)],
        "a": [(6183764, 154698)],
    }


@pytest.mark.parametrize(("maker", "flags"), [(b"true", MarketFlag.LAST), (b"false", MarketFlag.LAST | MarketFlag.BID)])
def test_scanner_makes_the_aggressor_the_opposite_of_the_maker(maker: bytes, flags: int) -> None:
    record = scanned(btcusdt(), TRADE.replace(b'"m":true', b'"m":' + maker))["record"]
    assert (record["flags"], record["kind"], record["venue_id"]) == (flags, MarketKind.TRADE, 3735683259)
    assert (record["price_ticks"], record["qty_lots"]) == (6183763, 2000)


def test_scanner_fills_the_received_time_and_leaves_the_rest_of_a_record_zero() -> None:
    data, out = bytes_of(DEPTH), np.full(8, -1, np.int64).view(np.uint8)
    out = np.full(5, 0, MARKET)
    out.view(np.uint8)[:] = 255
    scan(btcusdt(), data, 0, len(data), 99, out)
    assert out[:3]["received_ns"].tolist() == [99] * 3
    for field in ("ask_ticks", "ask_lots", "decode_ns", "instrument"):
        assert out[:3][field].tolist() == [0] * 3, field
    assert out[3]["received_ns"] == -1, "no more is written than was read"


@pytest.mark.parametrize("name", EVENTS)
def test_scanner_takes_keys_in_any_order_and_white_space_anywhere(name: str) -> None:
    event = json.loads(EVENTS[name])
    rng = random.Random(3)
    orders = [list(event.items()) for _ in range(60)]
    for order in orders[1:]:
        rng.shuffle(order)
    scanner = btcusdt()
    for order, indent in itertools.product(orders, (None, 3)):
        frame = json.dumps({"stream": "x", "data": dict(order)}, indent=indent).encode().replace(b"\n", b"\r\n\t")
        assert scanned(scanner, frame) == expected(frame, instruments(), ["BTCUSDT"]), frame
        assert scanned(scanner, frame)["kind"] > 0
    frame = b'{"data":' + EVENTS[name] + b',"stream":"x","more":[{"a":[1,{}]},[]]}'
    assert scanned(scanner, frame) == scanned(scanner, EVENTS[name])


@pytest.mark.parametrize("name", EVENTS)
def test_scanner_steps_over_unknown_keys_and_counts_them(name: str) -> None:
    scanner = btcusdt()
    plain = scanned(scanner, EVENTS[name])
    assert scanner.counts[ScanCount.UNKNOWN_KEYS] == 0
    for value in (b"1", b'"x\\u00e9\\n"', b"null", b'[[{"b":[["1","2"]]}],-1.5e+3,0.0]', '"币安"'.encode(), b"{}", b"true"):
        assert scanned(scanner, EVENTS[name][:-1] + b',"pu":' + value + b"}") == plain
    assert scanner.counts[ScanCount.UNKNOWN_KEYS] == 7


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'{"e":"serverShutdown","E":1770123456789}', FrameKind.SHUTDOWN),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', FrameKind.SHUTDOWN),
        (b'{"result":null,"id":1}', FrameKind.REPLY),
        (b'{"result":["btcusdt@trade"],"id":"x"}', FrameKind.REPLY),
        (b'{"code":2,"msg":"Invalid request: unknown variant"}', FrameKind.REPLY_ERROR),
        (b'{"error":{"code":2,"msg":"Invalid JSON"},"id":1}', FrameKind.REPLY_ERROR),
        (SNAPSHOT, FrameKind.SNAPSHOT),
        (b'{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":1,"o":"0.1"}}', FrameKind.OTHER),
        (b'{"e":"aggTrade","E":1,"s":"BTCUSDT","a":26129,"p":"x","q":[],"f":1,"l":2,"T":3,"m":null}', FrameKind.OTHER),
        (b'{"e":"depth","u":1,"s":"BTCUSDT","b":[],"a":[]}', FrameKind.OTHER),
        (b'{"stream":"!ticker@arr","data":[{"e":"24hrTicker"}]}', FrameKind.OTHER),
        (b"{}", FrameKind.OTHER),
        (DEPTH.replace(b"BTCUSDT", b"BTCUSDC"), FrameKind.UNKNOWN_SYMBOL),
        (DEPTH.replace(b"BTCUSDT", b"btcusdt"), FrameKind.UNKNOWN_SYMBOL),
        (TRADE.replace(b"BTCUSDT", b"BTCUSD"), FrameKind.UNKNOWN_SYMBOL),
        (QUOTE.replace(b"BTCUSDT", "币安人生USDT".encode()), FrameKind.UNKNOWN_SYMBOL),
    ],
)
def test_scanner_tells_what_else_a_frame_is(frame: bytes, kind: FrameKind) -> None:
    scanner = btcusdt()
    assert scanned(scanner, frame) == {"kind": kind}
    assert scanner.counts[ScanCount[kind.name]] == 1
    assert expected(frame, instruments(), ["BTCUSDT"]) == {"kind": kind}


BAD_DOCUMENTS = {
    "empty": b"",
    "null": b"null",
    "scalar": b"5",
    "string": b'"x"',
    "array": b"[]",
    "array of an event": b"[" + DEPTH + b"]",
    "two documents": DEPTH + DEPTH,
    "trailing byte": DEPTH + b"x",
    "trailing NUL": DEPTH + b"\0",
    "byte order mark": b"\xef\xbb\xbf" + DEPTH,
    "HTML": b"<html><body>502</body></html>",
    "NUL in a string": b'{"x":"\0"}',
    "control character": b'{"x":"\x1f"}',
    "invalid UTF-8": b'{"x":"\xff"}',
    "overlong UTF-8": b'{"x":"\xc0\xaf"}',
    "overlong of three": b'{"x":"\xe0\x80\xaf"}',
    "surrogate in UTF-8": b'{"x":"\xed\xa0\x80"}',
    "over U+10FFFF": b'{"x":"\xf4\x90\x80\x80"}',
    "cut UTF-8": b'{"x":"\xe5\xb8"}',
    "bad escape": b'{"x":"\\q"}',
    "cut escape": b'{"x":"\\u12',
    "bad unicode escape": b'{"x":"\\u12g4"}',
    "NaN": b'{"x":NaN}',
    "Infinity": b'{"x":-Infinity}',
    "plus": b'{"x":+1}',
    "leading zero": b'{"x":01}',
    "bare point": b'{"x":1.}',
    "bare exponent": b'{"x":1e}',
    "hexadecimal": b'{"x":0x1}',
    "single quotes": b"{'x':1}",
    "no colon": b'{"x" 1}',
    "no value": b'{"x":}',
    "trailing comma": b'{"x":1,}',
    "leading comma": b'{,"x":1}',
    "crossed brackets": b'{"x":[1}]',
    "comment": b'{"x":1}//',
    "truth": b'{"x":True}',
    "nested 100,000 deep": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "duplicate key": DEPTH.replace(b'"u":50093239224', b'"u":50093239224,"u":50093239224'),
    "escaped key": DEPTH.replace(b'"u":', b'"\\u0075":'),
    "escaped symbol": DEPTH.replace(b"BTCUSDT", b"BTC\\u0055SDT"),
    "escaped event": DEPTH.replace(b"depthUpdate", b"depth\\u0055pdate"),
    "wrapper in a wrapper": wrapped(wrapped(DEPTH)),
    "two data": b'{"stream":"x","data":' + DEPTH + b',"data":' + DEPTH + b"}",
    "event with data": DEPTH[:-1] + b',"data":1}',
}


@pytest.mark.parametrize("name", BAD_DOCUMENTS)
def test_scanner_refuses_a_document_that_is_not_what_it_seems(name: str) -> None:
    scanner = btcusdt()
    assert scanned(scanner, BAD_DOCUMENTS[name]) == {"kind": FrameKind.MALFORMED}
    assert scanner.counts[ScanCount.MALFORMED] == 1


BAD_DECIMALS = [
    b'""', b'" 1"', b'"1 "', b'"+1"', b'"-1"', b'"-0"', b'"0x1"', b'"1e5"', b'"1E5"', b'"1_0"', b'"null"', b'"NaN"', b'"Infinity"', b'"1e400"', b'"1e-400"',
    b'"."', b'"1."', b'".5"', b'"1.2.3"', b'"1,5"', b'"\xef\xbc\x91"', b'"\\u0031"', b"1", b"1.5", b"null", b"[]", b"{}", b"true", b'"1', b"1\"",
    b'"99999999999999999999999999999999"', b'"4611686018427387905"', b'"9223372036854775808"', b'"18446744073709551617"', b'"1.2345678x"', b'"1.:2345678"', b'"1.\xff\xff345678"',
]  # fmt: skip


@pytest.mark.parametrize("value", BAD_DECIMALS)
def test_scanner_refuses_a_price_or_size_that_is_no_plain_decimal(value: bytes) -> None:
    scanner = btcusdt()
    for event, fields in ((DEPTH, (b'"61837.63000000"', b'"3.78826000"')), (QUOTE, (b'"61837.64000000"', b'"1.54698000"'))):
        for field in fields:
            frame = wrapped(event.replace(field, value))
            assert scanned(scanner, frame) == {"kind": FrameKind.MALFORMED}, frame
            if b"\\u" not in value:  # JSON's escapes are refused although what they say would do.
                with pytest.raises(Refused):
                    expected(frame, instruments(), ["BTCUSDT"])


@pytest.mark.parametrize(
    ("event", "old", "new"),
    [
        (DEPTH, b'"61837.63000000"', b'"61837.63100000"'),  # off tick
        (DEPTH, b'"61837.63000000"', b'"61837.63000001"'),
        (DEPTH, b'"61837.63000000"', b'"0.00000000"'),
        (QUOTE, b'"61837.63000000"', b'"0.00000000"'),  # a price of 0 with a size
        (QUOTE, b'"3.78826000"', b'"0.00000000"'),
        (TRADE, b'"61837.63000000"', b'"0"'),
        (TRADE, b'"0.02000000"', b'"0.00000000"'),
        (TRADE, b'"m":true', b'"m":"true"'),
        (TRADE, b'"m":true', b'"m":1'),
        (TRADE, b'"m":true', b'"m":null'),
        (TRADE, b'"t":3735683259', b'"t":-5'),
        (TRADE, b'"t":3735683259', b'"t":"3735683259"'),
        (TRADE, b'"t":3735683259', b'"t":3735683259.0'),
        (TRADE, b'"T":1723161255342', b'"T":17231612553420'),  # 14 digits
        (TRADE, b'"T":1723161255342', b'"T":1723161255342000000'),  # ns
        (TRADE, b'"T":1723161255342', b'"T":-1723161255342'),
        (TRADE, b'"T":1723161255342', b'"T":9999999999999'),  # year 2286
        (TRADE, b',"q":"0.02000000"', b""),
        (DEPTH, b'"U":50093239208', b'"U":50093239225'),  # u < U
        (DEPTH, b'"U":50093239208', b'"U":5e10'),
        (DEPTH, b'"U":50093239208', b'"U":1000000000000000000'),  # 19 digits
        (DEPTH, b'"U":50093239208', b'"U":123456789012345678901234567890'),
        (DEPTH, b'"u":50093239224', b'"u":null'),
        (DEPTH, b'"E":1723161255408', b'"E":"1723161255408"'),
        (DEPTH, b'"s":"BTCUSDT"', b'"s":5'),
        (DEPTH, b'"e":"depthUpdate"', b'"e":5'),
        (DEPTH, b',"a":[["61837.64000000","1.54698000"]]', b""),
        (DEPTH, b'"a":[[', b'"A":[['),
        (DEPTH, b'["61837.64000000","1.54698000"]', b'["61837.64000000"]'),
        (DEPTH, b'["61837.64000000","1.54698000"]', b'["61837.64000000","1.54698000",[]]'),
        (DEPTH, b'["61837.64000000","1.54698000"]', b'"61837.64000000"'),
        (DEPTH, b'[["61837.64000000","1.54698000"]]', b"null"),
        (DEPTH, b'[["61837.64000000","1.54698000"]]', b"[[]]"),
        (DEPTH, b'[["61837.64000000","1.54698000"]]', b'[["61837.64000000","1.54698000"],]'),
        (DEPTH, b'[["61837.64000000","1.54698000"]]', b'{"61837.64000000":"1.54698000"}'),
    ],
)
@pytest.mark.parametrize("late_symbol", [False, True])
def test_scanner_refuses_the_whole_event_when_one_value_is_wrong(event: bytes, old: bytes, new: bytes, late_symbol: bool) -> None:
    assert old in event
    frame = event.replace(old, new)
    if late_symbol and b'"s":"BTCUSDT",' in frame:
        frame = frame.replace(b'"s":"BTCUSDT",', b"")[:-1] + b',"s":"BTCUSDT"}'
    assert scanned(btcusdt(), frame) == {"kind": FrameKind.MALFORMED}
    with pytest.raises(Refused):
        expected(frame, instruments(), ["BTCUSDT"])


@pytest.mark.parametrize(
    ("event", "old", "new"),
    [
        (DEPTH, b'"61837.63000000"', b'"61837.63"'),
        (DEPTH, b'"61837.63000000"', b'"61837.6300000000000000000000000000"'),
        (DEPTH, b'"61837.63000000"', b'"0061837.63000000"'),
        (DEPTH, b'"3.78826000"', b'"3.78826"'),
        (DEPTH, b'"3.78826000"', b'"3"'),
        (DEPTH, b'"3.78826000"', b'"46116860184273.00000000"'),
        (DEPTH, b'"3.78826000"', b'"46116860184273.0"'),
        (DEPTH, b'[["61837.64000000","1.54698000"]]', b"[ ]"),
        (DEPTH, b'"E":1723161255408', b'"E":1723161255408123'),  # microseconds
        (DEPTH, b'"E":1723161255408', b'"E":0'),
        (DEPTH, b'"U":50093239208', b'"U":0'),
        (DEPTH, b'"u":50093239224', b'"u":999999999999999999'),
        (QUOTE, b'"b":"61837.63000000","B":"3.78826000"', b'"b":"0.00000000","B":"0.00000000"'),
        (QUOTE, b'"a":"61837.64000000","A":"1.54698000"', b'"a":"0","A":"0.0"'),
        (TRADE, b'"T":1723161255342', b'"T":1723161255342001'),
    ],
)
def test_scanner_takes_the_same_value_written_otherwise(event: bytes, old: bytes, new: bytes) -> None:
    assert old in event
    frame = event.replace(old, new)
    result = scanned(btcusdt(), frame)
    assert result["kind"] > 0
    assert result == expected(frame, instruments(), ["BTCUSDT"])


@pytest.mark.parametrize(("text", "lots"), [(b"25.42618900", 2542618), (b"0.00000100", 1), (b"0.00000999", 1), (b"0.00000000", 0)])
def test_scanner_rounds_a_size_finer_than_a_lot_down_but_never_to_nothing(text: bytes, lots: int) -> None:
    scanner = btcusdt()
    result = scanned(scanner, DEPTH.replace(b"3.78826000", text))
    assert result["b"][0] == (6183763, lots)
    assert scanner.counts[ScanCount.OFF_LOT] == (0 if lots == 0 else 1)


@pytest.mark.parametrize(
    ("tick_units", "price", "ticks"), [(5, b"0.15", 3), (5, b"0.16", None), (25, b"10.25", 41), (100, b"7", 7), (100, b"7.5", None)]
)
def test_scanner_refuses_prices_between_two_ticks(tick_units: int, price: bytes, ticks: int | None) -> None:
    table = instruments(tick_units=tick_units, lot_units=10, qty_decimals=1)
    frame = TRADE.replace(b"61837.63000000", price).replace(b"0.02000000", b"12.0")
    result = scanned(new_scanner(table, ["BTCUSDT"]), frame)
    if ticks is None:
        assert result == {"kind": FrameKind.MALFORMED}
    else:
        assert (result["record"]["price_ticks"], result["record"]["qty_lots"]) == (ticks, 12)


def test_scanner_tells_symbols_apart_whatever_their_number_and_order() -> None:
    symbols = [f"{base}{quote}" for base in ("BTC", "ETH", "1000SATS", "A", "AB", "BA", "币安") for quote in ("USDT", "BTC", "U", "")]
    rows = list(range(len(symbols), 0, -1))
    scanner = new_scanner(instruments(rows=len(symbols) + 1), symbols, rows)
    for symbol, row in zip(symbols, rows, strict=True):
        assert scanned(scanner, QUOTE.replace(b"BTCUSDT", symbol.encode()))["instrument"] == row
    for other in ("", "BT", "BTCUSDTX", "USDT", "BTC USDT"):
        assert scanned(scanner, QUOTE.replace(b"BTCUSDT", other.encode()))["kind"] == FrameKind.UNKNOWN_SYMBOL


@pytest.mark.parametrize(
    ("symbols", "rows", "match"),
    [
        (["A", "A"], None, "distinct"),
        (["A" * 65], None, "64 bytes"),
        (["A"], [5], "rows below 1"),
        (["A", "B"], [0], "2 rows"),
        ([""], None, "1 to 64"),
    ],
)
def test_new_scanner_refuses_tables_that_do_not_fit(symbols: list[str], rows: list[int] | None, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        new_scanner(instruments(rows=1 if rows else 2), symbols, rows)


@pytest.mark.parametrize("change", [{"tick_units": 0}, {"lot_units": -1}, {"price_decimals": 19}, {"qty_decimals": -1}])
def test_new_scanner_refuses_a_scale_that_cannot_be(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="instrument 0"):
        new_scanner(instruments(**change), ["BTCUSDT"])


def test_new_scanner_refuses_rows_of_another_layout() -> None:
    with pytest.raises(ValueError, match="INSTRUMENT"):
        new_scanner(np.zeros(1, MARKET), ["BTCUSDT"])


@pytest.mark.parametrize("room", [0, 1, 2, 3])
def test_scanner_says_so_when_the_levels_do_not_fit(room: int) -> None:
    scanner = btcusdt()
    result = scanned(scanner, DEPTH, levels_max=room)
    assert result["kind"] == (FrameKind.DEPTH if room == 3 else FrameKind.NO_ROOM)
    assert scanner.counts[ScanCount.NO_ROOM] == (room < 3)


@pytest.mark.parametrize("event", [QUOTE, TRADE])
def test_scanner_says_so_when_a_single_record_does_not_fit(event: bytes) -> None:
    assert scanned(btcusdt(), event, levels_max=0) == {"kind": FrameKind.NO_ROOM}


def test_malformed_depth_names_its_instrument_and_other_malformed_events_name_none() -> None:
    scanner = btcusdt()
    for event, row in ((DEPTH, 0), (QUOTE, -1), (TRADE, -1)):
        scanned(scanner, event.replace(b'"61837.63000000"', b'"6183x.63000000"'))
        assert scanner.found[Found.INSTRUMENT] == row


@pytest.mark.parametrize("event", [*EVENTS.values(), SNAPSHOT, wrapped(DEPTH)])
def test_scanner_refuses_a_frame_cut_at_any_byte(event: bytes) -> None:
    scanner = btcusdt()
    for length in range(len(event)):
        assert scanned(scanner, event[:length])["kind"] == FrameKind.MALFORMED, event[:length]


def snapshot(frame: bytes, room: int = 64) -> tuple[int, list[tuple[int, int, bool]], int]:
    scanner, data, out = btcusdt(), bytes_of(frame), np.zeros(room, MARKET)
    kind = scan_snapshot(scanner, 0, data, 0, len(data), 5, out)
    records = out[: scanner.found[Found.RECORDS]]
    levels = [(int(r["price_ticks"]), int(r["qty_lots"]), bool(r["flags"] & MarketFlag.BID)) for r in records]
    return int(kind), levels, int(scanner.found[Found.LAST_ID])


def test_scan_snapshot_reads_every_level() -> None:
    levels = [(6183763, 378826, True), (6183764, 154698, False)]
    assert snapshot(SNAPSHOT) == (FrameKind.SNAPSHOT, levels, 50093239218)
    other = b'{"asks":[["61837.64000000","1.54698000"]],"E":1,"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]]}\n'
    assert snapshot(other) == (FrameKind.SNAPSHOT, levels, 50093239218)


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (b'{"code":-1121,"msg":"Invalid symbol."}', FrameKind.OTHER),
        (b"", FrameKind.MALFORMED),
        (SNAPSHOT[:-1], FrameKind.MALFORMED),
        (SNAPSHOT + b"{", FrameKind.MALFORMED),
        (SNAPSHOT.replace(b"3.78826000", b"0.00000000"), FrameKind.MALFORMED),
        (SNAPSHOT.replace(b"61837.63", b"61837.635"), FrameKind.MALFORMED),
        (SNAPSHOT.replace(b'50093239218,"', b'"50093239218","'), FrameKind.MALFORMED),
        (SNAPSHOT.replace(b"50093239218", b"-1"), FrameKind.MALFORMED),
        (b"<html>", FrameKind.MALFORMED),
    ],
)
def test_scan_snapshot_refuses_anything_else(frame: bytes, kind: FrameKind) -> None:
    assert snapshot(frame)[0] == kind


def test_scan_snapshot_says_so_when_the_levels_do_not_fit() -> None:
    assert [snapshot(SNAPSHOT, room)[0] for room in (0, 1, 2)] == [FrameKind.NO_ROOM, FrameKind.NO_ROOM, FrameKind.SNAPSHOT]


@pytest.mark.parametrize("decimals", [0, 1, 2, 5, 7, 8, 9, 18])
def test_read_decimal_equals_exact_arithmetic(decimals: int) -> None:
    rng = random.Random(decimals)
    for _ in range(3000 if JIT_ENABLED else 300):
        whole = str(rng.choice((0, 1, 9, rng.randrange(100), rng.randrange(10**6), rng.randrange(10**19))))
        places = rng.choice((0, 1, decimals, 8, 8, 8, 12))
        fraction = "".join(rng.choice("0000123456789") for _ in range(places))
        text = whole + ("." + fraction if places else "")
        exact = int(whole + fraction) * 10**decimals
        units, rest = divmod(exact, 10**places)
        data = bytes_of(f'"{text}",'.encode())
        value, past, cut = read_decimal(data, 0, len(data), decimals)
        if units >= UNITS_MAX:
            assert past == -1, text
        elif past == -1:
            assert units >= UNITS_MAX - 18, text
        else:
            assert (value, past, cut) == (units, len(text) + 2, int(rest != 0)), text


@pytest.mark.parametrize("position", range(8))
def test_read_decimal_refuses_every_byte_that_is_no_digit_at_every_place(position: int) -> None:
    for byte in range(256):
        text = bytearray(b'"7.12345678"')
        text[3 + position] = byte
        digit = 48 <= byte <= 57
        value, past, _ = read_decimal(bytes_of(bytes(text)), 0, len(text), 8)
        # A quote ends the number early, after at least one digit of its fraction.
        early = byte == 34 and position > 0
        assert past == (12 if digit else 4 + position if early else -1), byte
        if digit:
            assert value == int(bytes(text[1:2] + text[3:11]))


@pytest.mark.parametrize(("depth", "good"), [(60, True), (61, False)])
def test_skip_value_goes_no_deeper_than_it_says(depth: int, good: bool) -> None:
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        data = bytes_of(opening * depth + b"1" + closing * depth)
        assert skip_value(data, 0, len(data)) == (len(data) if good else -1)


@pytest.mark.parametrize("name", ["btcusdt", "ethusdt"])
def test_scanner_reads_recorded_frames_as_exact_arithmetic_does(name: str, recorded: Callable[[str], Path]) -> None:
    scanner = new_scanner(instruments(), [name.upper()])
    step = 20 if JIT_ENABLED else 400
    with gzip.open(recorded(f"binance_spot/{name}_20240808.gz")) as lines:
        for line in itertools.islice(lines, 0, None, step):
            frame = line.split(b" ", 1)[1].strip()
            assert scanned(scanner, frame) == expected(frame, instruments(), [name.upper()])
    assert scanner.counts[ScanCount.MALFORMED] == 0
