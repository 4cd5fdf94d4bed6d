"""The feed stage at Kraken, against its simulator: every checksum holds, and a book that fell out of step comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hft.counters import FeedCounter
from support.feed_desk import KrakenFeedDesk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KrakenFeedDesk]:
    with KrakenFeedDesk(tmp_path, monkeypatch) as desk:
        desk.run(0.1)
        desk.open()
        desk.run(2.0)
        assert desk.count(FeedCounter.BOOKS_VALID) == 1
        yield desk


def venue_best(desk: KrakenFeedDesk) -> tuple[int, int]:
    bid, ask = desk.driver.best()
    return int(bid * 10), int(ask * 10)


def test_a_book_follows_the_venue_and_every_checksum_holds(desk: KrakenFeedDesk) -> None:
    assert "VALID" in desk.told and desk.best() == venue_best(desk)
    assert desk.count(FeedCounter.CHECKSUM_OK) > 50 and desk.count(FeedCounter.CHECKSUM_BAD) == 0
    assert desk.count(FeedCounter.HEARTBEATS) >= 1 and desk.count(FeedCounter.MALFORMED) == 0


def test_a_wrong_checksum_costs_the_book_until_it_is_subscribed_anew(desk: KrakenFeedDesk) -> None:
    desk.driver.fault(kind="wrong_checksum", symbol="BTC/USD")
    before = len(desk.told)
    desk.run(2.0)
    assert desk.count(FeedCounter.CHECKSUM_BAD) == 1 and "INVALID" in desk.told[before:]
    assert desk.count(FeedCounter.BOOKS_VALID) == 1 and desk.best() == venue_best(desk)


def test_a_lost_connection_costs_the_book_until_the_next_one(desk: KrakenFeedDesk) -> None:
    desk.lose()
    desk.run(0.1)
    assert desk.count(FeedCounter.BOOKS_VALID) == 0 and desk.told[-1] == "INVALID"
    desk.open()
    desk.run(2.0)
    assert desk.count(FeedCounter.BOOKS_VALID) == 1 and desk.best() == venue_best(desk)
    assert desk.count(FeedCounter.CONNECTS) == 2 and desk.count(FeedCounter.DISCONNECTS) == 1
