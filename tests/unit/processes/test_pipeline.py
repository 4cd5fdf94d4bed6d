"""The whole engine in virtual time: every stage agrees on what was traded, and its journals repeat it byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hft.book import book_at, new_books, state_hash
from hft.counters import ExecutionCounter, FeedCounter, RiskCounter, StrategyCounter
from hft.journal_reader import Entry
from hft.matching_state import check
from hft.records import REPORT, InputKind, JournalKind, ReportKind
from processes.errors import EngineError
from processes.instance import Instance
from processes.replay import print_replay, replay_session
from support.naive_ledger import NaiveLedger
from support.pipeline import Pipeline, records_of, rewrite_journal

SEED = 5
SECONDS = 15.0
OWNERS = (-1, 0)


class Run:
    """A finished run: where its journals are, and how each stage stood at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "1"
        with pytest.MonkeyPatch.context() as monkeypatch, Pipeline(self.folder, SEED, monkeypatch) as engine:
            engine.run(SECONDS)
            for _ in range(100):
                engine.cycle()  # Everyone reads what is left.
            self.tables = engine.loop.tables
            self.execution = engine.stage("execution.binance").context
            self.portfolio = engine.stage("portfolio").context.positions.copy()
            self.strategy = engine.stage("strategy.mm").context.own
            self.risk = engine.stage("risk").context.state
            self.books = {"feed": engine.feed.context.book.books, "strategy": self.strategy.books, "execution": self.execution.books}
            self.empty_hash = int(state_hash(book_at(new_books(1, 8), 0)))
            self.counters = {stage.name: stage.context.common.counters.copy() for stage in engine.loop.stages}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("run"))


def test_run_trades_and_loses_nothing(run: Run) -> None:
    feed, execution = run.counters["feed.binance"], run.counters["execution.binance"]
    assert feed[FeedCounter.BOOKS_VALID] == 2 and feed[FeedCounter.QUOTE_MISMATCHES] == feed[FeedCounter.OVERRUNS] == 0
    assert execution[ExecutionCounter.SENT] > 10 and execution[ExecutionCounter.TRADES] > 0
    strategy, risk = run.counters["strategy.mm"], run.counters["risk"]
    assert strategy[StrategyCounter.INTENTS] == risk[RiskCounter.INTENTS] == risk[RiskCounter.APPROVED] + risk[RiskCounter.REFUSED]
    assert strategy[StrategyCounter.BOOK_ERRORS] == execution[ExecutionCounter.BOOK_ERRORS] == 0
    assert strategy[StrategyCounter.REFUSED] <= risk[RiskCounter.REFUSED] and check(run.execution.matching) == 0


def test_every_owners_position_and_pnl_follow_from_the_journaled_fills(run: Run) -> None:
    reports = records_of(run.folder, "execution.binance", JournalKind.REPORT)
    fills = reports[reports["kind"] == ReportKind.TRADE]
    assert len(set(fills["trade_id"].tolist())) == len(fills) == run.counters["execution.binance"][ExecutionCounter.TRADES]
    books = {(owner, i): NaiveLedger(run.tables.instrument_rows[i]) for owner in OWNERS for i in range(2)}
    for fill in fills:
        for owner in OWNERS:
            fields = ("side", "last_price_ticks", "last_lots", "fee_e8", "fee_asset")
            books[owner, int(fill["instrument"])].fill(*(int(fill[field]) for field in fields))
    for row in run.portfolio:
        book = books[int(row["strategy"]), int(row["instrument"])]
        assert (
            row["position_lots"] == book.position_lots and row["fees_quote_e8"] == book.fees[0] and row["turnover_e8"] == book.turnover_e8
        )
        assert row["cash_ticklots"] * book.ticklot == book.cash_e8
        value = book.cash_e8 + book.position_lots * book.ticklot * int(row["mark_ticks_x2"]) / 2
        assert abs(row["realised_e8"] + row["unrealised_e8"] - value) <= 2, f"seed {SEED}"


def test_every_stage_has_the_same_positions_and_working_orders(run: Run) -> None:
    for own in (run.portfolio[:2], run.portfolio[2:], run.strategy.positions, run.risk.positions):
        for field in ("position_lots", "cash_ticklots", "realised_e8", "cost_e8", "fees_quote_e8", "fills"):
            assert own[field].tolist() == run.portfolio[:2][field].tolist(), field


def test_books_of_all_consumers_are_the_feeds(run: Run) -> None:
    for instrument in range(2):
        hashes = {name: int(state_hash(book_at(books, instrument))) for name, books in run.books.items()}
        assert len(set(hashes.values())) == 1 and hashes["feed"] != run.empty_hash, hashes


def replay(folder: Path) -> dict[str, Any]:
    return replay_session(Instance("replayed", folder), str(folder))


