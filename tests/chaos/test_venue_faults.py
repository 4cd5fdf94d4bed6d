"""A venue that misbehaves over real sockets: books turn invalid, nothing is ordered on them, and they come back by themselves."""

from __future__ import annotations

import pytest

from support.journals import assert_no_order_on_an_invalid_book, assert_positions_follow_from_fills
from support.live_engine import LiveEngine, live_engine, paper
from support.waiting import wait_until

#: A fault's JSON, the feed's counter that must tell of it, and whether it costs a book.
FAULTS = [
    ({"kind": "disconnect"}, "disconnects", True),
    ({"kind": "drop_depth", "symbol": "BTCUSDT", "count": 2}, "gaps", True),
    ({"kind": "crossed", "symbol": "ETHUSDT"}, "crossed", True),
    ({"kind": "corrupt", "symbol": "BTCUSDT", "count": 3, "how": "truncate"}, "malformed", False),
    ({"kind": "corrupt", "symbol": "ETHUSDT", "count": 3, "how": "bad_number"}, "malformed", False),
    ({"kind": "corrupt", "count": 2, "how": "not_json"}, "malformed", False),
    ({"kind": "corrupt", "count": 2, "how": "not_utf8"}, None, False),
    ({"kind": "corrupt", "count": 2, "how": "empty"}, "malformed", False),
    ({"kind": "silence", "for_ms": 2500}, "silent", True),
    ({"kind": "server_shutdown", "after_ms": 300}, "disconnects", False),
    ({"kind": "duplicate", "symbol": "BTCUSDT", "count": 3}, None, False),
]


def impatient(sections):
    """A second of silence makes a book invalid."""
    sections["venues"]["binance"]["silence_ms"] = 1000


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with live_engine(tmp_path_factory.mktemp("faults"), paper(impatient)) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("sent", 1)
        yield engine
        lost_books = feed(engine)["resyncs"] - 2
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert_positions_follow_from_fills(engine, report)
        assert report["restarts"] == 0 and report["orders"]["unknown"] == 0
        assert assert_no_order_on_an_invalid_book(engine, report["epoch"]) >= max(lost_books, 5)
        assert engine.ctl_json("replay")["equal"] is True


def feed(engine: LiveEngine) -> dict[str, int]:
    counters: dict[str, int] = next(stage["counters"] for stage in engine.status()["stages"] if stage["name"] == "feed.binance")
    return counters


def await_healthy(engine: LiveEngine) -> None:
    """Both books valid, equal to the venue's at the same update id as far as can be asked, and orders flowing."""
    wait_until(lambda: feed(engine).get("books_valid") == 2, 30, f"both books are valid (see {engine.log_text()})")
    engine.await_orders("sent", engine.status()["orders"]["sent"] + 1)


@pytest.mark.parametrize(("fault", "counter", "costs_a_book"), FAULTS, ids=lambda value: value["kind"] if isinstance(value, dict) else "")
def test_books_come_back_after(engine, fault, counter, costs_a_book):
    await_healthy(engine)
    before = feed(engine)
    faults = engine.simulator("/state")["counters"].get("faults", 0)
    assert engine.simulator("/fault", fault) == {"ok": True}
    assert engine.simulator("/state")["counters"]["faults"] == faults + 1
    if counter is not None:
        wait_until(lambda: feed(engine).get(counter, 0) > before.get(counter, 0), 20, f"{counter} is counted")
    if costs_a_book:
        wait_until(lambda: feed(engine)["resyncs"] > before["resyncs"], 30, "a book is synced anew")
    await_healthy(engine)


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "stale_snapshot", "symbol": "BTCUSDT", "count": 2},
        {"kind": "rest_error", "status": 503, "count": 2, "html": True},
        {"kind": "rest_error", "status": 429, "count": 1, "retry_after_s": 1},
    ],
    ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}",
)
def test_books_come_back_although_the_first_snapshots_are_of_no_use(engine, fault):
    await_healthy(engine)
    before = feed(engine)
    engine.simulator("/fault", fault)
    engine.simulator("/fault", {"kind": "drop_depth", "symbol": "BTCUSDT"})
    wait_until(lambda: feed(engine).get("gaps", 0) > before.get("gaps", 0), 20, "the gap is noticed")
    wait_until(lambda: feed(engine)["resyncs"] > before["resyncs"], 30, f"the book is synced anew (see {engine.log_text()})")
    await_healthy(engine)


def test_nothing_is_sent_while_the_venue_is_silent(engine):
    await_healthy(engine)
    engine.simulator("/fault", {"kind": "silence", "for_ms": 6000})
    wait_until(lambda: feed(engine).get("books_valid", 0) == 0, 10, "both books are invalid")
    wait_until(lambda: engine.status()["orders"]["working"] == 0, 5, "what worked is cancelled")
    sent = engine.status()["orders"]["sent"]

    def is_valid_again() -> bool:
        now = engine.status()["orders"]["sent"]
        if feed(engine).get("books_valid", 0) > 0:
            return True
        assert now == sent, "an order was sent although no book is valid"
        return False

    wait_until(is_valid_again, 30, "a book is valid again")
    await_healthy(engine)
