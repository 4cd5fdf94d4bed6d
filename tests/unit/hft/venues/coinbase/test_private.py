"""Coinbase private: what the `user` channel and REST answers become, and what proves that an order never lived."""

from __future__ import annotations

import random
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest

from hft.records import FeeAsset, IntentKind, Liquidity, OrderState, Side, VenueEventSource, VenueReason
from hft.venues.codecs import Scanned
from hft.venues.coinbase.limits import BLOCKED_NS, THROTTLED_NS
from hft.venues.coinbase.orders import CoinbaseCodec
from hft.venues.coinbase.private import scan_private, scan_response
from hft.venues.coinbase.remembered import ENDED, LOTS, UNKNOWN_LOTS, new_remembered, order_of, place_of, remember
from shm.jit import JIT_ENABLED
from support.coinbase_desk import OID, ORDER_ID, array, body_of, codec, events_out, told
from support.coinbase_frames import MAKER, ORDER, TAKER, TIME_NS, message
from support.scanner_fuzz import mutate

FOREIGN = "99999999-89ab-cdef-0000-01000000002a"
TAKER_MARK = {"taker_user_id": "u", "user_id": "u", "taker_profile_id": "p", "profile_id": "p", "taker_fee_rate": "0.005"}
MAKER_MARK = {"maker_user_id": "u", "user_id": "u", "maker_profile_id": "p", "profile_id": "p", "maker_fee_rate": "0.001"}


def heard(payload: bytes, of: CoinbaseCodec | None = None) -> Any:
    """Rows of a message as what they say, or a member of Scanned."""
    out = events_out()
    n = int(scan_private(codec() if of is None else of, array(payload), 0, len(payload), 7, out))
    return [told(out[i]) for i in range(n)] if n > 0 else Scanned(n)


def answered(kind: IntentKind, status: int, body: bytes, of: CoinbaseCodec | None = None) -> Any:
    out = events_out()
    n = int(scan_response(codec() if of is None else of, int(kind), 77, status, array(body), 0, len(body), 7, out))
    return [told(out[i]) for i in range(n)] if n > 0 else Scanned(n)


def received(**members: Any) -> bytes:
    said = {"sequence": 10, "order_id": ORDER, "size": "1.5", "price": "502.1", "side": "buy", "order_type": "limit", "client_oid": OID}
    return message("received", **(said | members))


def matched(**members: Any) -> bytes:
    said = {"trade_id": 10, "sequence": 50, "maker_order_id": MAKER, "taker_order_id": TAKER}
    return message("match", **(said | {"size": "0.5", "price": "400.23", "side": "sell"} | members))


def done(reason: str = "canceled", **members: Any) -> bytes:
    said = {"sequence": 11, "order_id": ORDER, "reason": reason, "price": "502.1", "remaining_size": "0.5", "side": "buy"}
    return message("done", **(said | members))


def knowing() -> CoinbaseCodec:
    """A codec that heard of our order."""
    of = codec()
    assert len(heard(received(), of)) == 1
    return of


COMMON = {"received_ns": 7, "source": int(VenueEventSource.STREAM), "exchange_ns": TIME_NS, "instrument": 0}
KEY = heard(received())[0]["venue_key"]


def test_received_is_an_ack_under_our_id() -> None:
    expected = {"kind": "ACK", "order_id": ORDER_ID, "venue_key": KEY, "price_ticks": 50_210, "qty_lots": 150_000_000, "side": Side.BUY}
    assert heard(received()) == [expected | COMMON]
    market = heard(received(price=None, size=None, funds="3000", order_type="market"))[0]
    assert market["kind"] == "ACK" and "price_ticks" not in market and "qty_lots" not in market


@pytest.mark.parametrize("oid", [FOREIGN, None, "d50ec974-76a2-454b-66f135b1ea8c", OID[:-36] + "01234567-89ab-cdef-8000-01000000002a"])
def test_order_of_another_installation_is_not_ours(oid: str | None) -> None:
    event = heard(received(client_oid=oid))[0]
    assert "order_id" not in event and event["venue_key"] == KEY


def test_open_is_an_ack_by_the_venues_key_or_our_id_once_it_is_known() -> None:
    said = message("open", sequence=10, order_id=ORDER, price="502.1", remaining_size="1.00", side="buy")
    assert heard(said) == [{"kind": "ACK", "venue_key": KEY, "side": Side.BUY} | COMMON]
    assert heard(said, knowing())[0]["order_id"] == ORDER_ID