def test_replay_repeats_every_decision(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    document = replay(run.folder)
    assert document["equal"] and document["first_difference"] is None
    assert [stage["stage"] for stage in document["stages"]] == ["strategy.mm", "risk", "execution.binance"]
    assert all(stage["inputs"] > 100 and stage["decisions"] > 10 for stage in document["stages"])
    print_replay(document)
    assert "byte-identical" in capsys.readouterr().out


def shift(wanted: JournalKind, field: str, only: dict[str, int], nth: int = 3, by: int = 1) -> Callable[[Entry, NDArray[np.uint8]], None]:
    """A change of a field in the nth record of a kind."""
    seen = 0

    def change(entry: Entry, payload: NDArray[np.uint8]) -> None:
        nonlocal seen
        if entry.kind != wanted:
            return
        rows = payload.view(entry.records().dtype)
        for row in rows:
            if all(row[name] == value for name, value in only.items()):
                seen += 1
                if seen == nth:
                    row[field] += by

    return change


TAMPERED = [
    ("strategy.mm", JournalKind.INTENT, "price_ticks", {}, {"strategy.mm"}),
    ("risk", JournalKind.ORDER, "qty_lots", {}, {"risk"}),
    ("execution.binance", JournalKind.SENDING, "price_ticks", {}, {"execution.binance"}),
    ("execution.binance", JournalKind.REPORT, "exchange_ns", {}, {"execution.binance"}),
    ("execution.binance", JournalKind.REPORT, "last_lots", {"kind": int(ReportKind.TRADE)}, {"strategy.mm", "execution.binance"}),
]


@pytest.mark.parametrize(("stage", "kind", "field", "only", "where"), TAMPERED)
def test_replay_of_a_changed_journal_says_where_it_differs(
    run: Run, tmp_path: Path, stage: str, kind: JournalKind, field: str, only: dict[str, int], where: set[str]
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(run.folder, folder)
    for path in folder.glob(f"{stage}.*"):
        path.unlink()
    rewrite_journal(run.folder, folder, stage, shift(kind, field, only))
    document = replay(folder)
    assert not document["equal"] and document["first_difference"]["stage"] in where, document["first_difference"]


BROKEN = [
    ("strategy.mm", JournalKind.INPUT, "now_ns", {"kind": int(InputKind.TIMER)}, "work"),
    ("risk", JournalKind.INPUT, "last", {"kind": int(InputKind.RECORDS)}, "ring sequences"),
]


@pytest.mark.parametrize(("stage", "kind", "field", "only", "message"), BROKEN)
def test_journal_that_no_stage_can_have_written_is_an_error(
    run: Run, tmp_path: Path, stage: str, kind: JournalKind, field: str, only: dict[str, int], message: str
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(run.folder, folder)
    for path in folder.glob(f"{stage}.*"):
        path.unlink()
    by = 1 if field == "now_ns" else 1 << 40
    rewrite_journal(run.folder, folder, stage, shift(kind, field, only, by=by))
    with pytest.raises(EngineError, match=message):
        replay(folder)


def test_damaged_and_missing_journals_are_errors(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(run.folder, folder)
    path = folder / "strategy.mm.000001.journal"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(EngineError, match="strategy.mm"):
        replay(folder)
    for path in folder.glob("risk.*"):
        path.unlink()
    with pytest.raises(EngineError, match="risk"):
        replay(folder)


@pytest.mark.parametrize("session", ["7", "nowhere", "/", "²"])
def test_session_that_is_not_there_is_an_error(tmp_path: Path, session: str) -> None:
    with pytest.raises(EngineError, match="expected an epoch or a folder"):
        replay_session(Instance("some", tmp_path), session)


def test_newest_session_is_replayed_when_none_is_named(run: Run, tmp_path: Path) -> None:
    instance = Instance("some", tmp_path)
    with pytest.raises(EngineError, match="no journals"):
        replay_session(instance, None)
    shutil.copytree(run.folder, instance.journal_folder(1))
    assert replay_session(instance, None)["equal"] and replay_session(instance, "1")["equal"]


def test_unchanged_copy_of_every_journal_still_replays_equal(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    for stage in ("feed.binance", "strategy.mm", "risk", "execution.binance", "portfolio"):
        rewrite_journal(run.folder, folder, stage, lambda entry, payload: None)
    assert replay(folder)["equal"]


def test_same_seed_trades_the_same(tmp_path: Path) -> None:
    seconds = SECONDS / 4
    fills = []
    begin_ns = None
    for name in ("a", "b"):
        with pytest.MonkeyPatch.context() as monkeypatch, Pipeline(tmp_path / name, SEED, monkeypatch, begin_ns) as engine:
            begin_ns = engine.now_ns
            engine.run(seconds)
        rows = records_of(tmp_path / name, "execution.binance", JournalKind.REPORT)
        for stamp in ("sent_ns", "reported_ns", "decided_ns", "approved_ns"):
            rows[stamp] = 0
        fills.append(rows)
    assert fills[0].dtype == REPORT and fills[0].tobytes() == fills[1].tobytes()
