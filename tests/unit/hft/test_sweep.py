"""A sweep ends all orders at a venue, and says so only when the venue has proven it."""

from __future__ import annotations

import pytest

from hft.sweep import CLEAN_ANSWERS, PAUSE_NS, RECHECK_NS, SKEW_NS, Sweep, Verdict
from hft.venues.interface import Call, Credentials
from support.guarded_venues import SECOND_NS, GuardedVenue, is_question

VENUES = ["binance", "coinbase", "kraken"]


@pytest.fixture(params=VENUES)
def venue(request: pytest.FixtureRequest) -> GuardedVenue:
    return GuardedVenue(request.param)


def is_settled(sweep: Sweep) -> bool:
    return sweep.verdict is not Verdict.PENDING


def test_every_order_is_cancelled_at_once_and_proven_gone_after_the_window(venue: GuardedVenue) -> None:
    for _ in range(3):
        venue.place()
    sweep = venue.sweep()
    killed_ns = venue.now_ns
    venue.run(sweep, 0.05)
    assert venue.open_orders() == 0 and not is_question(venue.calls[0]) and sweep.cancelled_ns > 0
    venue.run(sweep, 60, lambda: is_settled(sweep))
    assert (sweep.verdict, sweep.open_orders, sweep.refusals) == (Verdict.CLEAN, [], 0)
    assert venue.now_ns - killed_ns >= venue.guard.window_ns + SKEW_NS + (CLEAN_ANSWERS - 1) * PAUSE_NS


def test_nothing_is_proven_before_the_window_is_over_however_often_nothing_is_open(venue: GuardedVenue) -> None:
    sweep = venue.sweep()
    venue.run(sweep, 60, lambda: venue.now_ns >= sweep.quiet_ns)
    assert len(venue.questions()) >= 3 and (sweep.verdict, sweep.clean) == (Verdict.PENDING, 0)


def test_an_order_that_arrives_after_a_clean_answer_is_cancelled_and_the_count_begins_anew(venue: GuardedVenue) -> None:
    sweep = venue.sweep(confirm_s=60)
    venue.run(sweep, 60, lambda: sweep.clean == 1)
    quiet_ns = sweep.quiet_ns
    venue.place()
    venue.run(sweep, 1)
    assert sweep.verdict is Verdict.PENDING and venue.open_orders() == 0
    assert sweep.clean == 0 and sweep.quiet_ns > quiet_ns + venue.guard.window_ns
    venue.run(sweep, 60, lambda: is_settled(sweep))
    assert sweep.verdict is Verdict.CLEAN and venue.now_ns > sweep.quiet_ns


def test_an_order_that_appears_after_the_verdict_takes_it_back(venue: GuardedVenue) -> None:
    sweep = venue.sweep(confirm_s=60)
    venue.run(sweep, 60, lambda: is_settled(sweep))
    venue.place()
    venue.run(sweep, 2 * RECHECK_NS / SECOND_NS, lambda: sweep.verdict is not Verdict.CLEAN)
    assert sweep.verdict is Verdict.UNCONFIRMED and len(sweep.open_orders or []) == 1
    venue.run(sweep, 60, lambda: sweep.verdict is Verdict.CLEAN)
    assert sweep.verdict is Verdict.CLEAN and venue.open_orders() == 0


def test_an_answer_between_two_clean_ones_that_is_lost_makes_them_not_two_in_a_row(venue: GuardedVenue) -> None:
    sweep = venue.sweep(confirm_s=60)
    venue.run(sweep, 60, lambda: sweep.clean == 1)
    venue.lose = is_question
    venue.run(sweep, 1, lambda: sweep.clean == 0)
    assert sweep.clean == 0 and "no answer" in sweep.why
    venue.lose = lambda call: False
    venue.run(sweep, 60, lambda: sweep.clean == 1)
    assert sweep.verdict is Verdict.PENDING


def test_questions_without_answers_prove_nothing_and_the_deadline_says_so(venue: GuardedVenue) -> None:
    venue.place()
    venue.lose = lambda call: True
    sweep = venue.sweep()
    venue.run(sweep, 120, lambda: is_settled(sweep))
    assert (sweep.verdict, sweep.open_orders) == (Verdict.UNCONFIRMED, None)
    assert venue.now_ns >= sweep.deadline_ns
    venue.lose = lambda call: False
    venue.run(sweep, 60, lambda: sweep.verdict is Verdict.CLEAN)
    assert sweep.verdict is Verdict.CLEAN, "it goes on trying"


