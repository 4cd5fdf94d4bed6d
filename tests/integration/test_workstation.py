"""`make run-paper`: configs/paper.toml as it is trades at the simulators of all venues at once, on two cores."""

from __future__ import annotations

import tomllib
from pathlib import Path

from hft.journal_reader import JournalReader
from hft.records import JournalKind, ReportKind
from support.live_engine import ROOT, live_engine
from support.waiting import wait_until


def test_the_workstations_config_trades_at_every_venue_and_replays(tmp_path: Path) -> None:
    sections = tomllib.loads((ROOT / "configs" / "paper.toml").read_text())
    assert set(sections["venues"]) == {"binance", "coinbase", "kraken"}
    with live_engine(tmp_path, sections) as engine:
        engine.start("--for", 20)
        engine.await_running()
        wait_until(lambda: [venue["books_valid"] for venue in engine.status()["venues"]] == [2, 2, 2], 20, "all books are valid")
        engine.await_orders("filled", 5)
        assert engine.process is not None and engine.process.wait(90) == 0, engine.log_text()
        report = engine.report()
        assert report["restarts"] == 0 and report["orders"]["unknown"] == report["orders"]["working"] == 0
        for venue in sections["venues"]:
            reader = JournalReader(engine.instance.journal_folder(report["epoch"]), f"execution.{venue}", report["epoch"])
            reports = [each for entry in reader.entries() if entry.kind == JournalKind.REPORT for each in entry.records()]
            kinds = {ReportKind(int(each["kind"])) for each in reports}
            assert {ReportKind.ACK, ReportKind.TRADE, ReportKind.CANCELED} <= kinds, (venue, kinds)
        for venue in report["venues"]:
            assert (venue["gaps"], venue["malformed"]) == (0, 0), venue
        assert engine.ctl_json("replay")["equal"] is True