@pytest.mark.parametrize(
    ("mark", "ours", "side", "liquidity", "fee"),
    [(TAKER_MARK, TAKER, Side.BUY, Liquidity.TAKER, "0.005"), (MAKER_MARK, MAKER, Side.SELL, Liquidity.MAKER, "0.001")],
    ids=["taker", "maker"],
)
def test_match_is_a_fill_of_our_side_with_its_fee_in_quote(
    mark: dict[str, str], ours: str, side: Side, liquidity: Liquidity, fee: str
) -> None:
    of = codec()
    key = heard(received(order_id=ours), of)[0]["venue_key"]
    fee_e8 = int(Decimal("400.23") * Decimal("0.5") * Decimal(fee) * 10**8)
    expected = {
        "kind": "TRADE",
        "order_id": ORDER_ID,
        "venue_key": key,
        "trade_id": 10,
        "last_price_ticks": 40_023,
        "last_lots": 50_000_000,
        "fee_e8": fee_e8,
        "side": side,
        "liquidity": liquidity,
    }
    assert FeeAsset.QUOTE == 0
    assert heard(matched(**mark), of) == [expected | COMMON]
    assert heard(matched(**mark)) == [{k: v for k, v in (expected | COMMON).items() if k != "order_id"}], "by the venue's key alone"


def test_fee_rate_that_is_missing_is_the_instruments() -> None:
    mark = {name: value for name, value in MAKER_MARK.items() if name != "maker_fee_rate"}
    assert heard(matched(**mark))[0]["fee_e8"] == int(Decimal("400.23") * Decimal("0.5") * Decimal("0.004") * 10**8)


@pytest.mark.parametrize("seed", [1])
def test_fees_are_rounded_half_even_whatever_the_numbers(seed: int) -> None:
    chance, of = random.Random(seed), codec()
    for n in range(300):
        price, lots = Decimal(chance.randrange(1, 10**7)) / 100, Decimal(chance.randrange(1, 10 ** chance.randrange(1, 11))) / 10**8
        rate = Decimal(chance.randrange(0, 10**6)) / 10**8
        event = heard(matched(price=f"{price:.2f}", size=f"{lots:.8f}", **(TAKER_MARK | {"taker_fee_rate": f"{rate:.8f}"})), of)[0]
        exact = (price * lots * rate * 10**8).quantize(Decimal(1), ROUND_HALF_EVEN)
        assert event.get("fee_e8", 0) == int(exact), (seed, n, price, lots, rate)


def test_match_of_two_orders_of_ours_is_two_fills_and_one_of_nobodys_is_for_cold_code() -> None:
    both = heard(matched(**(TAKER_MARK | MAKER_MARK)))
    assert [(event["side"], event["liquidity"]) for event in both] == [(Side.BUY, Liquidity.TAKER), (Side.SELL, Liquidity.MAKER)]
    assert heard(matched()) == Scanned.COLD
    of = codec()
    heard(received(order_id=MAKER), of)
    assert [event["order_id"] for event in heard(matched(), of)] == [ORDER_ID], "what is remembered tells whose it is"


def test_done_filled_counts_the_fills_so_that_a_lost_one_shows() -> None:
    event = heard(done("filled", remaining_size="0"), knowing())[0]
    assert (event["kind"], event["state"], event["cum_lots"]) == ("STATUS", OrderState.FILLED, 150_000_000)
    assert "cum_lots" not in heard(done("filled", remaining_size="0"))[0], "its size is not known"


@pytest.mark.parametrize(
    ("why", "kind", "reason"),
    [
        (None, "CANCELED", VenueReason.NONE),
        ("101:Time In Force", "EXPIRED", VenueReason.NO_LIQUIDITY),
        ("102:Self Trade Prevention", "CANCELED", VenueReason.SELF_TRADE),
        ("103:Admin", "CANCELED", VenueReason.OTHER),
        ("104:Price Bound Order Protection", "EXPIRED", VenueReason.FILTER),
        ("105:Insufficient Funds", "CANCELED", VenueReason.INSUFFICIENT_BALANCE),
        ("106:Insufficient Liquidity", "EXPIRED", VenueReason.NO_LIQUIDITY),
        ("107:Broker", "CANCELED", VenueReason.OTHER),
        ("109:High Bid Limit Order Protection", "EXPIRED", VenueReason.FILTER),
        ("999:New", "CANCELED", VenueReason.OTHER),
        ("", "CANCELED", VenueReason.NONE),
    ],
)
def test_done_canceled_says_why_and_what_was_filled(why: str | None, kind: str, reason: VenueReason) -> None:
    event = heard(done(cancel_reason=why) if why is not None else done(), knowing())[0]
    assert (event["kind"], event.get("reason", 0), event["cum_lots"]) == (kind, reason, 100_000_000)
    assert event["order_id"] == ORDER_ID


