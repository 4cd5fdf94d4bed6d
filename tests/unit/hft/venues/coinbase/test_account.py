"""Coinbase account: dialogues of the private connection, of queries and of reconciliation, as scripts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hft.records import IntentKind, Liquidity, OrderState, Side, VenueEventKind, VenueReason
from hft.venues.codecs import Scanned
from hft.venues.coinbase.account import RETRY_NS, TIME_NS, CoinbaseAccount
from hft.venues.coinbase.account_rows import client_oid, halves, order_id_of, time_ns
from hft.venues.coinbase.kernels import may_send, note_sent
from hft.venues.coinbase.limits import CANCELS_PERCENT, ORDERS_PERCENT, PRIVATE_AT_ONCE, PRIVATE_PER_S, QUESTIONS_PERCENT
from hft.venues.coinbase.private import scan_private
from hft.venues.coinbase.reconcile import PAGE, PAGES_MAX
from hft.venues.coinbase.signing import signature
from hft.venues.interface import HANDSHAKE_NS, LONG_PATIENCE_NS, Booked, Call, Outgoing, Text
from support.bookings import nothing_booked
from support.coinbase_desk import KEYS, OID, ORDER_ID, PREFIX, SECRET, SYMBOLS, array, codec, events_out, told
from support.coinbase_frames import MAKER, ORDER, TAKER, message

SECOND_NS = 1_000_000_000
UTC_NS = 1_700_000_000_000_000_000
URL = "wss://ws-feed.exchange.coinbase.com"
OPEN = {
    "id": ORDER,
    "client_oid": OID,
    "price": "502.10",
    "size": "1.50000000",
    "product_id": "BTC-USD",
    "side": "buy",
    "type": "limit",
    "created_at": "2020-03-11T20:48:46.622Z",
    "filled_size": "0.00000000",
    "fill_fees": "0",
    "status": "open",
    "settled": False,
}


def fill(trade_id: int, order: str = ORDER, **members: Any) -> dict[str, Any]:
    said = {"trade_id": trade_id, "product_id": "BTC-USD", "order_id": order, "liquidity": "M", "price": "502.10", "size": "0.5"}
    return said | {"fee": "1.2552500000000000", "created_at": "2020-03-11T20:49:46.622057Z", "side": "buy", "settled": True} | members


class Desk:
    """An account and its clock."""

    def __init__(self) -> None:
        self.codec = codec()
        self.account = CoinbaseAccount(KEYS, self.codec, SYMBOLS, [0, 1], URL)
        self.now_ns = 10 * SECOND_NS

    def heard(self, payload: bytes) -> list[Outgoing]:
        """A message of the stream; what `scan_private` makes no events of goes to the account."""
        if scan_private(self.codec, array(payload), 0, len(payload), 1, events_out()) == Scanned.COLD:
            return self.account.take(payload, self.now_ns, UTC_NS)
        return []

    def answer(self, call: Outgoing, status: int, document: Any) -> list[Outgoing]:
        assert isinstance(call, Call)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.account.answer(call.tag, status, body, self.now_ns, UTC_NS)

    def query(self) -> list[Outgoing]:
        return self.account.query(ORDER_ID, 0, self.now_ns, UTC_NS)

    def events(self) -> list[dict[str, Any]]:
        found, self.account.events = [told(event) for event in self.account.events], []
        return found

    def tick(self, after_ns: int) -> list[Outgoing]:
        self.now_ns += after_ns
        return self.account.tick(self.now_ns, UTC_NS)


def subscribed(desk: Desk) -> Desk:
    desk.account.hello(desk.now_ns, UTC_NS)
    desk.heard(b'{"type":"subscriptions","channels":[{"name":"user","product_ids":["BTC-USD"]}]}')
    return desk


def targets(said: list[Outgoing]) -> list[str]:
    return [one.target for one in said if isinstance(one, Call)]


def test_connection_subscribes_its_own_orders_and_is_ready_when_the_venue_says_so() -> None:
    desk = Desk()
    endpoint = desk.account.endpoint()
    assert endpoint is not None and endpoint.url == URL
    [said] = desk.account.hello(desk.now_ns, UTC_NS)
    assert isinstance(said, Text) and json.loads(said.data) == {
        "type": "subscribe",
        "product_ids": SYMBOLS,
        "channels": ["user", "heartbeat"],
        "signature": signature(SECRET, "1700000000.000000", "GET", "/users/self/verify"),
        "key": "thekey",
        "passphrase": "thepass",
        "timestamp": "1700000000.000000",
    }
    assert not desk.account.ready
    desk.heard(b'{"type":"subscriptions","channels":[{"name":"user","product_ids":["BTC-USD"]},{"name":"heartbeat","product_ids":[]}]}')
    assert not desk.account.ready and not desk.account.shutdown, "not before its clock is known"
    desk.answer(desk.account.prepare(desk.now_ns, UTC_NS)[0], 0, b"")
    assert targets(desk.tick(RETRY_NS)) == ["/time"] and not desk.account.ready
    desk.answer(desk.account.prepare(desk.now_ns, UTC_NS)[0], 200, b'{"epoch":1700000000.0}')
    assert desk.account.ready and not desk.account.shutdown
    desk.account.lost(desk.now_ns)
    assert not desk.account.ready


@pytest.mark.parametrize(
    ("payload", "fatal"),
    [
        (b'{"type":"error","message":"Authentication Failed","reason":"{\\"message\\":\\"Invalid API Key\\"}"}', True),
        (b'{"type":"error","message":"Authentication Failed","reason":"request timestamp expired"}', False),
        (b'{"type":"error","message":"Failed to subscribe","reason":"BTC-USD is not a valid product"}', False),
        (b'{"type":"subscriptions","channels":[{"name":"heartbeat","product_ids":["BTC-USD"]}]}', False),
    ],
)
def test_refused_subscription_is_never_ready_and_fatal_if_it_is_the_key(payload: bytes, fatal: bool) -> None:
    desk = subscribed(Desk())
    desk.heard(payload)
    assert (desk.account.ready, desk.account.shutdown, bool(desk.account.fatal)) == (False, True, fatal)
    assert (desk.account.endpoint() is None) == fatal and "thekey" not in desk.account.fatal


def test_subscription_that_nobody_answers_is_given_up() -> None:
    desk = Desk()
    desk.account.hello(desk.now_ns, UTC_NS)
    assert desk.tick(HANDSHAKE_NS - 1) == [] and not desk.account.shutdown
    desk.tick(1)
    assert desk.account.shutdown and not desk.account.ready


def test_preparation_learns_the_fees_and_that_the_key_is_good() -> None:
    desk = Desk()
    _, call = desk.account.prepare(desk.now_ns, UTC_NS)
    assert isinstance(call, Call) and call.target == "/fees"
    assert dict(call.headers)["CB-ACCESS-SIGN"] == signature(SECRET, "1700000000.000000", "GET", "/fees")
    desk.answer(call, 200, {"maker_fee_rate": "0.0040", "taker_fee_rate": "0.0060", "usd_volume": "0"})
    assert desk.account.fees == ("0.0040", "0.0060")
    _, call = desk.account.prepare(desk.now_ns, UTC_NS)
    desk.answer(call, 401, {"message": "invalid signature"})
    assert "invalid signature" in desk.account.fatal and desk.account.prepare(desk.now_ns, UTC_NS) == []


def test_clock_of_the_venue_is_that_of_its_quickest_answer() -> None:
    desk = Desk()
    for took_ns, epoch, offset_ns in ((SECOND_NS, "1700000000.750", 250_500_000), (SECOND_NS // 10, "1700000003.05", 3_000_500_000)):
        call = desk.account.prepare(desk.now_ns, UTC_NS)[0]
        assert isinstance(call, Call) and (call.target, dict(call.headers).keys()) == ("/time", {"User-Agent"})
        desk.now_ns += took_ns
        desk.answer(call, 200, b'{"iso":"2023-11-14T22:13:20Z","epoch":%s}' % epoch.encode())
        assert desk.account.clock_offset_ns == offset_ns
    [said] = desk.account.hello(desk.now_ns, UTC_NS)
    assert isinstance(said, Text) and json.loads(said.data)["timestamp"] == "1700000003.000500"
    call = desk.account.prepare(desk.now_ns, UTC_NS)[0]
    desk.now_ns += SECOND_NS // 2
    desk.answer(call, 200, b'{"epoch":1700000003.4}')
    assert desk.account.clock_offset_ns == 3_000_500_000, "a slower answer says less"
    assert "/time" in targets(desk.tick(TIME_NS))


def test_a_refusal_for_the_time_has_the_clock_asked_again_soon() -> None:
    desk = Desk()
    call = desk.account.prepare(desk.now_ns, UTC_NS)[0]
    desk.answer(call, 200, b'{"epoch":1700000000}')
    desk.account.ask_clock(desk.now_ns)
    assert desk.tick(RETRY_NS - 1) == [], "it has just been asked"
    [call] = desk.tick(1)
    assert targets([call]) == ["/time"]
    desk.answer(call, 200, b'{"epoch":1700000007}')
    assert desk.account.clock_offset_ns == 7_000_500_000, "a clock that was set is not that of before"
    desk.tick(RETRY_NS)
    [call] = desk.query()
    desk.answer(call, 401, {"message": "request timestamp expired"})
    assert targets(desk.tick(1)) == ["/time"] and not desk.account.fatal


def test_query_of_an_open_order_is_its_state() -> None:
    desk = Desk()
    [call] = desk.query()
    assert targets([call]) == [f"/orders/client:{OID}?product_id=BTC-USD"]
    assert desk.query() == [], "it is asked already"
    assert desk.answer(call, 200, OPEN) == []
    [event] = desk.events()
    assert (event["kind"], event["state"], event["order_id"]) == ("STATUS", OrderState.NEW, ORDER_ID)
    assert (event["price_ticks"], event["qty_lots"], event.get("cum_lots", 0)) == (50_210, 150_000_000, 0)
    assert (event["side"], event["exchange_ns"]) == (Side.BUY, 1_583_959_726_622_000_000)
    assert len(desk.query()) == 1, "it may be asked again"


def test_query_of_a_filled_order_tells_its_fills_before_its_end() -> None:
    desk = Desk()
    [call] = desk.query()
    done = OPEN | {"status": "done", "done_reason": "filled", "filled_size": "1.5", "done_at": "2020-03-11T20:50:00Z"}
    [call] = desk.answer(call, 200, done)
    assert targets([call]) == [f"/fills?order_id={ORDER}&limit={PAGE}"] and desk.events() == []
    desk.answer(call, 200, [fill(8, size="1", liquidity="T"), fill(7)])
    first, second, end = desk.events()
    assert [first["trade_id"], second["trade_id"]] == [7, 8] and end["state"] == OrderState.FILLED and end["cum_lots"] == 150_000_000
    assert (first["order_id"], first["fee_e8"], first["last_lots"], first["last_price_ticks"]) == (
        ORDER_ID,
        125_525_000,
        50_000_000,
        50_210,
    )
    assert (first["liquidity"], second["liquidity"]) == (Liquidity.MAKER, Liquidity.TAKER) and first["venue_key"] == end["venue_key"]


def test_query_of_an_order_with_many_fills_tells_them_all_before_its_end() -> None:
    desk = Desk()
    [call] = desk.query()
    many = 2 * PAGE + 3
    done = OPEN | {
        "size": f"{many}",
        "status": "done",
        "done_reason": "filled",
        "filled_size": f"{many}",
        "done_at": "2020-03-11T20:50:00Z",
    }
    [call] = desk.answer(call, 200, done)
    fills = [fill(1 + n, size="1") for n in reversed(range(many))]
    for first in (0, PAGE):
        [call] = desk.answer(call, 200, fills[first : first + PAGE])
        assert targets([call]) == [f"/fills?order_id={ORDER}&limit={PAGE}&after={many - first - PAGE + 1}"] and desk.query() == []
    desk.answer(call, 200, fills[2 * PAGE :])
    *trades, end = desk.events()
    assert sorted(event["trade_id"] for event in trades) == list(range(1, many + 1)) and end["state"] == OrderState.FILLED


def test_a_venue_that_tells_the_same_page_again_and_again_is_not_asked_for_ever() -> None:
    desk = Desk()
    [call] = desk.query()
    done = OPEN | {"status": "done", "done_reason": "filled", "filled_size": "1.5", "done_at": "2020-03-11T20:50:00Z"}
    said, pages = desk.answer(call, 200, done), 0
    while not desk.account.events or desk.account.events[-1]["state"] != OrderState.FILLED:
        said = [each for each in said or desk.tick(SECOND_NS) if isinstance(each, Call) and each.target.startswith("/fills")]
        for call in said:
            pages += 1
            said = desk.answer(call, 200, [fill(n + 1) for n in range(PAGE)])
    assert pages == PAGES_MAX and len(desk.query()) == 1


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"status": "active"}, OrderState.NEW),
        ({"status": "received"}, OrderState.NEW),
        ({"status": "done", "done_reason": "canceled"}, OrderState.CANCELED),
        ({"status": "done"}, OrderState.CANCELED),
        ({"status": "rejected", "reject_reason": "post only"}, OrderState.REJECTED),
        ({"status": "done", "done_reason": "rejected", "reject_reason": "post only"}, OrderState.REJECTED),
    ],
)
def test_states_of_an_order(change: dict[str, str], state: OrderState) -> None:
    desk = Desk()
    [call] = desk.query()
    desk.answer(call, 200, OPEN | change)
    [event] = desk.events()
    assert event["state"] == state
    assert event.get("reason", 0) == (VenueReason.WOULD_TAKE if state == OrderState.REJECTED else 0)


def test_pending_order_is_neither_there_nor_missing() -> None:
    desk = Desk()
    [call] = desk.query()
    desk.answer(call, 200, OPEN | {"status": "pending"})
    assert desk.events() == [] and len(desk.query()) == 1


def test_order_that_the_api_does_not_know_is_not_found() -> None:
    desk = Desk()
    [call] = desk.query()
    desk.answer(call, 404, {"message": "NotFound"})
    [event] = desk.events()
    assert event == {"kind": "NOT_FOUND", "order_id": ORDER_ID, "received_ns": desk.now_ns, "source": 3, "instrument": 0}
    assert VenueEventKind[event["kind"]]


@pytest.mark.parametrize(
    ("status", "body"),
    [(0, b""), (500, b'{"message":"x"}'), (404, b"<html>"), (404, b"{}"), (200, b"[]"), (200, b"{}"), (200, b"\xff"), (302, b"{}")]
    + [(200, json.dumps(OPEN | {"status": "new to us"}).encode()), (200, json.dumps(OPEN | {"filled_size": "x"}).encode())],
)
def test_answer_that_proves_nothing_is_no_event_and_may_be_asked_again(status: int, body: bytes) -> None:
    desk = Desk()
    [call] = desk.query()
    assert desk.answer(call, status, body) == [] and desk.events() == [] and not desk.account.fatal
    assert len(desk.query()) == 1


def test_question_that_nobody_answers_is_given_up() -> None:
    desk = Desk()
    [call] = desk.query()
    desk.tick(2 * LONG_PATIENCE_NS)
    assert len(desk.query()) == 1
    desk.answer(call, 200, OPEN)
    assert desk.events() == [], "an answer after that is nobody's"


def test_questions_have_their_slice_of_the_rate_and_then_what_new_orders_may_have() -> None:
    desk, new, cancel = Desk(), int(IntentKind.NEW), int(IntentKind.CANCEL)
    orders = PRIVATE_AT_ONCE * ORDERS_PERCENT * (100 - CANCELS_PERCENT) // 10_000
    said = [one for n in range(50) for one in desk.account.query(n + 1, 0, desk.now_ns, UTC_NS)]
    assert len(said) == PRIVATE_AT_ONCE * QUESTIONS_PERCENT // 100 + orders
    assert may_send(desk.codec, new, 0, desk.now_ns, UTC_NS) > 0
    assert may_send(desk.codec, cancel, 0, desk.now_ns, UTC_NS) == 0, "cancels keep their part"
    later = desk.tick(SECOND_NS)
    per_s = PRIVATE_PER_S * (QUESTIONS_PERCENT + ORDERS_PERCENT) // 100
    assert per_s - 1 <= len(later) <= per_s + 1
    assert len(said) + len(later) + sum(len(desk.tick(SECOND_NS)) for _ in range(30)) == 50


def test_questions_leave_new_orders_what_is_over() -> None:
    desk, new = Desk(), int(IntentKind.NEW)
    while may_send(desk.codec, new, 0, desk.now_ns, UTC_NS) == 0:
        note_sent(desk.codec, new, 0, desk.now_ns, UTC_NS)
    said = [one for n in range(50) for one in desk.account.query(n + 1, 0, desk.now_ns, UTC_NS)]
    assert len(said) == PRIVATE_AT_ONCE * QUESTIONS_PERCENT // 100, "orders have had theirs"


def test_rate_limit_asks_the_same_again_later() -> None:
    desk = Desk()
    [call] = desk.query()
    assert desk.answer(call, 429, b"") == [] and desk.tick(SECOND_NS - 1) == []
    assert targets(desk.tick(2 * SECOND_NS)) == targets([call])


def whole(desk: Desk, answers: dict[str, Any], booked: Booked = nothing_booked) -> list[str]:
    """Reconcile against what the venue would answer; the targets that were asked for."""
    asked: list[str] = []
    said = desk.account.reconcile(booked, desk.now_ns, UTC_NS)
    for _ in range(100):
        while said:
            call = said.pop(0)
            assert isinstance(call, Call)
            asked.append(call.target)
            status, document = answers.get(call.target, (200, []))
            said += desk.answer(call, status, document)
        said = desk.tick(SECOND_NS)
    return asked


def open_target(product: str) -> str:
    return f"/orders?status=open&status=active&sortedBy=created_at&sorting=desc&limit=1000&product_id={product}"


def test_reconciliation_is_open_orders_fills_and_balances() -> None:
    desk = Desk()
    foreign = OPEN | {"id": TAKER, "client_oid": "00000000-0000-0000-0000-000000000001"}
    answers = {
        "/accounts": (200, [{"id": "1", "currency": "USD", "balance": "10.5", "hold": "3", "available": "7.5"}]),
        open_target("BTC-USD"): (200, [OPEN | {"filled_size": "0.5"}, foreign, OPEN | {"status": "pending"}]),
        f"/fills?product_id=BTC-USD&limit={PAGE}": (200, [fill(9, TAKER), fill(8, MAKER), fill(7), fill(6)]),
        f"/orders/{MAKER}": (404, {"message": "NotFound"}),
        f"/orders/{TAKER}": (200, foreign),
    }
    asked = whole(desk, answers, lambda row, trade_id: trade_id <= 6)
    found = desk.account.snapshot
    assert found is not None and found.balances == {"USD": ("7.5", "3")}
    assert [(told(e).get("order_id", 0), told(e)["state"], told(e).get("cum_lots", 0)) for e in found.open_orders] == [
        (ORDER_ID, OrderState.PARTIALLY_FILLED, 50_000_000),
        (0, OrderState.NEW, 0),
    ]
    assert [(int(event["trade_id"]), int(event["order_id"])) for event in found.fills] == [(7, ORDER_ID), (8, 0), (9, 0)]
    assert sorted(asked) == sorted([*answers, open_target("ETH-USD"), f"/fills?product_id=ETH-USD&limit={PAGE}"])


@pytest.mark.parametrize("complete", [False, True])
def test_a_reconciliation_says_nothing_of_the_next_connection(complete: bool) -> None:
    desk = Desk()
    if complete:
        whole(desk, {})
        assert desk.account.snapshot is not None
        desk.account.lost(desk.now_ns)
    else:
        said = desk.account.reconcile(nothing_booked, desk.now_ns, UTC_NS)
        desk.account.lost(desk.now_ns)
        for _ in range(20):
            for call in said:
                assert desk.answer(call, 200, []) == []
            said = desk.tick(SECOND_NS)
            assert not any("/orders?" in target or "/fills" in target for target in targets(said))
    assert desk.account.snapshot is None


def test_fills_of_an_order_that_the_codec_remembers_need_no_question() -> None:
    desk = Desk()
    payload = message("received", order_id=ORDER, size="1.5", price="502.1", side="buy", client_oid=OID, sequence=1)
    scan_private(desk.codec, array(payload), 0, len(payload), 1, events_out())
    asked = whole(desk, {f"/fills?product_id=BTC-USD&limit={PAGE}": (200, [fill(7)])})
    assert desk.account.snapshot is not None and int(desk.account.snapshot.fills[0]["order_id"]) == ORDER_ID
    assert not any(target.startswith(f"/orders/{ORDER}") for target in asked)


def test_fills_are_asked_for_page_by_page_until_one_is_booked() -> None:
    desk = Desk()
    base = f"/fills?product_id=BTC-USD&limit={PAGE}"
    newest = [fill(1000 - n) for n in range(PAGE)]
    older = [fill(900 - n) for n in range(PAGE)]
    answers = {base: (200, newest), f"{base}&after=901": (200, older), f"/orders/{ORDER}": (200, OPEN)}
    asked = whole(desk, answers, lambda row, trade_id: trade_id <= 850)
    assert desk.account.snapshot is not None
    assert [int(event["trade_id"]) for event in desk.account.snapshot.fills] == list(range(851, 1001))
    assert asked.count(f"/orders/{ORDER}") == 1 and f"{base}&after=901" in asked
    told = whole(Desk(), answers, lambda row, trade_id: trade_id <= 850 or trade_id == 1000)
    assert f"{base}&after=901" in told, "the stream may have booked a newer one already"
    nothing_new = whole(Desk(), answers, lambda row, trade_id: True)
    assert not any("after" in target or ORDER in target for target in nothing_new), "all is booked: nobody asks further"


@pytest.mark.parametrize("broken", ["/accounts", f"/fills?product_id=ETH-USD&limit={PAGE}"])
@pytest.mark.parametrize("answer", [(500, b"{}"), (200, b"{"), (200, {"message": "x"})], ids=["5xx", "cut", "another"])
def test_reconciliation_with_a_hole_is_none(broken: str, answer: Any) -> None:
    desk = Desk()
    whole(desk, {broken: answer})
    assert desk.account.snapshot is None
    whole(desk, {})
    assert desk.account.snapshot is not None, "and can begin again"


def test_match_that_does_not_say_whose_it_is_asks_for_the_newest_fills() -> None:
    desk = Desk()
    ids = {"maker_order_id": MAKER, "taker_order_id": TAKER, "trade_id": 5, "sequence": 1}
    [call] = desk.heard(message("match", size="1", price="1.00", side="buy", **ids))
    assert targets([call]) == [f"/fills?product_id=BTC-USD&limit={PAGE}"]
    payload = message("received", order_id=MAKER, size="1.5", price="502.1", side="buy", client_oid=OID, sequence=1)
    scan_private(desk.codec, array(payload), 0, len(payload), 1, events_out())
    desk.answer(call, 200, [fill(6, TAKER), fill(5, MAKER)])
    assert [(event["trade_id"], event["order_id"]) for event in desk.events()] == [(5, ORDER_ID)]


def test_fills_of_orders_that_an_earlier_epoch_left_are_told_however_they_come() -> None:
    """An open one is remembered by its reconciliation; one that was not seen there is asked whose it is, once."""
    desk = subscribed(Desk())
    recent = f"/fills?product_id=BTC-USD&limit={PAGE}"
    whole(desk, {open_target("BTC-USD"): (200, [OPEN]), recent: (200, [fill(6, TAKER)]), f"/orders/{TAKER}": (404, {"message": "x"})})
    desk.account.events.clear()

    def match(maker: str, trade_id: int, fills: list[dict[str, Any]]) -> list[Outgoing]:
        ids = {"maker_order_id": maker, "taker_order_id": TAKER, "trade_id": trade_id, "sequence": trade_id}
        desk.now_ns += SECOND_NS  # So that questions may be asked again.
        said = desk.heard(message("match", size="0.5", price="502.10", side="buy", **ids))
        return desk.answer(said[0], 200, fills) if said else []

    assert match(ORDER, 7, []) == [] and desk.account._owner_of(ORDER) == ORDER_ID, "known by the venue's id, it needs no question"
    fills = [fill(9, MAKER), fill(6, TAKER)]
    said = match(MAKER, 9, fills)
    assert targets(said) == [f"/orders/{MAKER}"], "and not whose those are that were there before"
    said = desk.answer(said[0], 200, OPEN | {"id": MAKER, "client_oid": client_oid(PREFIX, 77)})
    assert targets(said) == [recent]
    assert desk.answer(said[0], 200, fills) == []
    assert [(event["trade_id"], event["order_id"]) for event in desk.events()] == [(9, 77)]
    foreign = "00000000-0000-4000-8000-00000000000a"
    said = match(foreign, 10, [fill(10, foreign)])
    for unanswered in ((0, b""), (502, b"<html>")):
        desk.now_ns += SECOND_NS
        said = desk.answer(said[0], *unanswered)
        assert targets(said) == [f"/orders/{foreign}"], "without an answer it is asked again"
    desk.answer(said[0], 200, OPEN | {"id": foreign, "client_oid": None})
    assert match(foreign, 11, [fill(11, foreign)]) == [] and desk.events() == [], "of somebody else: asked once"


def test_client_ids_are_of_this_installation_only() -> None:
    assert client_oid(PREFIX, ORDER_ID) == OID and order_id_of(PREFIX, OID) == ORDER_ID
    for other in (OID.replace("0123", "0124", 1), "", None, 5, "x" * 36, OID[:-16] + "8" * 16, OID[:19] + "-8000-01000000002a"):
        assert order_id_of(PREFIX, other) == 0
    assert halves("ffffffff-ffff-ffff-8000-000000000000") == (-1, -(1 << 63))


def test_times_of_the_venue() -> None:
    assert time_ns("1970-01-01T00:00:01Z") == SECOND_NS and time_ns("1970-01-01T00:00:00.000000001+00:00") == 1
    for wrong in ("", "yesterday", "1970-01-01T00:00:00.xZ", "1970-13-01T00:00:00Z"):
        with pytest.raises(ValueError, match="time|does not match"):
            time_ns(wrong)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"7", b"[]", b"null", b'{"type":"subscriptions","channels":7}'])
def test_a_message_that_is_not_as_documented_ends_the_connection_and_raises_nothing(data: bytes) -> None:
    desk = subscribed(Desk())
    desk.account.take(data, desk.now_ns, UTC_NS)
    assert desk.account.shutdown
