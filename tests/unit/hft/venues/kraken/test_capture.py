"""Kraken captures: the digits of the wire are found, whatever the recorder made of them; both protocols' messages count."""

from __future__ import annotations

import json

import pytest

from hft.venues.kraken.capture import CaptureEmpty, Player, survey
from support.kraken_frames import INSTRUMENTS
from support.naive_kraken import KrakenFlow


def messages(flow: KrakenFlow, count: int = 30) -> list[bytes]:
    return [flow.message("snapshot", flow.snapshot()), *[flow.message("update", flow.update()) for _ in range(count)]]


def shortened(payload: bytes) -> bytes:
    """As a recorder writes it that reads numbers to floats: without the zeros at their ends."""
    message = json.loads(payload, parse_float=lambda text: float(text) if float(text) >= 1e-4 else text)
    text = json.dumps(message, separators=(",", ":"))
    for level in (level for row in message["data"] for side in ("bids", "asks") for level in row[side]):
        if isinstance(level["qty"], str):
            text = text.replace(f'"{level["qty"]}"', level["qty"].rstrip("0"), 1)
    return text.replace(".0,", ",").replace(".0}", "}").encode()


def play(payloads: list[bytes]) -> dict[str, object]:
    player = Player(survey(payloads))
    for payload in payloads:
        player.take(payload)
    return player.report()


@pytest.mark.parametrize(("price_decimals", "qty_decimals"), [(1, 8), (5, 8), (0, 3), (10, 2)])
def test_every_checksum_holds_at_any_scale(price_decimals: int, qty_decimals: int) -> None:
    report = play(messages(KrakenFlow(7, "X/USD", 10, price_decimals, qty_decimals)))
    assert (report["checksum_ok"], report["checksum_bad"], report["refused"]) == (31, 0, 0)


def test_digits_that_a_recorder_left_out_are_found_by_the_checksum() -> None:
    flow = KrakenFlow(7, "X/USD", 10, price_decimals=2)
    # No price needs its last digit, no size its last three.
    flow.sides = {side: {ticks * 10: units * 1000 for ticks, units in levels.items()} for side, levels in flow.sides.items()}
    report = play([shortened(flow.message("snapshot", flow.snapshot()))])
    assert (report["checksum_ok"], report["checksum_bad"]) == (1, 0)
    symbols = report["symbols"]
    assert isinstance(symbols, dict) and (symbols["X/USD"]["price_decimals"], symbols["X/USD"]["qty_decimals"]) == (2, 8)


def test_digits_are_those_that_the_venue_tells_where_no_checksum_says_more() -> None:
    update = b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":7,"qty":1.5}],"asks":[],"checksum":1}]}'
    pair = survey([INSTRUMENTS, update]).pairs["BTC/USD"]
    assert (pair.price_decimals, pair.qty_decimals) == (1, 8)
    unlike = survey([b'{"channel":"instrument","data":{"pairs":[{"symbol":"BTC/USD","price_precision":-1},7]}}', update]).pairs["BTC/USD"]
    assert (unlike.price_decimals, unlike.qty_decimals) == (0, 1)


def test_trades_of_the_first_protocol_are_counted() -> None:
    trades = b'[993,[["354.04","0.28","1618678150.8","s","m",""],["353.81","1.71","1618678150.9","s","m",""]],"trade","XMR/USD"]'
    report = play([b'{"event":"systemStatus"}', trades])
    assert (report["messages"], report["trades"], report["refused"], report["book_updates"]) == (2, 2, 0, 0)


def test_no_market_data_is_said_so() -> None:
    with pytest.raises(CaptureEmpty, match="no Kraken market data among 2 messages"):
        survey([b"hello", b'{"channel":"heartbeat"}'])
