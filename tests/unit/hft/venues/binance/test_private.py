"""Private scanner: each documented reply and event gives exactly its events; what is not as documented gives none."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, VENUE_EVENT, FeeAsset, IntentKind, Liquidity, Side, TimeInForce, VenueEventKind, VenueReason
from hft.venues.binance.kernels import may_send, note_sent
from hft.venues.binance.limits import BANNED_UNTIL_NS, COUNT, LIMIT, ORDERS_10S, ORDERS_DAY, WEIGHT, WORDS
from hft.venues.binance.orders import REQUEST_BYTES_MAX, encode, new_codec
from hft.venues.binance.private import scan_private
from hft.venues.outcomes import Scanned
from shm.jit import JIT_ENABLED
from support.binance_frames import Refused
from support.binance_private import HEX, ID, Reader, canceled, fill, limit, placed, refusal, replace_data, reply, report, text
from support.scanner_fuzz import mutate

K, R = VenueEventKind, VenueReason
ASSETS, SYMBOLS = ["BTC", "USDT", "ETH", "BNB"], ["BTCUSDT", "ETHUSDT"]
REF, REF_HEX = 0x1_0000_0000_07, "0000010000000007"
UTC_NS, NOW_NS = 1_655_716_096_505_000_000, 10**9


def table() -> np.ndarray:
    rows = np.zeros(2, INSTRUMENT)
    rows["tick_units"], rows["lot_units"], rows["price_decimals"], rows["qty_decimals"] = 1, 1, 2, (5, 4)
    rows["base_asset"], rows["quote_asset"] = (0, 2), 1
    return rows


class Desk:
    """A codec that has sent what it is told, and what it reads."""

    def __init__(self, *kinds: IntentKind) -> None:
        self.codec = new_codec(table(), SYMBOLS, [0, 1], ASSETS)
        self.out = np.zeros(64, VENUE_EVENT)
        self.out["reserved"], self.out["order_id"] = 0, 99
        order, request = np.zeros(1, ORDER), np.zeros(REQUEST_BYTES_MAX, np.uint8)
        order["order_id"], order["side"], order["tif"], order["price_ticks"], order["qty_lots"] = ID, Side.BUY, TimeInForce.GTC, 10_000, 100
        for kind in kinds:
            order["kind"] = kind
            assert encode(self.codec, order, 0, ID, REF, UTC_NS, request, 0) > 0
            note_sent(self.codec, int(kind), 0, NOW_NS, UTC_NS)

    def scan(self, payload: bytes, received_ns: int = NOW_NS) -> int:
        # At the very end of its array, so that one byte too far is out of bounds; after bytes that look like more of it.
        data: Any = np.frombuffer(b'{"9' + payload, np.uint8).copy()
        return int(scan_private(self.codec, data, 3, len(data), received_ns, self.out))

    def events(self, payload: bytes, received_ns: int = NOW_NS) -> list[dict[str, Any]]:
        count = self.scan(payload, received_ns)
        assert count > 0, Scanned(count)
        assert (self.out[:count]["received_ns"] == received_ns).all()
        return [as_dict(row) for row in self.out[:count]]

    def one(self, payload: bytes) -> dict[str, Any]:
        (event,) = self.events(payload)
        return event


def as_dict(row: Any) -> dict[str, Any]:
    return {name: int(row[name]) for name in VENUE_EVENT.names if not name.startswith("reserved") and name != "received_ns"}


def says(event: dict[str, Any], **fields: int) -> bool:
    return {name: event[name] for name in fields} == fields


def test_accepted_order_is_acknowledged_with_both_ids() -> None:
    desk = Desk(IntentKind.NEW)
    event = desk.one(reply(placed()))
    assert says(event, kind=K.ACK, order_id=ID, request_id=ID, venue_key=12, cum_lots=-1, exchange_ns=1655716096505 * 10**6, instrument=0)
    assert desk.codec.asked[:, 6].max() == 12, "remembered for queries"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        ("NEW", K.ACK, 0),
        ("FILLED", K.ACK, 0),
        ("EXPIRED", K.EXPIRED, 0),
        ("REJECTED", K.REJECTED, 0),
        ("EXPIRED_IN_MATCH", K.CANCELED, R.SELF_TRADE),
    ],
)
def test_longer_reply_to_a_new_order_tells_its_state(status: str, kind: K, reason: int) -> None:
    event = Desk().one(reply(placed(status=status, price="100.00", origQty="1.0", executedQty="0.5", side="SELL", fills=[])))
    assert says(event, kind=kind, reason=reason, price_ticks=10_000, qty_lots=100_000, cum_lots=50_000, side=Side.SELL)


def test_canceled_order_is_named_by_the_id_it_had() -> None:
    event = Desk(IntentKind.CANCEL).one(reply(canceled(REF_HEX)))
    assert says(event, kind=K.CANCELED, order_id=REF, request_id=ID, venue_key=12, cum_lots=25_000, qty_lots=100_000, side=Side.SELL)


def test_cancel_all_tells_each_order_of_ours_and_steps_over_lists() -> None:
    others = [{"orderListId": 1, "orders": [{"orderId": 5}], "orderReports": []}, canceled(symbol="XRPUSDT")]
    events = Desk().events(reply([canceled(REF_HEX), *others, canceled("foreign")]))
    assert [event["order_id"] for event in events] == [REF, 0] and all(event["kind"] == K.CANCELED for event in events)
    assert Desk().scan(reply([])) == 0
    many = [canceled(f"{number:016x}") for number in range(1, 90)]
    assert [event["order_id"] for event in Desk().events(reply(many))] == list(range(1, 65)), "what there is room for"


def test_cancel_and_new_order_both_through_are_two_events_in_that_order() -> None:
    first, second = Desk(IntentKind.REPLACE).events(reply(replace_data("SUCCESS", "SUCCESS", canceled(REF_HEX), placed(orderId=13))))
    assert says(first, kind=K.CANCELED, order_id=REF, request_id=ID, venue_key=12, cum_lots=25_000)
    assert says(second, kind=K.ACK, order_id=ID, request_id=ID, venue_key=13)


def test_failed_cancel_proves_that_the_new_order_never_lived_and_asks_for_the_old() -> None:
    data = replace_data("FAILURE", "NOT_ATTEMPTED", {"code": -2011, "msg": "Unknown order sent."}, None)
    first, second = Desk(IntentKind.REPLACE).events(refusal(-2022, "Order cancel-replace failed.", 400, data))
    assert says(first, kind=K.CANCEL_REJECTED, order_id=REF, request_id=ID, reason=R.UNKNOWN_ORDER, venue_code=-2011)
    assert says(second, kind=K.REJECTED, order_id=0, request_id=ID, reason=R.UNKNOWN_ORDER)
    assert [e["kind"] for e in Desk().events(refusal(-2022, "x", 400, data))] == [K.REJECTED], "if it is not known what was meant"


def test_new_order_refused_after_its_cancel_ends_both() -> None:
    data = replace_data("SUCCESS", "FAILURE", canceled(REF_HEX), {"code": -2010, "msg": "Order would immediately match and take."})
    first, second = Desk(IntentKind.REPLACE).events(refusal(-2021, "Order cancel-replace partially failed.", 409, data))
    assert says(first, kind=K.CANCELED, order_id=REF) and says(
        second, kind=K.REJECTED, request_id=ID, reason=R.WOULD_TAKE, venue_code=-2010
    )


def test_new_order_of_unknown_fate_after_its_cancel_stays_unknown() -> None:
    data = replace_data("SUCCESS", "FAILURE", canceled(REF_HEX), {"code": -1007, "msg": "Timeout"})
    assert [event["kind"] for event in Desk(IntentKind.REPLACE).events(refusal(-2021, "x", 409, data))] == [K.CANCELED, K.UNKNOWN]


def test_change_in_place_names_the_order_and_the_request() -> None:
    amended = placed(
        orderId=14, origClientOrderId=REF_HEX, clientOrderId=REF_HEX, price="5.00", qty="0.5", executedQty="0.1", status="NEW", side="BUY"
    )
    event = Desk(IntentKind.REPLACE).one(reply({"transactTime": 1741923284382, "executionId": 16, "amendedOrder": amended}))
    assert says(event, kind=K.AMENDED, order_id=REF, request_id=ID, qty_lots=50_000, cum_lots=10_000, exchange_ns=1741923284382 * 10**6)


@pytest.mark.parametrize(
    ("code", "msg", "status", "kind", "reason"),
    [
        (-2010, "Account has insufficient balance for requested action.", 400, K.REJECTED, R.INSUFFICIENT_BALANCE),
        (-2010, "Duplicate order sent.", 400, K.UNKNOWN, R.DUPLICATE_ID),
        (-2010, "something new", 400, K.REJECTED, R.OTHER),
        (-1013, "Filter failure: LOT_SIZE", 400, K.REJECTED, R.FILTER),
        (-1013, "Filter failure: MAX_NUM_ORDERS", 400, K.REJECTED, R.ORDER_LIMIT),
        (-1021, "Timestamp for this request is outside of the recvWindow.", 400, K.REJECTED, R.CLOCK),
        (-1010, "Market is closed.", 400, K.REJECTED, R.MARKET_CLOSED),
        (-1010, "something new", 400, K.UNKNOWN, R.OTHER),
        (-2011, "Unknown order sent.", 400, K.CANCEL_REJECTED, R.UNKNOWN_ORDER),
        (-1000, "An unknown error occurred", 400, K.UNKNOWN, R.OTHER),
        (-1007, "Timeout waiting for response", 408, K.UNKNOWN, R.TIMEOUT),
        (-99999, "not documented", 400, K.UNKNOWN, R.OTHER),
        (-2010, "Market is closed.", 503, K.UNKNOWN, R.MARKET_CLOSED),
        (-1021, "Timestamp", 504, K.UNKNOWN, R.CLOCK),
        (-2015, "Invalid API-key, IP, or permissions for action.", 401, K.REJECTED, R.NO_PERMISSION),
    ],
)
def test_only_documented_refusals_prove_anything(code: int, msg: str, status: int, kind: K, reason: R) -> None:
    event = Desk(IntentKind.CANCEL).one(refusal(code, msg, status))
    assert says(event, kind=kind, reason=reason, venue_code=code, request_id=ID, order_id=0, instrument=-1)


def test_change_in_place_that_finds_no_order_ends_the_new_one_and_asks_for_the_old() -> None:
    first, second = Desk(IntentKind.REPLACE).events(refusal(-2013, "Order does not exist."))
    assert says(first, kind=K.CANCEL_REJECTED, order_id=REF) and says(second, kind=K.REJECTED, request_id=ID, reason=R.UNKNOWN_ORDER)


def test_ban_is_kept_to_the_millisecond_and_for_every_request() -> None:
    desk = Desk(IntentKind.NEW)
    until_ms, server_ms = 1655716216505, 1655716096505
    data = {"serverTime": server_ms, "retryAfter": until_ms}
    event = desk.one(refusal(-1003, "Way too much request weight used; IP banned until 1.", 418, data))
    assert says(event, kind=K.THROTTLED, reason=R.RATE_LIMIT, retry_after_ns=120_000 * 10**6)
    for kind in IntentKind:
        assert may_send(desk.codec, int(kind), 0, 0, until_ms * 10**6 - 1) == 1
        assert may_send(desk.codec, int(kind), 0, 0, until_ms * 10**6) == 0


def test_too_many_orders_hold_back_new_ones_but_no_cancel() -> None:
    desk = Desk(IntentKind.NEW)
    told = [limit("ORDERS", "SECOND", 10, 50, 50), limit("ORDERS", "DAY", 1, 160_000, 50)]
    data = {"serverTime": UTC_NS // 10**6, "retryAfter": UTC_NS // 10**6 + 3495}
    event = desk.one(refusal(-1015, "Too many new orders; current limit is 50 orders per TEN_SECONDS.", 429, data, limits=told))
    assert says(event, kind=K.THROTTLED, reason=R.RATE_LIMIT, retry_after_ns=3495 * 10**6)
    assert may_send(desk.codec, int(IntentKind.NEW), 0, NOW_NS, UTC_NS) == 10**10 - UTC_NS % 10**10
    assert may_send(desk.codec, int(IntentKind.CANCEL), 0, NOW_NS, UTC_NS) == 0
    assert desk.codec.limits[WORDS, BANNED_UNTIL_NS] == 0


def test_throttled_reply_without_a_time_holds_everything_back_for_its_window() -> None:
    desk = Desk(IntentKind.NEW)
    event = desk.one(refusal(-1003, "Too many requests queued.", 429))
    assert event["retry_after_ns"] == 60 * 10**9 - UTC_NS % (60 * 10**9)
    assert may_send(desk.codec, int(IntentKind.CANCEL), 0, 0, UTC_NS) == event["retry_after_ns"]


def test_replies_teach_the_venues_own_counts_and_limits() -> None:
    desk = Desk(IntentKind.NEW, IntentKind.NEW, IntentKind.CANCEL)
    told = [
        limit("ORDERS", "SECOND", 10, 100, 12),
        limit("ORDERS", "DAY", 1, 200_000, 4043),
        limit("REQUEST_WEIGHT", "MINUTE", 1, 6000, 321),
    ]
    told += [limit("ORDERS", "HOUR", 1, 5, 5), limit("RAW_REQUESTS", "MINUTE", 5, 61_000, 9), limit("CONNECTIONS", "MINUTE", 5, 1, 1)]
    desk.one(reply(placed(), limits=told))
    counts = {row: (int(desk.codec.limits[row, LIMIT]), int(desk.codec.limits[row, COUNT])) for row in (ORDERS_10S, ORDERS_DAY, WEIGHT)}
    # One order and one cancel are still unanswered.
    assert counts == {ORDERS_10S: (100, 13), ORDERS_DAY: (200_000, 4044), WEIGHT: (6000, 323)}


@pytest.mark.parametrize(
    ("x", "status", "more", "expected"),
    [
        ("NEW", "NEW", {}, {"kind": K.ACK, "order_id": ID}),
        ("CANCELED", "CANCELED", {"c": "x" + HEX, "C": HEX}, {"kind": K.CANCELED, "order_id": ID}),
        ("CANCELED", "CANCELED", {"c": "web_1", "C": HEX, "z": "0.5"}, {"kind": K.CANCELED, "order_id": ID, "cum_lots": 50_000}),
        ("CANCELED", "CANCELED", {"c": HEX, "C": ""}, {"kind": K.CANCELED, "order_id": ID}),
        ("CANCELED", "CANCELED", {"c": "x" + HEX, "C": ""}, {"kind": K.CANCELED, "order_id": ID}),
        ("NEW", "NEW", {"c": "web_1"}, {"kind": K.ACK, "order_id": 0, "venue_key": 4293153}),
        ("REPLACED", "NEW", {"c": HEX, "C": HEX, "q": "0.5"}, {"kind": K.AMENDED, "order_id": ID, "qty_lots": 50_000}),
        ("REJECTED", "REJECTED", {"r": "INSUFFICIENT_BALANCES"}, {"kind": K.REJECTED, "reason": R.INSUFFICIENT_BALANCE}),
        ("EXPIRED", "EXPIRED", {"eR": "UNFILLED_IOC_QUANTITY_EXPIRED"}, {"kind": K.EXPIRED, "reason": R.NO_LIQUIDITY}),
        ("EXPIRED", "EXPIRED", {"eR": "SOMETHING_NEW"}, {"kind": K.EXPIRED, "reason": R.OTHER}),
        ("EXPIRED", "EXPIRED", {}, {"kind": K.EXPIRED, "reason": 0}),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", {}, {"kind": K.CANCELED, "reason": R.SELF_TRADE}),
    ],
)
def test_report_of_an_order(x: str, status: str, more: dict[str, Any], expected: dict[str, int]) -> None:
    event = Desk().one(report(x, status, **more))
    common = {"request_id": 0, "exchange_ns": 1499405658657 * 10**6, "instrument": 0, "side": Side.BUY, "price_ticks": 10_000}
    assert says(event, **(common | expected))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {"fee_asset": FeeAsset.BASE, "liquidity": Liquidity.MAKER, "fee_e8": 12345}),
        ({"N": "USDT", "m": False, "n": "1"}, {"fee_asset": FeeAsset.QUOTE, "liquidity": Liquidity.TAKER, "fee_e8": 10**8}),
        ({"N": "BNB"}, {"fee_asset": FeeAsset.OTHER}),
        ({"N": None, "n": "0"}, {"fee_asset": FeeAsset.OTHER, "fee_e8": 0}),
        ({"L": "99.505", "l": "0.250001"}, {"last_price_ticks": 9950, "last_lots": 25_000}),
    ],
)
def test_report_of_a_fill(more: dict[str, Any], expected: dict[str, int]) -> None:
    event = Desk().one(fill(**more))
    assert says(event, kind=K.TRADE, order_id=ID, trade_id=7, cum_lots=25_000, last_price_ticks=9950, last_lots=25_000)
    assert says(event, **expected)


def test_order_that_has_filled_is_replaced_and_not_changed_in_place() -> None:
    desk = Desk(IntentKind.NEW)
    desk.codec.words[0] = 1
    order, request = np.zeros(1, ORDER), np.zeros(REQUEST_BYTES_MAX, np.uint8)
    order["order_id"], order["kind"], order["side"], order["tif"], order["price_ticks"] = (
        5,
        IntentKind.REPLACE,
        Side.BUY,
        TimeInForce.GTC,
        10_000,
    )
    order["qty_lots"] = 60
    assert b"keepPriority" in request[: encode(desk.codec, order, 0, 5, ID, UTC_NS, request, 0)].tobytes()
    desk.one(fill())
    order["qty_lots"] = 50
    assert b"cancelReplace" in request[: encode(desk.codec, order, 0, 5, ID, UTC_NS, request, 0)].tobytes()


def test_first_fill_of_an_order_makes_room_for_another() -> None:
    desk = Desk(IntentKind.NEW)
    desk.one(reply(placed(), limits=[limit("ORDERS", "SECOND", 10, 50, 12)]))
    for trade_id in (7, 8):
        desk.one(fill(trade_id))
        assert desk.codec.limits[ORDERS_10S, COUNT] == 11
    desk.one(fill(9, c="web_1"))
    assert desk.codec.limits[ORDERS_10S, COUNT] == 11


@pytest.mark.parametrize(
    "payload",
    [
        report(s="XRPUSDT"),
        report("TRADE_PREVENTION", "NEW"),
        text({"subscriptionId": 0, "event": {"e": "outboundAccountPosition", "E": 1, "u": 1, "B": []}}),
        text({"subscriptionId": 0, "event": {"e": "balanceUpdate", "E": 1, "a": "BTC", "d": "1", "T": 1}}),
        text({"subscriptionId": 0, "event": {"e": "somethingNew"}}),
    ],
)
def test_what_is_known_and_of_no_matter_is_ignored(payload: bytes) -> None:
    assert Desk().scan(payload) == Scanned.IGNORED


@pytest.mark.parametrize(
    "payload",
    [
        text({"event": {"e": "serverShutdown", "E": 1770123456789}}),
        text({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}}),
        reply({"subscriptionId": 0}, "subscribe-1"),
        reply({"serverTime": 1}, None),
        text({"id": 7, "status": 200, "result": {}}),
        refusal(-2015, "Invalid API-key", 401, request=None),
        text({"code": -1, "msg": "x"}),
        report("CALCULATED", "NEW"),
        report("NEW", "SOMETHING_NEW"),
    ],
)
def test_what_kernels_do_not_act_on_is_left_to_cold_code(payload: bytes) -> None:
    assert Desk().scan(payload) == Scanned.COLD


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        reply(placed())[:-1],
        reply(placed()) + b"x",
        reply(placed(orderId="12")),
        reply(placed(clientOrderId=5)),
        reply({}),
        text({"id": HEX, "status": 200}),
        text({"id": HEX, "status": 400}),
        text({"id": HEX, "status": "200", "result": {}}),
        refusal("x", "y"),  # type: ignore[arg-type]
        reply(placed(), limits=[{"rateLimitType": "ORDERS"}]),
        report(z=None),
        report(S="HOLD"),
        report(i=-1),
        fill(t=-1),
        fill(l="0"),
        fill(n="-1"),
        fill(m=1),
        report().replace(b'"x":"NEW"', b'"x":"NEW","x":"TRADE"'),
        reply(replace_data("SUCCESS", "SUCCESS", None, placed())),
        reply(replace_data("MAYBE", "SUCCESS", canceled(), placed())),
    ],
)
def test_what_is_not_as_documented_is_malformed_as_a_whole(payload: bytes) -> None:
    assert Desk(IntentKind.REPLACE).scan(payload) == Scanned.MALFORMED


def samples() -> list[bytes]:
    told = [limit("ORDERS", "SECOND", 10, 50, 12), limit("REQUEST_WEIGHT", "MINUTE", 1, 6000, 321)]
    failed = {"code": -2010, "msg": "Order would immediately match and take."}
    retry = {"serverTime": 1659142907531, "retryAfter": 1659146400000}
    return [
        report(),
        report("CANCELED", "CANCELED", C=HEX, c="x" + HEX),
        report("EXPIRED", "EXPIRED", eR="UNFILLED_FOK_ORDER_EXPIRED"),
        report("REJECTED", "REJECTED", r="WOULD_MATCH_IMMEDIATELY", s="ETHUSDT"),
        fill(),
        fill(8, N="USDT", m=False, s="ETHUSDT"),
        reply(placed(), limits=told),
        reply(placed(status="EXPIRED", executedQty="0.5", side="BUY")),
        reply(canceled(REF_HEX), limits=told),
        reply([canceled(REF_HEX), {"orderListId": 1}]),
        reply(replace_data("SUCCESS", "SUCCESS", canceled(REF_HEX), placed())),
        reply({"transactTime": 1741923284382, "amendedOrder": placed(qty="5.0", origClientOrderId=REF_HEX)}),
        refusal(-2010, "Account has insufficient balance for requested action."),
        refusal(-1021, "Timestamp for this request is outside of the recvWindow.", limits=told),
        refusal(-2022, "x", 400, replace_data("FAILURE", "NOT_ATTEMPTED", {"code": -2011, "msg": "Unknown order sent."}, None)),
        refusal(-2021, "x", 409, replace_data("SUCCESS", "FAILURE", canceled(REF_HEX), failed)),
        refusal(-1003, "Way too much request weight used", 418, retry),
        refusal(-1007, "Timeout", 504),
        reply({"subscriptionId": 0}, "subscribe"),
        text({"subscriptionId": 0, "event": {"e": "outboundAccountPosition", "B": [{"a": "BTC", "f": "1"}]}}),
    ]


def test_scanner_reads_what_the_naive_reader_reads_through_every_mutation() -> None:
    rng = random.Random(11)
    real, reader = samples(), Reader(table(), SYMBOLS, ASSETS, {ID: REF})
    outcomes: dict[str, int] = {}
    desk = Desk(IntentKind.REPLACE)
    for n in range(20_000 if JIT_ENABLED else 1_500):
        frame = rng.choice(real)
        whole = n < len(real)
        payload = real[n] if whole else mutate(frame, rng.choice(real), rng)
        count = desk.scan(payload)
        where = f"mutant {n}: {payload!r}"
        name = "EVENTS" if count > 0 else Scanned(count).name
        outcomes[name] = outcomes.get(name, 0) + 1
        if count == Scanned.MALFORMED:
            assert not whole, where
            continue
        try:
            wanted = reader.read(payload)
        except Refused as error:
            raise AssertionError(f"{where}: read, but must be refused: {error}") from error
        if isinstance(wanted, str) or not wanted:
            assert name == (wanted or "IGNORED"), where
            continue
        found = [as_dict(row) for row in desk.out[:count]]
        for event, expected in zip(found, wanted, strict=True):
            if expected["kind"] == K.THROTTLED:
                event["retry_after_ns"] = expected["retry_after_ns"]
            assert event == {key: int(value) for key, value in expected.items()}, where
    assert all(outcomes.get(name, 0) > 50 for name in ("EVENTS", "COLD", "MALFORMED")), outcomes
