"""Paper trading end to end: real processes on the bundled simulator, measured, recomputed and replayed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from hft.journal_reader import JournalReader, stages
from processes.latency import read_latency
from support.journals import assert_positions_follow_from_fills
from support.live_engine import LiveEngine, hftctl, live_engine, paper
from support.waiting import wait_until

HOPS = ("wire→decoded", "decoded→decided", "decided→approved", "approved→sent")
PERCENTILES = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns")


class Run:
    """What one engine said while it traded, and in the end."""

    def __init__(self, engine: LiveEngine, folder: Path) -> None:
        engine.start("--for", 10)
        engine.await_running()
        self.engine = engine
        self.during = engine.await_orders("filled", 1)
        wait_until(
            lambda: all(span["count"] for span in read_latency(engine.instance, None)["spans"]), 20, "an order decided on a market event"
        )
        self.latency = engine.ctl_json("latency", "--hgrm", folder / "hgrm")
        self.hgrm = folder / "hgrm"
        assert engine.process is not None
        self.exit_code = engine.process.wait(60)
        self.report = engine.report()
        self.left = engine.segments()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    with live_engine(folder) as engine:
        yield Run(engine, folder)


def test_the_engine_trades_on_valid_books_with_every_stage_running(run):
    status = run.during
    assert (status["state"], status["mode"], status["kill_latched"], status["restarts"]) == ("RUNNING", "paper", False, 0)
    assert {stage["state"] for stage in status["stages"]} == {"RUNNING"}
    assert [venue["books_valid"] for venue in status["venues"]] == [2]
    assert status["orders"]["sent"] > 0 and status["orders"]["acked"] > 0 and status["orders"]["filled"] > 0
    assert status["orders"]["unknown"] == 0


def test_a_run_ends_by_itself_with_a_report_and_nothing_left(run):
    assert run.exit_code == 0
    assert run.left == []
    assert run.report["state"] == "STOPPED"
    assert run.report["orders"]["unknown"] == run.report["orders"]["working"] == 0
    orders = run.report["orders"]
    # A REPLACE of an order that has just filled is rejected, as a venue would.
    assert orders["sent"] == orders["acked"] + orders["rejected"]
    assert orders["acked"] == orders["filled"] + orders["canceled"] + orders["expired"]
    kept = run.engine.instance.folder / "reports" / f"{run.report['session']}.json"
    assert json.loads(kept.read_text())["orders"] == orders


def test_every_owners_position_and_pnl_follow_from_the_journaled_fills(run):
    fills = assert_positions_follow_from_fills(run.engine, run.report)
    assert fills == run.report["orders"]["trades"] > 0


@pytest.mark.parametrize("when", ["during", "after"])
def test_latency_has_every_span_and_its_hops_add_up(run, when):
    document = run.latency if when == "during" else run.report["latency"]
    spans = {span["name"]: span for span in document["spans"]}
    assert set(spans) == {*HOPS, "wire→sent", "sent→acked"}
    for span in spans.values():
        assert span["count"] > 0, span
        values = [span[name] for name in PERCENTILES]
        # A percentile is its bucket's upper end, within 3 digits of the largest value in it.
        assert all(a <= b * 1.001 for a, b in pairwise(values)), span
    assert {spans[name]["count"] for name in HOPS} == {spans["wire→sent"]["count"]}
    total = sum(spans[name]["mean_ns"] for name in HOPS)
    assert total == pytest.approx(spans["wire→sent"]["mean_ns"], rel=0.01)


def test_latency_writes_one_hgrm_file_a_span(run):
    files = sorted(path.name for path in run.hgrm.iterdir())
    assert len(files) == 6 and "wire-to-sent.hgrm" in files
    assert all("Percentile" in (run.hgrm / name).read_text() for name in files)


def test_latency_of_an_ended_run_comes_from_its_report(run):
    document = run.engine.ctl_json("latency")
    assert document["running"] is False
    assert document["spans"] == run.report["latency"]["spans"]


def test_replay_repeats_every_decision_byte_for_byte(run):
    document = run.engine.ctl_json("replay")
    assert document["equal"] is True and document["first_difference"] is None
    assert document["inputs"] > 0
    assert {stage["stage"]: stage["decisions"] > 0 for stage in document["stages"]} == {
        "strategy.mm": True,
        "risk": True,
        "execution.binance": True,
    }


def test_every_journal_is_whole_and_closed(run):
    epoch = run.report["epoch"]
    folder = run.engine.instance.journal_folder(epoch)
    assert stages(folder) == ["execution.binance", "feed.binance", "portfolio", "risk", "strategy.mm"]
    for stage in stages(folder):
        reader = JournalReader(folder, stage, epoch)
        assert sum(1 for _ in reader.entries()) > 1
        assert reader.tail is not None
        assert (reader.tail.closed, reader.tail.dropped_bytes) == (True, 0), stage


def test_a_second_run_has_the_next_epoch_and_begins_flat(run):
    engine = run.engine
    engine.start("--for", 1)
    assert engine.process is not None
    assert engine.process.wait(120) == 0, engine.log_text()
    report = engine.report()
    assert report["epoch"] == run.report["epoch"] + 1 == report["session"]
    assert_positions_follow_from_fills(engine, report)


def test_the_picows_transport_trades_the_same_way(tmp_path):
    def change(sections):
        sections["venues"]["binance"]["transport"] = "picows"

    with live_engine(tmp_path, paper(change)) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("acked", 3)
        assert engine.stop() == 0, engine.log_text()
        report = engine.report()
        assert [venue["books_valid"] for venue in report["venues"]] == [2]
        assert report["orders"]["unknown"] == 0
        assert_positions_follow_from_fills(engine, report)
        assert engine.ctl_json("replay")["equal"] is True


def test_detach_returns_while_the_engine_goes_on(tmp_path):
    with live_engine(tmp_path) as engine:
        child = engine.spawn("start", "--config", engine.config, "--detach", "--json")
        assert child.wait(240) == 0, engine.log_text()
        assert json.loads(engine.stdout.read_text())["state"] == "RUNNING"
        assert engine.status()["state"] == "RUNNING"
        stopped = hftctl("stop", "--json", *engine.where)
        assert stopped.returncode == 0, stopped.stderr
        assert json.loads(stopped.stdout)["state"] == "stopped"
        assert engine.engine()["state"] == "STOPPED" and engine.segments() == []
        assert engine.ctl("stop").returncode == 3
