"""Binary private messages: the recorded frames, built ones of every kind, and nothing from half a frame."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, VENUE_EVENT, FeeAsset, IntentKind, Liquidity, Side, TimeInForce, VenueEventKind, VenueReason
from hft.venues.binance.limits import COUNT, LIMIT, ORDERS_10S, ORDERS_DAY, WEIGHT
from hft.venues.binance.orders import REQUEST_BYTES_MAX, encode, new_codec
from hft.venues.binance.sbe_private import scan_sbe_private
from hft.venues.outcomes import Scanned

K, R = VenueEventKind, VenueReason
ID, HEX, REF, REF_HEX = 0x1_0000_0000_2A, "000001000000002a", 0x1_0000_0000_07, "0000010000000007"
ABSENT, TIME_US = -(1 << 63), 1_700_000_000_123_456
UTC_NS = 1_700_000_000 * 10**9


class Desk:
    """A codec that has sent a REPLACE of REF as order ID."""

    def __init__(self) -> None:
        rows = np.zeros(1, INSTRUMENT)
        rows["tick_units"], rows["lot_units"], rows["price_decimals"], rows["qty_decimals"] = 1, 1, 2, 5
        rows["base_asset"], rows["quote_asset"] = 0, 1
        self.codec = new_codec(rows, ["BTCUSDT"], [0], ["BTC", "USDT"])
        self.out = np.zeros(64, VENUE_EVENT)
        order, request = np.zeros(1, ORDER), np.zeros(REQUEST_BYTES_MAX, np.uint8)
        order["order_id"], order["kind"], order["side"], order["tif"] = ID, IntentKind.REPLACE, Side.BUY, TimeInForce.GTC
        order["price_ticks"], order["qty_lots"] = 1, 1
        assert encode(self.codec, order, 0, ID, REF, UTC_NS, request, 0) > 0

    def scan(self, frame: bytes) -> int:
        data: Any = np.frombuffer(b"\x01" * 5 + frame, np.uint8).copy()
        return int(scan_sbe_private(self.codec, data, 5, len(data), 9, self.out))

    def events(self, frame: bytes) -> list[dict[str, int]]:
        count = self.scan(frame)
        assert count > 0, Scanned(count)
        return [{name: int(row[name]) for name in VENUE_EVENT.names if name != "reserved"} for row in self.out[:count]]


def message(template: int, root: bytes, rest: bytes = b"", schema: int = 3, version: int = 2, longer: int = 0) -> bytes:
    return struct.pack("<HHHH", len(root) + longer, template, schema, version) + root + b"\xaa" * longer + rest


def text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def report(
    execution: int = 0, status: int = 0, *, client: str = HEX, orig: str = "", longer: int = 0, expiry: int = -1, **more: Any
) -> bytes:
    has = {
        "symbol": "BTCUSDT",
        "asset": "",
        "reject": "",
        "trade": ABSENT,
        "last": 0,
        "last_price": 0,
        "fee": 0,
        "maker": 0,
        "cum": 0,
    } | more
    root = struct.pack("<qqbbbqqqq", TIME_US, TIME_US, -8, -8, -8, ABSENT, ABSENT, 77, ABSENT)
    root += struct.pack("<qqqqqBBBBB", 10_000_000, 10_012_000_000, 0, 0, 0, 1, 0, 0, execution, status)
    root += struct.pack("<qqqqqqqqBBB", has["trade"], 5, has["cum"], 0, has["last"], has["last_price"], 0, has["fee"], 1, has["maker"], 1)
    root += bytes(281 - len(root)) + (bytes([expiry]) if expiry >= 0 else b"")
    texts = [has["symbol"], client, orig, has["asset"], has["reject"], ""]
    return message(603, root, b"".join(text(value) for value in texts), longer=longer)


def reply(result: bytes, status: int = 200, request: str = HEX, limits: list[tuple[int, ...]] | None = None) -> bytes:
    told = limits or []
    group = struct.pack("<HH", 19, len(told)) + b"".join(struct.pack("<BBBqq", *one) for one in told)
    return message(50, struct.pack("<BH", 0, status), group + text(request) + struct.pack("<I", len(result)) + result)


def accepted(client: str = HEX, symbol: str = "BTCUSDT") -> bytes:
    return message(300, struct.pack("<qqq", 12, ABSENT, TIME_US), text(symbol) + text(client))


def order(template: int, status: int, *ids: str, fills: bytes = b"", longer: int = 91) -> bytes:
    root = struct.pack("<bbqqqqqqqBBBB", -8, -8, 12, ABSENT, TIME_US, 10_012_000_000, 10_000_000, 2_500_000, 0, status, 1, 1, 1)
    return message(template, root, fills + text("BTCUSDT") + b"".join(text(one) for one in ids), longer=longer)


def error(code: int, msg: str, data: bytes = b"", server_us: int = ABSENT, until_us: int = ABSENT) -> bytes:
    rest = struct.pack("<H", len(msg)) + msg.encode() + struct.pack("<I", len(data)) + data
    return message(100, struct.pack("<hqq", code, server_us, until_us), rest)


def replaced(cancel: int, new: int, cancel_response: bytes = b"", new_response: bytes = b"") -> bytes:
    rest = struct.pack("<H", len(cancel_response)) + cancel_response + struct.pack("<I", len(new_response)) + new_response
    return message(307, bytes([cancel, new]), rest)


FILLS = struct.pack("<HI", 42, 2) + (bytes(42) + text("BNB")) * 2 + struct.pack("<HI", 40, 1) + bytes(40) + text("")


@pytest.fixture
def frames(recorded: Callable[[str], Path]) -> dict[str, bytes]:
    folder = recorded("samples/binance_sbe_user_data")
    found = {}
    for path in sorted(folder.glob("*.sbe")):
        frame = path.read_bytes()
        header = json.loads(path.with_suffix(".metadata.json").read_text())["fixture"]["sbe_header"]
        assert struct.unpack_from("<HHHH", frame) == tuple(header[name] for name in ("block_length", "template_id", "schema_id", "version"))
        found[path.stem] = frame
    assert len(found) == 6
    return found


def test_recorded_frames_are_read(frames: dict[str, bytes]) -> None:
    desk = Desk()
    (opened,), (ended,) = (desk.events(frames[f"execution_report_event_{n}"]) for n in (1, 2))
    assert (opened["kind"], ended["kind"]) == (K.ACK, K.CANCELED)
    for event in (opened, ended):
        assert (event["venue_key"], event["order_id"], event["instrument"], event["side"]) == (12345678, 0, 0, Side.BUY)
        assert (event["price_ticks"], event["qty_lots"], event["cum_lots"]) == (6_000_000, 10, 0)
        assert event["exchange_ns"] == 1_700_000_000_000_000_000
    for n in (1, 2):
        assert desk.scan(frames[f"outbound_account_position_event_{n}"]) == Scanned.IGNORED
        assert desk.scan(frames[f"web_socket_response_{n}"]) == Scanned.COLD, "the recorder's own request ids"
    counts = {row: (int(desk.codec.limits[row, LIMIT]), int(desk.codec.limits[row, COUNT])) for row in (ORDERS_10S, ORDERS_DAY, WEIGHT)}
    assert counts == {ORDERS_10S: (100, 1), ORDERS_DAY: (200_000, 1), WEIGHT: (6000, 16)}


def test_recorded_replies_with_an_id_of_ours_are_the_orders_they_tell(frames: dict[str, bytes]) -> None:
    placed, canceled = (
        frames[f"web_socket_response_{n}"].replace(text(word), text(HEX)) for n, word in ((1, "ws-place"), (2, "ws-cancel"))
    )
    (first,), (second,) = Desk().events(placed), Desk().events(canceled)
    assert (first["kind"], second["kind"]) == (K.ACK, K.CANCELED)
    for event in (first, second):
        assert (event["request_id"], event["price_ticks"], event["qty_lots"], event["cum_lots"]) == (ID, 6_000_000, 10, 0)
        assert event["venue_key"] == 59208788051


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (report(), {"kind": K.ACK, "order_id": ID, "price_ticks": 10_012, "qty_lots": 10_000, "cum_lots": 0, "venue_key": 77}),
        (report(longer=9), {"kind": K.ACK, "order_id": ID}),
        (report(1, 3, client="x" + HEX, orig=HEX, cum=2_500_000), {"kind": K.CANCELED, "order_id": ID, "cum_lots": 2_500}),
        (report(1, 3, client="x" + HEX), {"kind": K.CANCELED, "order_id": ID}),
        (report(2, 0, orig=HEX), {"kind": K.AMENDED, "order_id": ID}),
        (report(3, 5, reject="INSUFFICIENT_BALANCES"), {"kind": K.REJECTED, "reason": R.INSUFFICIENT_BALANCE}),
        (report(5, 6), {"kind": K.EXPIRED, "reason": 0}),
        (report(5, 6, reject="NEW_WORD"), {"kind": K.EXPIRED, "reason": R.OTHER}),
        (report(5, 6, expiry=5), {"kind": K.EXPIRED, "reason": R.NO_LIQUIDITY}),
        (report(5, 6, expiry=255), {"kind": K.EXPIRED, "reason": 0}),
        (report(5, 6, expiry=254), {"kind": K.EXPIRED, "reason": R.OTHER}),
        (report(8, 9), {"kind": K.CANCELED, "reason": R.SELF_TRADE}),
        (
            report(4, 1, trade=9, last=2_500_000, last_price=10_010_000_000, fee=12345, asset="BTC", maker=1, cum=2_500_000),
            {"kind": K.TRADE, "trade_id": 9, "last_lots": 2_500, "last_price_ticks": 10_010, "fee_e8": 12345, "liquidity": Liquidity.MAKER},
        ),
        (
            report(4, 2, trade=9, last=1000, last_price=10_010_000_000, asset="USDT"),
            {"fee_asset": FeeAsset.QUOTE, "liquidity": Liquidity.TAKER},
        ),
        (report(4, 2, trade=9, last=1000, last_price=10_010_000_000, asset="BNB"), {"fee_asset": FeeAsset.OTHER}),
        (
            reply(accepted()),
            {"kind": K.ACK, "order_id": ID, "request_id": ID, "venue_key": 12, "cum_lots": -1, "exchange_ns": TIME_US * 1000},
        ),
        (reply(order(301, 0, HEX)), {"kind": K.ACK, "order_id": ID, "price_ticks": 10_012, "cum_lots": 2_500, "side": Side.SELL}),
        (reply(order(302, 6, HEX, fills=FILLS)), {"kind": K.EXPIRED, "order_id": ID}),
        (reply(order(305, 3, REF_HEX, "x" + REF_HEX)), {"kind": K.CANCELED, "order_id": REF, "request_id": ID}),
        (
            reply(error(-2010, "Order would immediately match and take."), 400),
            {"kind": K.REJECTED, "reason": R.WOULD_TAKE, "venue_code": -2010},
        ),
        (reply(error(-1007, "Timeout"), 504), {"kind": K.UNKNOWN, "reason": R.TIMEOUT}),
        (reply(error(-2010, "Market is closed."), 503), {"kind": K.UNKNOWN, "reason": R.MARKET_CLOSED}),
        (reply(error(-1015, "Too many", b"", 10**15, 10**15 + 5), 429), {"kind": K.THROTTLED, "retry_after_ns": 5000}),
    ],
)
def test_message_of_one_event(frame: bytes, expected: dict[str, int]) -> None:
    (event,) = Desk().events(frame)
    assert {name: event[name] for name in expected} == expected and event["received_ns"] == 9


@pytest.mark.parametrize(
    ("frame", "kinds"),
    [
        (reply(replaced(0, 0, order(305, 3, REF_HEX, "x" + REF_HEX), accepted())), [(K.CANCELED, REF), (K.ACK, ID)]),
        (
            reply(error(-2022, "failed", replaced(1, 2, error(-2011, "Unknown order sent."))), 400),
            [(K.CANCEL_REJECTED, REF), (K.REJECTED, 0)],
        ),
        (
            reply(error(-2021, "half", replaced(0, 1, order(305, 3, REF_HEX, "y"), error(-2010, "Market is closed."))), 409),
            [(K.CANCELED, REF), (K.REJECTED, 0)],
        ),
        (reply(error(-2013, "Order does not exist."), 400), [(K.CANCEL_REJECTED, REF), (K.REJECTED, 0)]),
    ],
)
def test_cancel_and_new_order_are_two_events(frame: bytes, kinds: list[tuple[K, int]]) -> None:
    assert [(event["kind"], event["order_id"]) for event in Desk().events(frame)] == kinds


def test_ban_is_kept() -> None:
    desk = Desk()
    desk.events(reply(error(-1003, "IP banned", b"", 10**15, 10**15 + 5), 418))
    assert desk.codec.limits[4, 0] == (10**15 + 5) * 1000


@pytest.mark.parametrize(
    ("frame", "scanned"),
    [
        (message(607, b"x" * 18), Scanned.IGNORED),
        (message(999, b""), Scanned.IGNORED),
        (message(602, b"x" * 18), Scanned.COLD),
        (message(610, b"x" * 8), Scanned.COLD),
        (report(symbol="XRPUSDT"), Scanned.IGNORED),
        (report(8, 1), Scanned.IGNORED),
        (report(254, 0), Scanned.COLD),
        (report(0, 253), Scanned.COLD),
        (reply(accepted(), request="logon-1"), Scanned.COLD),
        (reply(message(317, b"x" * 90)), Scanned.COLD),
        (reply(accepted(symbol="XRPUSDT")), Scanned.IGNORED),
        (b"", Scanned.MALFORMED),
        (message(603, b"x" * 281, schema=4), Scanned.MALFORMED),
        (report(4, 1, last=1, last_price=1), Scanned.MALFORMED),
        (report(cum=-1), Scanned.MALFORMED),
    ],
)
def test_message_without_events(frame: bytes, scanned: Scanned) -> None:
    assert Desk().scan(frame) == scanned


def test_frame_cut_anywhere_gives_nothing() -> None:
    replacement = reply(replaced(0, 0, order(305, 3, REF_HEX, "x"), accepted()))
    whole = [
        report(orig=HEX),
        reply(accepted()),
        reply(order(302, 0, HEX, fills=FILLS)),
        reply(error(-2010, "Market is closed."), 400),
        replacement,
    ]
    for frame in whole:
        assert Desk().scan(frame) > 0
        desk = Desk()
        # The last text of a report is of no matter to us.
        for cut in range(len(frame) - (1 if frame is whole[0] else 0)):
            assert desk.scan(frame[:cut]) == Scanned.MALFORMED, (cut, frame)
