"""The file of a campaign: what was written is found again, a torn line is not, and another campaign's is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from processes.chaos.ledger import Ledger, Life, Outage
from processes.chaos.report import document_of, markdown, print_chaos
from processes.chaos.rows import Marks, Plan, Record, Row, Session, measure_books
from processes.errors import EngineError

PLAN = Plan("kraken", 7, 600, 5)
SHORT = Plan("kraken", 7, 5, 5)  #: of one strike
MS = 1_000_000


def row(number: int = 1, **fields: Any) -> Row:
    return Row(number, "gap", [{"kind": "drop_depth"}], 1.5, **fields)


def test_a_campaign_goes_on_after_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "campaign.jsonl"
    record = Record(path, PLAN)
    record.add(row(1, valid_ms=20))
    record.add(row(2, wrong=["open only here"]))
    record.add(Session(10, 3, 0, True))
    again = Record(path, PLAN)
    assert again.rows == record.rows and again.sessions == record.sessions


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "campaign.jsonl"
    Record(path, PLAN).add(row(1))
    with open(path, "ab") as file:
        file.write(b'{"line":"row","number":2,"na')
    again = Record(path, PLAN)
    assert [each.number for each in again.rows] == [1]
    again.add(row(2))
    assert [each.number for each in Record(path, PLAN).rows] == [1, 2]


def test_the_file_of_another_campaign_is_refused(tmp_path: Path) -> None:
    Record(tmp_path / "campaign.jsonl", PLAN)
    with pytest.raises(EngineError, match="another campaign"):
        Record(tmp_path / "campaign.jsonl", Plan("kraken", 8, 600, 5))


def measured(outages: list[Outage], lives: list[Life], quiet: tuple[Outage, ...] = (), answered_ms: int = 0) -> Row:
    ledger = SimpleNamespace(outages=outages, quiet=list(quiet), lives=dict(enumerate(lives)))
    found = row()
    measure_books(found, cast(Ledger, ledger), Marks(0, 0), 500 * MS, answered_ms * MS, 2000 * MS)
    return found


def test_a_book_is_measured_from_healing_and_a_quote_from_its_last_event() -> None:
    outage = Outage(0, 100 * MS, 110 * MS, 900 * MS)
    found = measured([outage], [Life(0, 50 * MS, 340 * MS), Life(1, 50 * MS, 0)])
    assert (found.invalid_ms, found.valid_ms, found.pulled_ms) == (790, 400, 240)


def test_a_quote_that_nobody_pulled_stands_until_the_book_is_valid() -> None:
    found = measured([Outage(0, 100 * MS, 110 * MS, 900 * MS)], [Life(0, 50 * MS, 0)])
    assert found.pulled_ms == 800
    assert measured([Outage(0, 100 * MS, 110 * MS, 0)], [Life(0, 50 * MS, 0)]).pulled_ms == 1900, "and until now if it never was"


def test_a_quote_that_ended_before_or_began_after_did_not_stand() -> None:
    found = measured([Outage(0, 100 * MS, 110 * MS, 900 * MS)], [Life(0, 50 * MS, 105 * MS), Life(0, 950 * MS, 0)])
    assert found.pulled_ms is None


def test_a_quote_on_a_quiet_book_stands_too_although_the_book_is_valid() -> None:
    found = measured([], [Life(0, 50 * MS, 1500 * MS)], quiet=(Outage(0, 100 * MS, 1100 * MS, 1900 * MS),))
    assert (found.invalid_ms, found.valid_ms, found.pulled_ms) == (None, None, 1400)


def test_no_cancel_is_expected_while_none_can_reach_the_venue() -> None:
    found = measured([Outage(0, 100 * MS, 110 * MS, 0)], [Life(0, 50 * MS, 700 * MS)], answered_ms=500)
    assert found.pulled_ms == 200


def test_a_campaign_passes_when_nothing_is_wrong_and_a_session_came_to_its_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = Record(tmp_path / "campaign.jsonl", SHORT)
    record.add(row(1, valid_ms=20, pulled_ms=30, agreed_ms=40))
    assert document_of(SHORT, record)["passed"] is False
    record.add(Session(10, 3, 0, True, "abc1234"))
    document = document_of(SHORT, record)
    assert document["passed"] and document["worst_ms"] == {"valid_ms": 20, "pulled_ms": 30, "agreed_ms": 40} and document["orders"] == 10
    assert document["commit"] == "abc1234"
    print_chaos(document)
    printed = capsys.readouterr().out
    assert "equal" in printed and "Passed" in printed and "| 1 | 1.5 | gap |" in markdown(document)
    unfinished = document_of(PLAN, record)
    assert not unfinished["passed"] and unfinished["left"] == 119 and "119 strikes are left" in markdown(unfinished)
    record.add(row(2, wrong=["open only here: BUY 1 BTC/USD at 5"]))
    failed = document_of(SHORT, record)
    assert not failed["passed"] and failed["late"] == [] and failed["wrong"] == ["2 gap: open only here: BUY 1 BTC/USD at 5"]


def test_a_bound_that_was_not_kept_is_apart_from_what_differed(tmp_path: Path) -> None:
    record = Record(tmp_path / "campaign.jsonl", PLAN)
    record.add(row(1, late=["a quote stood 1700 ms"]))
    record.add(Session(10, 3, 0, True))
    document = document_of(PLAN, record)
    assert not document["passed"] and document["wrong"] == [] and document["late"] == ["1 gap: a quote stood 1700 ms"]
    assert "a quote stood 1700 ms" in markdown(document)


def test_strikes_on_processes_are_judged_by_their_99th_percentiles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan("kraken", 7, 100, 1, "process")
    record = Record(tmp_path / "campaign.jsonl", plan)
    for number in range(1, 101):
        slow = number == 100
        record.add(Row(number, "SIGKILL risk", [], number, agreed_ms=9000 if slow else 40, trading_ms=3000 if slow else 10 * number))
    record.add(Session(500, 90, 0, None))
    document = document_of(plan, record)
    total = {"times": 100, "trading_p50_ms": 500, "trading_p99_ms": 990, "agreed_p50_ms": 40, "agreed_p99_ms": 40, "lost": 0, "doubled": 0}
    assert document["totals"] == [{"fault": name} | total for name in ("SIGKILL risk", "every SIGKILL", "all")] and document["passed"]
    print_chaos(document)
    assert "p99 990 (bound 1000)" in capsys.readouterr().out and "| SIGKILL risk | 100 | 500 | 990 | 40 | 40 | 0 | 0 |" in markdown(
        document
    )
    record.rows[0].trading_ms, record.rows[1].agreed_ms, record.rows[2].doubled = 1001, 5001, 1
    worse = document_of(plan, record)
    assert not worse["passed"] and worse["late"] == ["trading_p99_ms 1001, bound 1000", "agreed_p99_ms 5001, bound 5000"]
    assert worse["totals"][-1]["doubled"] == 1
    for each in (*record.rows[:20], record.rows[-1]):
        each.name = "SIGSTOP risk"  # To hang takes as long as the supervisor waits.
    assert document_of(plan, record)["late"] == []


def test_strikes_on_the_host_are_judged_from_their_healing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan("kraken", 7, 2, 1, "host")
    record = Record(tmp_path / "campaign.jsonl", plan)
    record.add(Row(1, "full disk", [], 1, agreed_ms=4000, trading_ms=4900))
    record.add(Row(2, "torn journals", [], 2, agreed_ms=40, trading_ms=900))
    record.add(Session(500, 90, 0, None))
    document = document_of(plan, record)
    assert document["passed"] and [total["fault"] for total in document["totals"]] == ["full disk", "torn journals", "all"]
    print_chaos(document)
    assert "p99 4900 (bound 5000); agreed 40 ms after healing" in capsys.readouterr().out
    record.rows[0].trading_ms = 5001
    assert document_of(plan, record)["late"] == ["trading_p99_ms 5001, bound 5000"]