@pytest.mark.parametrize("seed", range(3))
def test_orders_that_live_are_remembered_over_thousands_that_came_and_went(seed: int) -> None:
    chance, table = random.Random(seed), new_remembered()
    live: dict[tuple[int, int], int] = {}
    for order_id in range(1, 12_000 if JIT_ENABLED else 3000):
        halves = (chance.randrange(-(1 << 63), 1 << 63), chance.randrange(-(1 << 63), 1 << 63))
        remember(table, *halves, order_id, chance.choice((UNKNOWN_LOTS, 5)))
        live[halves] = order_id
        if len(live) > 100:
            ended = chance.choice(list(live))
            place = place_of(table, *ended)
            assert place >= 0 and table[place, LOTS] != ENDED, (seed, order_id)
            table[place, LOTS] = ENDED
            del live[ended]
        assert order_of(table, *halves) == order_id
    assert all(order_of(table, *halves) == order_id for halves, order_id in live.items()), seed
    assert order_of(table, 0, 0) == 0


def test_canceled_with_nothing_filled_says_so() -> None:
    assert heard(done(remaining_size="1.5"), knowing())[0].get("cum_lots", 0) == 0
    of = knowing()
    assert "cum_lots" in heard(done(), of)[0] and "cum_lots" not in heard(done(), of)[0], "it ended once"
    assert "cum_lots" not in heard(done(remaining_size="2"), knowing())[0], "more than the order's size is no size"


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        (message("heartbeat", sequence=1, last_trade_id=1), Scanned.IGNORED),
        (message("activate", order_id=ORDER), Scanned.IGNORED),
        (message("something new"), Scanned.IGNORED),
        (received(product_id="XRP-USD"), Scanned.IGNORED),
        (message("change", order_id=ORDER, side="buy", new_size="1"), Scanned.COLD),
        (b'{"type":"subscriptions","channels":[]}', Scanned.COLD),
        (b'{"type":"error","message":"Authentication Failed"}', Scanned.COLD),
        (b"", Scanned.MALFORMED),
        (b"[]", Scanned.MALFORMED),
        (b'{"type":"open"}', Scanned.MALFORMED),
        (received()[:-1], Scanned.MALFORMED),
        (received() + b"x", Scanned.MALFORMED),
        (received(order_id="x"), Scanned.MALFORMED),
        (received(price="x"), Scanned.MALFORMED),
        (received(side="hold"), Scanned.MALFORMED),
        (received(time="yesterday"), Scanned.MALFORMED),
        (matched(size="0", **TAKER_MARK), Scanned.MALFORMED),
        (matched(**(TAKER_MARK | {"taker_fee_rate": "-1"})), Scanned.MALFORMED),
        (done("gone"), Scanned.MALFORMED),
    ],
)
def test_messages_that_are_no_events(payload: bytes, what: Scanned) -> None:
    assert heard(payload) == what


def test_mutated_messages_never_crash_and_never_say_impossible_things() -> None:
    chance, of = random.Random(5), codec()
    real = [received(), matched(**TAKER_MARK), matched(**MAKER_MARK), done(), done("filled")]
    for n in range(10_000 if JIT_ENABLED else 1000):
        events = heard(mutate(chance.choice(real), chance.choice(real), chance)[:2000], of)
        for event in events if isinstance(events, list) else []:
            assert event["side"] in (1, -1) and event["venue_key"] > 0 and event.get("fee_e8", 0) >= 0, n
            assert event["kind"] != "TRADE" or (event["last_price_ticks"] > 0 and event["last_lots"] > 0), n


# REST answers.

TAKEN = {"id": ORDER, "price": "502.1", "size": "1.5", "product_id": "BTC-USD", "side": "buy", "type": "limit", "status": "pending"}
REPLY = {"received_ns": 7, "source": int(VenueEventSource.REPLY), "request_id": 77}


def test_order_that_the_api_took_is_no_ack_but_remembered() -> None:
    of = codec()
    assert answered(IntentKind.NEW, 200, body_of(**TAKEN), of) == Scanned.IGNORED
    [event] = heard(done(), of)
    assert (event["order_id"], event["cum_lots"]) == (77, 100_000_000)


@pytest.mark.parametrize("status", ["open", "active", "received", "done"])
def test_order_that_the_engine_has_is_an_ack(status: str) -> None:
    expected = {"kind": "ACK", "order_id": 77, "venue_key": KEY, "instrument": 0}
    assert answered(IntentKind.NEW, 200, body_of(**(TAKEN | {"status": status}))) == [expected | REPLY]


