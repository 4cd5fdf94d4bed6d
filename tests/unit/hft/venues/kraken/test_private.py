"""Kraken private: every reply and execution becomes the event that the venue's words mean, and nothing is counted twice."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from hft.records import ORDER, VENUE_EVENT, FeeAsset, IntentKind, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource, VenueReason
from hft.venues.kraken.account_rows import client_id, time_ns
from hft.venues.kraken.ids import bits_of
from hft.venues.kraken.kernels import encode, may_send, scan_private
from hft.venues.kraken.limits import COUNTER
from hft.venues.kraken.orders import REQUEST_BYTES_MAX, KrakenCodec, new_codec, set_token
from hft.venues.kraken.private_tables import AMENDS, LOST_MESSAGES, SETS, WAYS, filled_of, forget, note_filled, remember, row_of
from hft.venues.outcomes import Scanned
from support.kraken_trader import instruments

OURS, AMEND = 7 << 40 | 1, 7 << 40 | 2
TXID, EXEC = "OUF4EM-FRGI2-MQMWZD", "TZX2WP-XSEOP-FP7WYR"
STAMP = "2026-08-24T22:21:57.110183Z"


def codec() -> KrakenCodec:
    made = new_codec(instruments(), ["BTC/USD"], [0])
    set_token(made, "token")
    return made


def sent(of: KrakenCodec, kind: IntentKind, identity: int, ref: int = 0, price_ticks: int = 618_376, qty_lots: int = 150_000_000) -> None:
    order = np.zeros(1, ORDER)
    order["kind"], order["order_id"], order["side"], order["tif"] = kind, identity, Side.BUY, 1
    order["price_ticks"], order["qty_lots"] = price_ticks, qty_lots
    assert encode(of, order, 0, identity, ref, 10**18, np.zeros(REQUEST_BYTES_MAX, np.uint8), 0) > 0


def read(of: KrakenCodec, message: dict[str, Any] | bytes, room: int = 64) -> tuple[int, np.ndarray[Any, Any]]:
    data = np.frombuffer(bytearray(message if isinstance(message, bytes) else json.dumps(message).encode()), np.uint8)
    out = np.zeros(room, VENUE_EVENT)
    out["order_id"] = out["cum_lots"] = out["fee_e8"] = 77
    count = int(scan_private(of, data, 0, len(data), 5, out))
    return count, out[: max(count, 0)]


def event(of: KrakenCodec, message: dict[str, Any]) -> dict[str, int]:
    """The one event of a message; fields that say nothing are left out."""
    count, out = read(of, message)
    assert count == 1
    nothing = {"cum_lots": -1, "instrument": -1}
    return {name: int(out[0][name]) for name in VENUE_EVENT.names or () if name != "reserved" and out[0][name] != nothing.get(name, 0)}


def reply(method: str, result: dict[str, Any] | None = None, error: str = "", req_id: int = OURS) -> dict[str, Any]:
    body: dict[str, Any] = {"error": error} if error else {"result": result}
    return {"method": method, "req_id": req_id, **body, "success": not error, "time_in": STAMP, "time_out": STAMP}


def execution(exec_type: str, sequence: int = 1, **fields: Any) -> dict[str, Any]:
    row = {"order_id": TXID, "cl_ord_id": client_id(OURS), "exec_type": exec_type, "timestamp": STAMP, **fields}
    return {"channel": "executions", "type": "update", "data": [row], "sequence": sequence}


def trade(**fields: Any) -> dict[str, Any]:
    said = {
        "exec_id": EXEC,
        "symbol": "BTC/USD",
        "side": "buy",
        "last_qty": 0.5,
        "last_price": 61837.6,
        "liquidity_ind": "m",
        "order_status": "partially_filled",
        "fees": [{"asset": "USD", "qty": 1.23}],
        "cum_qty": 1.5,
    }
    return execution("trade", **(said | fields))


BEGUN = {"received_ns": 5, "source": VenueEventSource.STREAM, "order_id": OURS, "venue_key": bits_of(TXID), "exchange_ns": time_ns(STAMP)}


def test_a_new_order_that_was_taken_is_acknowledged() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    assert event(of, reply("add_order", {"order_id": TXID, "cl_ord_id": client_id(OURS)})) == {
        "kind": VenueEventKind.ACK,
        "source": VenueEventSource.REPLY,
        "order_id": OURS,
        "request_id": OURS,
        "venue_key": bits_of(TXID),
        "received_ns": 5,
        "instrument": 0,
    }


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        ("EOrder:Insufficient funds", VenueEventKind.REJECTED, VenueReason.INSUFFICIENT_BALANCE),
        ("EOrder:Rate limit exceeded", VenueEventKind.THROTTLED, VenueReason.RATE_LIMIT),
        ("EService:Deadline elapsed", VenueEventKind.REJECTED, VenueReason.EXPIRED_REQUEST),
        ("EService:Unavailable", VenueEventKind.UNKNOWN, VenueReason.VENUE_DOWN),
        ("EGeneral:Internal error", VenueEventKind.UNKNOWN, VenueReason.OTHER),
        ("Something new", VenueEventKind.UNKNOWN, VenueReason.OTHER),
    ],
)
def test_a_refused_order_is_what_the_error_proves(error: str, kind: VenueEventKind, reason: VenueReason) -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    found = event(of, reply("add_order", error=error))
    assert (found["kind"], found["reason"], found["request_id"], found.get("order_id", 0)) == (kind, reason, OURS, 0)


def test_a_refusal_for_the_rate_fills_the_counter_of_the_pair() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    assert may_send(of, IntentKind.NEW, 0, 5, 5) == 0
    event(of, reply("add_order", error="EOrder:Rate limit exceeded"))
    assert may_send(of, IntentKind.NEW, 0, 5, 5) > 0


def test_an_amendment_names_its_request_and_the_first_wire_id() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    sent(of, IntentKind.REPLACE, AMEND, OURS, price_ticks=618_000, qty_lots=7)
    found = event(of, reply("amend_order", {"amend_id": "TTW6PD-RC36L-ZZSWNU", "cl_ord_id": client_id(OURS)}, req_id=AMEND))
    assert found["kind"] == VenueEventKind.AMENDED and (found["order_id"], found["request_id"]) == (OURS, AMEND)
    assert (found["price_ticks"], found["qty_lots"], found.get("instrument", 0)) == (618_000, 7, 0)


def test_a_refused_amendment_ends_its_own_order_and_asks_for_the_other_one() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    sent(of, IntentKind.REPLACE, AMEND, OURS)
    count, out = read(of, reply("amend_order", error="EOrder:Unknown order", req_id=AMEND))
    assert count == 2 and out["kind"].tolist() == [VenueEventKind.REJECTED, VenueEventKind.CANCEL_REJECTED]
    assert out["request_id"].tolist() == [AMEND, AMEND] and out["order_id"].tolist() == [0, OURS]
    found = event(of, reply("amend_order", error="EOrder:Insufficient funds", req_id=AMEND))
    assert (found["kind"], found["request_id"]) == (VenueEventKind.REJECTED, AMEND)


def test_an_amendment_on_the_stream_is_ours_if_it_has_the_terms_we_asked_for() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    sent(of, IntentKind.REPLACE, AMEND, OURS, price_ticks=618_000, qty_lots=700)
    ours = event(of, execution("amended", limit_price=61800.0, order_qty=0.000007))
    assert (ours["kind"], ours["request_id"]) == (VenueEventKind.AMENDED, AMEND)
    assert "request_id" not in event(of, execution("amended", sequence=2, limit_price=61800.1, order_qty=0.000007))
    sent(of, IntentKind.REPLACE, AMEND + 1, OURS, price_ticks=618_001, qty_lots=700)
    assert "request_id" not in event(of, execution("amended", sequence=3, limit_price=61800.0, order_qty=0.000007)), (
        "a newer one is on its way"
    )


def test_answers_to_cancels_are_events_only_if_refused() -> None:
    of = codec()
    assert read(of, reply("cancel_order", {"order_id": TXID}))[0] == Scanned.IGNORED
    found = event(of, reply("cancel_order", error="EOrder:Unknown order"))
    assert (found["kind"], found["reason"]) == (VenueEventKind.CANCEL_REJECTED, VenueReason.UNKNOWN_ORDER)


def test_a_fill_is_read_to_its_numbers() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    assert event(of, trade()) == BEGUN | {
        "kind": VenueEventKind.TRADE,
        "trade_id": bits_of(EXEC),
        "last_price_ticks": 618_376,
        "last_lots": 50_000_000,
        "cum_lots": 150_000_000,
        "fee_e8": 123_000_000,
        "liquidity": Liquidity.MAKER,
        "side": Side.BUY,
        "instrument": 0,
    }


@pytest.mark.parametrize(
    ("asset", "qty", "fee_e8", "fee_asset"),
    [
        ("USD", "-0.5", -50_000_000, FeeAsset.QUOTE),
        ("BTC", "0.0000000050", 0, FeeAsset.BASE),
        ("BTC", "0.0000000150", 2, FeeAsset.BASE),
        ("BTC", "0.0000000051", 1, FeeAsset.BASE),
        ("KFEE", "3", 300_000_000, FeeAsset.OTHER),
    ],
)
def test_fees_are_in_their_asset_rounded_half_even(asset: str, qty: str, fee_e8: int, fee_asset: FeeAsset) -> None:
    message = json.dumps(trade(fees=[{"asset": asset, "qty": 1}])).replace('"qty": 1}', f'"qty": {qty}}}').encode()
    count, out = read(codec(), message)
    assert count == 1 and (int(out[0]["fee_e8"]), int(out[0]["fee_asset"])) == (fee_e8, fee_asset)


def test_filled_is_no_fill_but_says_what_was_filled_in_all() -> None:
    of = codec()
    sent(of, IntentKind.NEW, OURS)
    found = event(of, execution("filled", order_status="filled", cum_qty=1.5, cum_cost=9))
    assert (found["kind"], found["state"], found["cum_lots"]) == (VenueEventKind.STATUS, OrderState.FILLED, 150_000_000)
    assert row_of(of.private.living, OURS) == -1, "an order that ended is forgotten"


def test_what_is_not_live_yet_is_no_event_and_what_is_live_is() -> None:
    of = codec()
    assert read(of, execution("pending_new", symbol="BTC/USD", side="buy", order_qty=1.5, limit_price=61837.6))[0] == 0
    assert row_of(of.private.living, OURS) == 0, "its pair is remembered for the short ones that follow"
    assert event(of, execution("new", sequence=2, order_status="new"))["kind"] == VenueEventKind.ACK
    assert event(of, execution("canceled", sequence=3, cum_qty=0.5))["cum_lots"] == 50_000_000


@pytest.mark.parametrize(
    ("exec_type", "reason_text", "kind", "reason"),
    [
        ("canceled", "User requested", VenueEventKind.CANCELED, VenueReason.NONE),
        ("canceled", "Immediate or cancel", VenueEventKind.EXPIRED, VenueReason.NO_LIQUIDITY),
        ("canceled", "Self trade prevention", VenueEventKind.CANCELED, VenueReason.SELF_TRADE),
        ("canceled", "Post only order", VenueEventKind.CANCELED, VenueReason.WOULD_TAKE),
        ("canceled", "Something new", VenueEventKind.CANCELED, VenueReason.OTHER),
        ("expired", "Order expired", VenueEventKind.EXPIRED, VenueReason.NONE),
    ],
)
def test_ends_have_their_reasons(exec_type: str, reason_text: str, kind: VenueEventKind, reason: VenueReason) -> None:
    found = event(codec(), execution(exec_type, symbol="BTC/USD", cum_qty=0, reason=reason_text))
    assert (found["kind"], found.get("reason", 0), found.get("cum_lots", 0)) == (kind, reason, 0)


def test_orders_of_others_have_no_id_of_ours_and_other_pairs_say_nothing() -> None:
    found = event(codec(), trade(cl_ord_id="6d1b345e-2821-40e2-ad83-4ecb18a06876"))
    assert "order_id" not in found and found["venue_key"] == bits_of(TXID)
    assert read(codec(), trade(symbol="ETH/USD"))[0] == 0


def test_a_message_missing_in_a_sequence_is_noticed() -> None:
    of = codec()
    for sequence in (4, 5, 6):
        read(of, trade() | {"sequence": sequence})
    assert of.private.words[LOST_MESSAGES] == 0
    read(of, {"channel": "balances", "type": "update", "data": [], "sequence": 9})
    assert of.private.words[LOST_MESSAGES] == 0, "each subscription has its own"
    read(of, trade() | {"sequence": 8})
    assert of.private.words[LOST_MESSAGES] == 1


def test_the_venues_own_counter_replaces_ours() -> None:
    of = codec()
    event(of, execution("new", symbol="BTC/USD", ratecount=12.345))
    assert of.limits[0, COUNTER] == 12_345_000_000


def test_what_cold_code_must_see_is_left_to_it() -> None:
    of = codec()
    assert read(of, {"method": "subscribe", "success": True, "result": {"channel": "executions"}})[0] == Scanned.COLD
    assert read(of, {"method": "pong", "req_id": 1})[0] == Scanned.COLD
    assert read(of, {"channel": "status", "type": "update", "data": []})[0] == Scanned.COLD
    assert read(of, trade() | {"type": "snapshot"})[0] == Scanned.COLD
    assert read(of, trade(), room=0)[0] == Scanned.COLD
    assert read(of, {"channel": "heartbeat"})[0] == Scanned.IGNORED


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{",
        b"[]",
        json.dumps(trade())[:-1].encode(),
        json.dumps(trade(last_qty=-1)).encode(),
        json.dumps(trade(last_price=0)).encode(),
        json.dumps(trade(side="hold")).encode(),
        json.dumps(trade(timestamp="now")).encode(),
        json.dumps(trade(exec_id=5)).encode(),
        json.dumps(trade(fees=[{"asset": "USD"}])).encode(),
        json.dumps(trade(fees=5)).encode(),
        json.dumps(trade(order_id=None)).encode(),
        json.dumps(reply("add_order", {"order_id": TXID})).replace('"success": true', '"success": 1').encode(),
        json.dumps(reply("add_order", None)).encode(),
        json.dumps(trade()).replace('"sequence": 1', '"sequence": "1"').encode(),
        json.dumps(trade()).replace('"last_qty": 0.5', '"last_qty": 0.5, "last_qty": 0.5').encode(),
    ],
)
def test_what_is_not_as_documented_is_refused(message: bytes) -> None:
    assert read(codec(), message)[0] == Scanned.MALFORMED


def test_mutated_messages_never_read_past_their_end_nor_make_fills_of_nothing() -> None:
    rng, of = random.Random(11), codec()
    whole = [
        json.dumps(message).encode() for message in (trade(), execution("canceled", symbol="BTC/USD", cum_qty=0), reply("add_order", {}))
    ]
    for n in range(3000):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.choice((1, 1, 2, 4))):
            at = rng.randrange(len(data))
            data[at : at + rng.choice((0, 1, 1, 3))] = bytes(
                rng.choice(b'"\\{}[]:,.-+0159eE x\x00\xff') for _ in range(rng.choice((0, 1, 1, 2)))
            )
        count, out = read(of, bytes(data) or b" ")
        trades = out[out["kind"] == VenueEventKind.TRADE]
        assert (trades["last_lots"] > 0).all() and (trades["trade_id"] > 0).all(), f"seed 11 mutant {n}"
        if count > 0:
            json.loads(bytes(data))


def test_ids_stand_for_their_texts() -> None:
    rng = random.Random(5)
    texts = {"".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") for _ in range(19)) for _ in range(20_000)}
    assert len({bits_of(text) for text in texts}) == len(texts) and all(0 < bits_of(text) < 1 << 62 for text in list(texts)[:100])


def test_living_orders_are_remembered_until_they_end() -> None:
    living = np.zeros((SETS, WAYS, 3), np.int64)
    ids = [1 + k * SETS for k in range(WAYS + 1)]
    for k, identity in enumerate(ids[:WAYS]):
        remember(living, identity, k)
        note_filled(living, identity, 10 * k)
    forget(living, ids[1])
    note_filled(living, ids[1], 7)
    remember(living, ids[WAYS], 9)
    assert [int(row_of(living, identity)) for identity in ids] == [0, -1, 2, 3, 9]
    assert [int(filled_of(living, identity)) for identity in ids] == [0, 0, 20, 30, 0]
    remember(living, ids[2], 2)
    note_filled(living, ids[2], 5)
    assert filled_of(living, ids[2]) == 20, "what was filled never falls"
    remember(living, ids[0] + 10 * SETS * (WAYS + 1), 8)
    assert row_of(living, ids[0]) == -1, "in a full set the lowest id gives way"
    assert AMENDS & (AMENDS - 1) == 0
