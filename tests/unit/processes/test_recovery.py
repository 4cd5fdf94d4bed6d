"""Recovery: a restart begins with the positions that the session's journals say, and says what it could not keep."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.config import Config, load
from hft.journal import JournalWriter, append
from hft.journal_format import file_name
from hft.records import ORDER, REPORT, IntentKind, JournalKind, OrderState, ReportKind
from hft.tables import Tables, build_tables
from processes import recovery, run
from processes.errors import EngineError
from processes.instance import Instance
from processes.recovery import empty_positions, fills_of, open_orders, pack_rows, recover_positions, unpack_rows, venue_past
from processes.run import ProcessLoop, recover
from support.engine import BUY, ROOT, SELL, paper_config, row

STAGE = "execution.binance"


class Journals:
    """Journals of executions, epoch by epoch."""

    def __init__(self, folder: Path, config: Config | None = None) -> None:
        self.instance = Instance("some", folder)
        self.tables: Tables = build_tables(config or paper_config())
        self._trades = 0

    def open(self, epoch: int, stage: str) -> JournalWriter:
        return JournalWriter(self.instance.journal_folder(epoch), stage, epoch, 1 << 20, 1, 1)

    def epoch(self, epoch: int, *entries: tuple[JournalKind, Any], begun: dict[str, Any] | None = None) -> Path:
        writer = self.open(epoch, STAGE)
        if begun is not None:
            writer.append_json(JournalKind.SESSION, begun)
        for kind, rows in entries:
            assert append(writer.context, int(kind), 0, 1, rows.view(np.uint8), 0, rows.nbytes) > 0
        writer.close("test over")
        return writer.path

    def session(self, epoch: int, stage: str, content: dict[str, Any]) -> None:
        writer = self.open(epoch, stage)
        writer.append_json(JournalKind.SESSION, content)
        writer.close("test over")

    def fill(self, side: int, lots: int, price: int = 100, instrument: int = 0, order_id: int = 1) -> tuple[JournalKind, Any]:
        self._trades += 1
        fields = {"last_lots": lots, "last_price_ticks": price, "trade_id": self._trades, "fee_e8": 3, "order_id": order_id}
        return JournalKind.REPORT, row(REPORT, kind=ReportKind.TRADE, side=side, instrument=instrument, state=OrderState.FILLED, **fields)

    def sending(self, order_id: int, kind: int = IntentKind.NEW) -> tuple[JournalKind, Any]:
        return JournalKind.SENDING, row(ORDER, order_id=order_id, kind=kind)

    def report(self, order_id: int, kind: int, state: int) -> tuple[JournalKind, Any]:
        return JournalKind.REPORT, row(REPORT, order_id=order_id, kind=kind, state=state)


@pytest.fixture
def journals(tmp_path: Path) -> Journals:
    return Journals(tmp_path)


def test_positions_are_the_fills_of_the_sessions_earlier_epochs_and_no_others(journals: Journals) -> None:
    journals.epoch(3, journals.fill(BUY, 1000))
    journals.epoch(4, journals.fill(BUY, 10), journals.fill(SELL, 4, instrument=1), journals.report(9, ReportKind.ACK, OrderState.NEW))
    journals.epoch(5, journals.fill(SELL, 3))
    journals.epoch(6, journals.fill(BUY, 2000))
    rows = recover_positions(journals.instance, journals.tables, session=4, epoch=6)
    assert rows["position_lots"].tolist() == [7, -4, 7, -4] and rows["fees_quote_e8"].tolist() == [6, 3, 6, 3]
    assert rows["strategy"].tolist() == [-1, -1, 0, 0] and rows["instrument"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("strategy", [1, 7, -1])
def test_fill_of_a_strategy_that_the_session_lacks_is_booked_for_the_firm_alone(
    journals: Journals, capfd: pytest.CaptureFixture[str], strategy: int
) -> None:
    """Of an order of another session, which had more strategies."""
    kind, stray = journals.fill(BUY, 5)
    stray["strategy"] = strategy
    journals.epoch(4, journals.fill(BUY, 10), (kind, stray))
    rows = recover_positions(journals.instance, journals.tables, session=4, epoch=5)
    assert rows["position_lots"].tolist() == [15, 0, 10, 0] and rows["fills"].tolist() == [2, 0, 1, 0]
    assert '"fill is of no strategy"' in capfd.readouterr().err


def test_what_an_epoch_began_with_stands_for_all_before_it(journals: Journals) -> None:
    journals.epoch(4, journals.fill(BUY, 1000))
    begun = empty_positions(journals.tables)
    begun["position_lots"] = 50
    journals.epoch(5, journals.fill(BUY, 3), begun={"positions": pack_rows(begun)})
    journals.epoch(6, journals.fill(SELL, 1))
    journals.session(7, STAGE, {"positions": pack_rows(empty_positions(journals.tables))})
    rows = recover_positions(journals.instance, journals.tables, session=4, epoch=7)
    assert rows["position_lots"].tolist() == [52, 50, 52, 50], "epoch 6 was killed before it began, epoch 7 is the new one itself"


def test_positions_of_a_venue_are_what_its_own_execution_began_with(tmp_path: Path) -> None:
    journals = Journals(tmp_path, load(ROOT / "configs" / "paper.toml"))
    count = len(journals.tables.instruments)
    rows_of = {venue: journals.tables.rows_of_venue(venue) for venue in journals.tables.venues}
    for k, venue in enumerate(rows_of):
        begun = empty_positions(journals.tables)
        begun["position_lots"] = 10 * (k + 1)
        journals.session(5 + k, f"execution.{venue}", {"positions": pack_rows(begun)})
    rows = recover_positions(journals.instance, journals.tables, session=4, epoch=9)
    for k, venue in enumerate(rows_of):
        assert set(rows["position_lots"][np.isin(rows["instrument"], rows_of[venue])]) == {10 * (k + 1)}, venue
    assert len(rows_of) == 3 and len(rows) % count == 0


def test_after_a_loss_of_power_a_fill_is_in_positions_and_known_or_neither(tmp_path: Path) -> None:
    """A process goes on after epoch 1, and the power fails right after epoch 2 began: any file may have lost any part of its tail."""
    journals = Journals(tmp_path / "now")
    first = journals.open(1, STAGE)
    images: dict[tuple[int, str], list[bytes]] = {(1, STAGE): [], (2, STAGE): [], (2, "risk"): []}

    def note(writer: JournalWriter) -> None:
        images[writer.epoch, writer.stage].append(writer.context.file.tobytes())

    note(first)
    first.append_json(JournalKind.SESSION, {"positions": pack_rows(empty_positions(journals.tables)), "begun": True, "trades": []})
    note(first)
    for lots in (3, 5):
        kind, rows = journals.fill(BUY, lots)
        assert append(first.context, int(kind), 0, 1, rows.view(np.uint8), 0, rows.nbytes) > 0
        note(first)
    positions = recover_positions(journals.instance, journals.tables, 1, 2)
    past = venue_past(journals.instance, "binance", 1, 2)
    assert positions["position_lots"][0] == 8 and past.trades == [(0, 1), (0, 2)]
    begun = {"positions": pack_rows(positions), "begun": past.begun, "trades": past.trades}
    for stage in (STAGE, "risk"):
        writer = journals.open(2, stage)
        note(writer)
        writer.append_json(JournalKind.SESSION, begun)
        note(writer)
    lots_of = {1: 3, 2: 5}
    for n, chosen in enumerate(itertools.product(*images.values())):
        left = Journals(tmp_path / str(n))
        for (epoch, stage), image in zip(images, chosen, strict=True):
            left.instance.journal_folder(epoch).mkdir(parents=True, exist_ok=True)
            (left.instance.journal_folder(epoch) / file_name(stage, 1)).write_bytes(image)
        booked = int(recover_positions(left.instance, left.tables, 1, 3)["position_lots"][0])
        known = venue_past(left.instance, "binance", 1, 3).trades
        assert booked == sum(lots_of[trade_id] for _, trade_id in known), f"image {n}: {booked} lots of {known}"


def test_trades_are_known_from_the_newest_beginning_on_and_only_the_newest_are_kept(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals.epoch(4, journals.fill(BUY, 1), journals.fill(BUY, 1, instrument=1))
    assert venue_past(journals.instance, "binance", 4, 5).trades == [(0, 1), (1, 2)]
    writer = JournalWriter(journals.instance.journal_folder(6), STAGE, 6, 1 << 20, 1, 1)
    writer.append_json(JournalKind.SESSION, {"trades": [[0, 77], [1, 78]]})
    kind, rows = journals.fill(SELL, 1)
    assert append(writer.context, int(kind), 0, 1, rows.view(np.uint8), 0, rows.nbytes) > 0
    writer.close("test over")
    assert venue_past(journals.instance, "binance", 4, 7).trades == [(0, 77), (1, 78), (0, 3)]
    monkeypatch.setattr(recovery, "REMEMBERED", 2)
    assert venue_past(journals.instance, "binance", 4, 7).trades == [(1, 78), (0, 3)]


def test_a_session_has_begun_at_a_venue_once_its_history_is_journaled_and_history_is_known(journals: Journals) -> None:
    journals.epoch(4, journals.fill(BUY, 1))
    assert venue_past(journals.instance, "binance", 4, 5) == (False, [(0, 1)])
    writer = JournalWriter(journals.instance.journal_folder(5), STAGE, 5, 1 << 20, 1, 1)
    writer.append_json(JournalKind.HISTORY, [(0, 71), (1, 72)])
    writer.close("test over")
    journals.epoch(6, journals.fill(BUY, 1))
    assert venue_past(journals.instance, "binance", 4, 7) == (True, [(0, 1), (0, 71), (1, 72), (0, 2)])
    journals.session(7, STAGE, {"begun": True, "trades": [[0, 9]]})
    assert venue_past(journals.instance, "binance", 4, 8) == (True, [(0, 9)])
    assert venue_past(journals.instance, "binance", 8, 8) == (False, []), "of another session"


def test_a_fill_that_cannot_be_booked_refuses_the_restart(journals: Journals) -> None:
    journals.epoch(4, journals.fill(BUY, 10), journals.fill(BUY, 10, price=0))
    with pytest.raises(EngineError, match=r"execution.binance's trade 2 cannot be booked"):
        recover_positions(journals.instance, journals.tables, session=4, epoch=5)


def test_session_without_journals_is_flat(journals: Journals) -> None:
    journals.instance.journal_folder(4).mkdir(parents=True)
    rows = recover_positions(journals.instance, journals.tables, session=4, epoch=6)
    assert rows.tobytes() == empty_positions(journals.tables).tobytes() and fills_of(journals.instance, "binance", 5) == []


def test_torn_tail_loses_nothing_but_what_was_not_whole(journals: Journals, capfd: pytest.CaptureFixture[str]) -> None:
    path = journals.epoch(4, journals.fill(BUY, 10))
    with path.open("ab") as file:
        file.truncate(path.stat().st_size)
    assert recover_positions(journals.instance, journals.tables, 4, 5)["position_lots"][0] == 10
    assert "journal tail recovered" not in capfd.readouterr().err


def test_rows_survive_being_packed(journals: Journals) -> None:
    rows = empty_positions(journals.tables)
    rows["cash_ticklots"] = [2**62, -(2**62), 0, -1]
    again = unpack_rows(pack_rows(rows))
    assert again.tobytes() == rows.tobytes() and again.flags.writeable


def test_open_orders_are_those_sent_and_not_ended_in_the_newest_earlier_epoch(journals: Journals) -> None:
    assert open_orders(journals.instance, journals.tables, 9) == 0
    journals.epoch(3, journals.sending(1))
    ended = [journals.sending(n) for n in (5, 6, 7, 8)]
    states = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
    journals.epoch(
        4,
        journals.sending(2),
        journals.sending(3, IntentKind.REPLACE),
        journals.sending(4, IntentKind.CANCEL),
        *ended,
        *[journals.report(n, ReportKind.CANCELED, state) for n, state in zip((5, 6, 7, 8), states, strict=True)],
        journals.report(2, ReportKind.ACK, OrderState.NEW),
    )
    journals.instance.journal_folder(6).mkdir()
    assert open_orders(journals.instance, journals.tables, 5) == 2
    assert open_orders(journals.instance, journals.tables, 7) == 0, "epoch 6 sent nothing"


@pytest.mark.parametrize(("session", "position"), [(4, 10), (5, 0)])
def test_stages_begin_with_what_the_session_traded_before_and_a_new_session_flat(
    journals: Journals, monkeypatch: pytest.MonkeyPatch, session: int, position: int
) -> None:
    journals.epoch(4, journals.fill(BUY, 10))
    monkeypatch.setattr(run, "engine_of", lambda instance: {"session": session})
    loop = ProcessLoop(paper_config(), ["risk", "portfolio", "feed.binance"])
    recover(journals.instance, loop, 5)
    first, second, _ = loop.stages
    assert first.positions["position_lots"].tolist() == [position, 0] * 2  # type: ignore[attr-defined]
    first.positions["position_lots"] = 99  # type: ignore[attr-defined]
    assert second.positions["position_lots"].tolist() == [position, 0] * 2, "each stage has rows of its own"  # type: ignore[attr-defined]
