"""Binance captures: SBE against its own best prices; whose snapshot is whose. Those in JSON: `tests/unit/processes/test_verify_capture.py`."""

from __future__ import annotations

import random

import pytest

from hft.venues.binance.capture import CaptureEmpty, Message, Player, survey
from hft.venues.binance.capture_sbe import read_sbe
from support import binance_sbe as sbe
from support.binance_stream import depth, snapshot

BIDS, ASKS = [("100.00", "1.5"), ("99.00", "2.5")], [("101.00", "3.125")]


def play(messages: list[Message]) -> Player:
    player = Player(survey(messages))
    for message in messages:
        player.take(message)
    return player


def binary(*frames: bytes) -> list[Message]:
    return [Message(frame, binary=True) for frame in frames]


def session() -> list[Message]:
    """The same book by diffs and by best prices, from a snapshot at 10."""
    messages = binary(sbe.depth(8, 10)) + [Message(snapshot(10, BIDS, ASKS))]
    rng, last = random.Random(3), 10
    for n in range(30):
        last += rng.randint(1, 3)
        size = f"{rng.randint(1, 999)}.5"
        if n % 3:
            messages += binary(sbe.best(last, ("100.00", size), ASKS[0]))
        messages += binary(sbe.depth(messages_last(messages) + 1, last, [("100.00", size)]))
    return messages


def messages_last(messages: list[Message]) -> int:
    """The last update id of the newest diff."""
    ids = [told.last_id for told in (read_sbe(message.payload) for message in messages if message.binary) if told and told.last_id]
    return ids[-1]


def test_sbe_is_compared_with_best_prices_of_the_same_id() -> None:
    report = play(session()).report()
    assert (report["book_updates"], report["compared"], report["equal"]) == (31, 20, 20)
    assert (report["gaps"], report["crossed"], report["refused"], report["snapshots"]) == (0, 0, 0, 1)
    assert (report["symbols"]["BTCUSDT"]["price_decimals"], report["symbols"]["BTCUSDT"]["qty_decimals"]) == (0, 3)


def test_sbe_best_price_that_the_book_does_not_have_is_told() -> None:
    messages = session()
    at = next(n for n, message in enumerate(messages) if message.binary and message.payload[2:4] == (10_001).to_bytes(2, "little"))
    diff = read_sbe(messages[at + 1].payload)
    assert diff is not None
    messages[at] = Message(sbe.best(diff.last_id, ("100.00", "1000.5"), ASKS[0]), binary=True)
    report = play(messages).report()
    assert report["compared"] - report["equal"] == 1
    assert report["first_differing"][0]["update_id"] == diff.last_id


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (sbe.depth(5, 9, [("60000.10", "0.00200000")], symbol="A"), ("A", 1, 3, 5, 9)),
        (sbe.best(9, ("60000.10", "1"), ("60000.25", "0.5"), symbol="BC", longer=3), ("BC", 2, 1, 0, 0)),
        (sbe.book(9, [("100", "0.125")], exponents=(0, -3)), ("BTCUSDT", 0, 3, 0, 0)),
        (sbe.depth(5, 9, [("0", "0")], longer=8), ("BTCUSDT", 0, 0, 5, 9)),
        (b"", None),
        (sbe.depth(5, 9, BIDS)[:-3], None),
        (sbe.message(10_003, b"\x00" * 26, b"\x00" * 8, "A", schema=2), None),
        (sbe.message(20_000, b"\x00" * 26, b"\x00" * 8, "A"), None),
    ],
)
def test_a_frame_tells_its_symbol_and_the_digits_that_it_needs(frame: bytes, expected: tuple[object, ...] | None) -> None:
    assert read_sbe(frame) == expected


@pytest.mark.parametrize("seed", range(20))
def test_mutated_frames_are_read_or_not_and_never_raise(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(100):
        frame = bytearray(sbe.depth(5, 9, BIDS, ASKS))
        for _ in range(rng.randint(1, 4)):
            frame[rng.randrange(len(frame))] = rng.randrange(256)
        read_sbe(bytes(frame[: rng.randint(0, len(frame))]))


def test_a_snapshot_whose_symbol_was_recorded_is_of_that_symbol() -> None:
    """Their ids would let it be of either."""
    messages = [Message(depth(8, 10, BIDS, symbol=symbol)) for symbol in ("AUSDT", "BUSDT")]
    for symbol in ("BUSDT", "AUSDT"):
        messages.append(Message(snapshot(9, [], ASKS), symbol))
    player = play(messages)
    assert player.survey.snapshots == {3: "BUSDT", 4: "AUSDT"} and player.report()["snapshots"] == 2
    assert player.report()["refused"] == 0
    unknown = survey([*messages[:2], Message(snapshot(9, [], ASKS)), Message(snapshot(9, [], ASKS), "CUSDT")])
    assert unknown.snapshots == {3: "", 4: ""}


def test_no_market_data_is_said_so() -> None:
    with pytest.raises(CaptureEmpty, match="no Binance market data among 2 messages"):
        survey([Message(b"hello"), Message(b"\x00\x01", binary=True)])
