"""Coinbase captures: books of orders begin with the snapshots that were recorded; those of level 2 are in `test_feed.py`."""

from __future__ import annotations

import json
import uuid
from typing import Any

from hft.venues.coinbase.capture import Player, survey
from support.coinbase_frames import message


def order_id(n: int) -> str:
    return str(uuid.UUID(int=n))


def opened(sequence: int, n: int, side: str, price: str) -> bytes:
    return message("open", sequence=sequence, order_id=order_id(n), side=side, price=price, remaining_size="1.5")


SNAPSHOT = json.dumps(
    {"sequence": 10, "bids": [["100.125", "2", order_id(1)], ["99", "1", order_id(2)]], "asks": [["101", "1", order_id(3)]]}
).encode()


def play(*lines: bytes) -> dict[str, Any]:
    """Messages as they came, and `SNAPSHOT` where it did."""
    found = survey((line for line in lines if line is not SNAPSHOT), (("BTC-USD", line) for line in lines if line is SNAPSHOT))
    player = Player(found)
    for line in lines:
        if line is SNAPSHOT:
            player.snapshot("BTC-USD", line)
        else:
            player.take(line)
    return player.report()


def test_a_book_of_orders_begins_with_its_snapshot() -> None:
    report = play(opened(10, 2, "buy", "99"), opened(11, 4, "buy", "98"), SNAPSHOT, opened(12, 5, "sell", "102"))
    symbol = report["symbols"]["BTC-USD"]
    assert (symbol["bids"], symbol["asks"], symbol["sequence"], symbol["price_decimals"]) == (3, 2, 12, 3)
    assert (report["gaps"], report["refused"], report["snapshots"], report["channel"]) == (0, 0, 1, "full")


def test_a_snapshot_of_a_book_that_is_in_step_changes_nothing() -> None:
    report = play(opened(10, 2, "buy", "99"), SNAPSHOT, opened(11, 4, "buy", "98"), SNAPSHOT, opened(12, 5, "sell", "102"))
    assert (report["snapshots"], report["symbols"]["BTC-USD"]["sequence"]) == (1, 12)


def test_without_any_snapshot_a_book_is_made_of_the_orders_that_were_opened() -> None:
    report = play(opened(10, 2, "buy", "99"), opened(11, 4, "buy", "98"))
    assert (report["symbols"]["BTC-USD"]["bids"], report["symbols"]["BTC-USD"]["sequence"], report["gaps"]) == (2, 11, 0)


def test_a_snapshot_of_a_product_that_no_message_is_about_is_left_out() -> None:
    found = survey([opened(10, 2, "buy", "99")], [("ETH-USD", SNAPSHOT)])
    assert not found.snapshots
    player = Player(found)
    player.snapshot("ETH-USD", SNAPSHOT)
    assert player.report()["snapshots"] == 0