def test_order_that_the_engine_refused_is_rejected() -> None:
    event = answered(IntentKind.NEW, 200, body_of(**(TAKEN | {"status": "rejected", "reject_reason": "post only"})))[0]
    assert (event["kind"], event["order_id"], event["reason"]) == ("REJECTED", 77, VenueReason.WOULD_TAKE)


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (400, "Insufficient funds", VenueReason.INSUFFICIENT_BALANCE),
        (400, "size is too small. Minimum size is 0.001", VenueReason.FILTER),
        (400, "price is too accurate. Smallest unit is 0.01", VenueReason.FILTER),
        (400, "Post only mode", VenueReason.MARKET_CLOSED),
        (400, "Post only order would match immediately", VenueReason.WOULD_TAKE),
        (400, "something never seen", VenueReason.OTHER),
        (401, "invalid signature", VenueReason.BAD_SIGNATURE),
        (401, "Invalid API Key", VenueReason.NO_PERMISSION),
        (401, "request timestamp expired", VenueReason.CLOCK),
        (403, "Forbidden", VenueReason.NO_PERMISSION),
        (404, "NotFound", VenueReason.UNKNOWN_SYMBOL),
    ],
)
def test_documented_refusal_proves_that_an_order_never_lived(status: int, text: str, reason: VenueReason) -> None:
    expected = {"kind": "REJECTED", "order_id": 77, "reason": reason, "venue_code": status}
    assert answered(IntentKind.NEW, status, body_of(message=text)) == [expected | REPLY]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (0, b"", VenueReason.TIMEOUT),
        (500, b'{"message":"Internal server error"}', VenueReason.VENUE_DOWN),
        (502, b"<html>", VenueReason.VENUE_DOWN),
        (503, b'{"message":"Service unavailable"}', VenueReason.VENUE_DOWN),
        (504, b"", VenueReason.TIMEOUT),
        (408, b"", VenueReason.TIMEOUT),
        (400, b"<html>bad request</html>", VenueReason.VENUE_DOWN),
        (403, b"<html>blocked</html>", VenueReason.VENUE_DOWN),
        (400, b"{}", VenueReason.VENUE_DOWN),
        (400, b'{"message":"Insufficient funds"', VenueReason.VENUE_DOWN),
        (400, b'{"message":"Insufficient funds"}{', VenueReason.VENUE_DOWN),
        (409, b'{"message":"conflict"}', VenueReason.VENUE_DOWN),
        (200, b"<html>", VenueReason.VENUE_DOWN),
        (200, b'{"id":"x","status":"pending"}', VenueReason.VENUE_DOWN),
        (201, body_of(**TAKEN), VenueReason.VENUE_DOWN),
    ],
)
def test_whatever_else_comes_leaves_an_order_unknown(status: int, body: bytes, reason: VenueReason) -> None:
    event = answered(IntentKind.NEW, status, body)[0]
    assert (event["kind"], event["order_id"], event["reason"]) == ("UNKNOWN", 77, reason)
    assert answered(IntentKind.CANCEL, status, body)[0]["kind"] == "UNKNOWN" if status != 200 or body == b"<html>" else True


def test_rate_limit_did_nothing_and_keeps_what_follows_back() -> None:
    for kind in (IntentKind.NEW, IntentKind.CANCEL):
        of = codec()
        event = answered(kind, 429, b"<html>", of)[0]
        assert (event["kind"], event["reason"], event.get("order_id", 0)) == (
            "THROTTLED",
            VenueReason.RATE_LIMIT,
            77 if kind == IntentKind.NEW else 0,
        )
        assert of.limits[BLOCKED_NS] == 7 + THROTTLED_NS


@pytest.mark.parametrize("body", [f'"{ORDER}"'.encode(), f'["{ORDER}","{MAKER}"]'.encode(), b"[]", body_of(id=ORDER)])
def test_cancel_that_was_taken_is_told_by_the_stream(body: bytes) -> None:
    assert answered(IntentKind.CANCEL, 200, body) == Scanned.IGNORED
    assert answered(IntentKind.CANCEL_ALL, 200, body) == Scanned.IGNORED


@pytest.mark.parametrize(
    ("status", "text", "reason"),
    [
        (404, "order not found", VenueReason.UNKNOWN_ORDER),
        (404, "NotFound", VenueReason.UNKNOWN_ORDER),
        (400, "Order already done", VenueReason.UNKNOWN_ORDER),
        (401, "invalid signature", VenueReason.BAD_SIGNATURE),
    ],
)
def test_refused_cancel_names_its_request_only(status: int, text: str, reason: VenueReason) -> None:
    expected = {"kind": "CANCEL_REJECTED", "reason": reason, "venue_code": status}
    assert answered(IntentKind.CANCEL, status, body_of(message=text)) == [expected | REPLY]