BAD_ANSWERS = {
    "html": (200, b"<html><body>Checking your browser</body></html>"),
    "bad gateway": (502, b"<html>502</html>"),
    "empty": (200, b""),
    "null": (200, b"null"),
    "an empty object": (200, b"{}"),
    "other rows": (200, b'[1, "2", null]'),
    "errors of kraken": (200, b'{"error":["EGeneral:Internal error"],"result":{"open":{}}}'),
    "no result": (200, b'{"error":[]}'),
    "an open list of another kind": (200, b'{"error":[],"result":{"open":[]}}'),
    "rate limited": (429, b"[]"),
    "banned": (418, b'{"error":[],"result":{"open":{}}}'),
    "server error with a clean body": (500, b"[]"),
    "unauthorised": (401, b'{"message":"Invalid API Key"}'),
    "deep": (200, b"[" * 100_000),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_anything_but_a_clear_answer_is_never_taken_for_a_clean_one(venue: GuardedVenue, name: str) -> None:
    sweep = venue.sweep()
    end_ns = sweep.deadline_ns + 30 * SECOND_NS
    now_ns = venue.now_ns
    while now_ns < end_ns:
        for call in sweep.due(now_ns, now_ns):
            sweep.take(call.tag, *BAD_ANSWERS[name], 0, now_ns)
        assert sweep.clean == 0 and sweep.verdict is not Verdict.CLEAN
        now_ns += PAUSE_NS // 2
    assert sweep.verdict is Verdict.UNCONFIRMED and sweep.why and sweep.open_orders is None


WRONG_KEYS = {
    "binance": Credentials("bob-cancel-only", b"another"),
    "coinbase": Credentials("alice-guardian", b"YW5vdGhlcg==", "alice"),
    "kraken": Credentials("alice-cancel-only", b"YW5vdGhlcg=="),
}


@pytest.mark.parametrize("name", VENUES)
def test_a_wrong_key_is_not_confirmed_and_says_why(name: str) -> None:
    venue = GuardedVenue(name, WRONG_KEYS[name])
    venue.place()
    sweep = venue.sweep()
    venue.run(sweep, 120, lambda: is_settled(sweep))
    assert sweep.verdict is Verdict.UNCONFIRMED and sweep.refusals > 1 and sweep.why
    assert venue.open_orders() == 1


@pytest.mark.parametrize(
    ("name", "credentials"),
    [("binance", Credentials("bob-read-only", b"bob-read-only")), ("coinbase", Credentials("alice-view", b"YWxpY2Utdmlldw==", "alice"))],
)
def test_a_key_that_may_not_cancel_sees_what_is_left(name: str, credentials: Credentials) -> None:
    venue = GuardedVenue(name, credentials)
    venue.place()
    sweep = venue.sweep()
    venue.run(sweep, 120, lambda: is_settled(sweep))
    assert sweep.verdict is Verdict.UNCONFIRMED and len(sweep.open_orders or []) == 1 and sweep.refusals


def test_cancels_that_are_lost_are_sent_again(venue: GuardedVenue) -> None:
    venue.place()
    sweep = venue.sweep()
    calls = sweep.due(venue.now_ns, 0)
    for call in calls:  # None of them reaches the venue.
        sweep.take(call.tag, 0, b"", 0, venue.now_ns)
    venue.run(sweep, 2)
    assert venue.open_orders() == 0


def test_nothing_is_asked_while_the_venue_wants_to_hear_nothing() -> None:
    venue = GuardedVenue("binance")
    sweep = venue.sweep(confirm_s=60)
    venue.run(sweep, 1)
    venue.driver.fault(kind="rest_error", status=429, retry_after_s=7, count=1)
    venue.run(sweep, 5, lambda: "429" in sweep.why)
    said, banned_ns = len(venue.calls), venue.now_ns
    venue.run(sweep, 6.5)
    assert len(venue.calls) == said, f"{venue.now_ns - banned_ns} ns after the ban"
    venue.run(sweep, 60, lambda: sweep.verdict is Verdict.CLEAN)
    assert sweep.verdict is Verdict.CLEAN


def test_questions_keep_within_the_guardians_part_of_the_venues_limit(venue: GuardedVenue) -> None:
    sweep = venue.sweep(confirm_s=600)

    def reopen(call: Call) -> None:
        if is_question(call):
            venue.place()

    venue.after = reopen  # It never ends.
    venue.run(sweep, 90)
    most = venue.guard.burst + 90 * SECOND_NS // venue.guard.refill_ns + 1
    assert 10 < len(venue.questions()) <= most
    assert "429" not in sweep.why and sweep.verdict is not Verdict.CLEAN


def test_binance_cancels_symbols_that_only_the_question_told() -> None:
    venue = GuardedVenue("binance")
    symbols = [b'[{"symbol":"ETHUSDT","orderId":5}]']
    assert venue.guard.open_orders(200, symbols[0]) == ["ETHUSDT 5"]
    assert [call.target.partition("&")[0].rpartition("=")[2] for call in venue.guard.cancels(10**18)] == ["BTCUSDT", "ETHUSDT"]


def test_binance_takes_nothing_to_cancel_for_a_cancel() -> None:
    guard = GuardedVenue("binance").guard
    assert guard.refused(400, b'{"code":-2011,"msg":"Unknown order sent."}') == ""
    assert "-1021" in guard.refused(400, b'{"code":-1021,"msg":"Timestamp"}')


def test_a_clock_that_is_off_by_a_second_keeps_no_cancel_from_binance() -> None:
    for off_ns in (-SECOND_NS * 8, SECOND_NS * 18 // 10):
        venue = GuardedVenue("binance")
        venue.place()
        for call in venue.guard.cancels(venue.driver.now_ns + 1_800_000_000 * SECOND_NS + off_ns):
            assert venue._answer(call)[0] == 200
        assert venue.open_orders() == 0


def test_nonces_of_kraken_rise_although_the_clock_does_not() -> None:
    guard = GuardedVenue("kraken").guard
    bodies = [guard.question(10**18 - k).body for k in range(3)]
    assert [int(body.partition(b"=")[2]) for body in bodies] == [10**18, 10**18 + 1, 10**18 + 2]
