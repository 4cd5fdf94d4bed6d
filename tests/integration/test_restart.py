"""A stage process that dies is restarted on new rings: positions stay, orders flow again, the feed keeps its socket."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from support.journals import assert_positions_follow_from_fills
from support.live_engine import LiveEngine, live_engine, paper
from support.waiting import wait_until


def quick(sections: dict[str, Any]) -> None:
    """More market events, so that there is something to lose."""
    sections["venues"]["binance"]["simulator"]["rate"] = 3.0


def start(engine: LiveEngine) -> dict[str, Any]:
    engine.start()
    engine.await_running()
    return engine.await_orders("trades", 3)


def await_restart(engine: LiveEngine, count: int) -> dict[str, Any]:
    """Wait until the engine has restarted so often and runs; return the status."""

    def restarted() -> dict[str, Any] | None:
        assert engine.process is not None and engine.process.poll() is None, engine.log_text()
        found = engine.engine()
        return engine.status() if found["restarts"] == count and found["state"] == "RUNNING" else None

    return wait_until(restarted, 30, f"restart {count} (see {engine.log_text()})")


def finish(engine: LiveEngine) -> dict[str, Any]:
    """Stop in order; the report, whose positions must follow from the fills of all epochs."""
    assert engine.stop() == 0, engine.log_text()
    report = engine.report()
    assert assert_positions_follow_from_fills(engine, report) > 0
    assert report["orders"]["unknown"] == 0
    return report


def fills(status: dict[str, Any]) -> list[int]:
    return [row["fills"] for row in status["positions"]]


def feed_counters(status: dict[str, Any]) -> dict[str, int]:
    counters: dict[str, int] = next(stage["counters"] for stage in status["stages"] if stage["name"] == "feed.binance")
    return counters


def test_killed_trading_process_restarts_and_the_feed_keeps_its_socket(tmp_path):
    with live_engine(tmp_path, paper(quick)) as engine:
        before = start(engine)
        market, trade = engine.pid_of("market"), engine.pid_of("trade")
        os.kill(trade, signal.SIGKILL)
        after = await_restart(engine, 1)
        assert after["epoch"] > before["epoch"] and after["session"] == before["session"]
        assert {stage["epoch"] for stage in after["stages"]} == {after["epoch"]}
        assert {stage["state"] for stage in after["stages"]} == {"RUNNING"}
        assert (engine.pid_of("market"), engine.pid_of("trade") != trade) == (market, True)
        assert all(now >= then for now, then in zip(fills(after), fills(before), strict=True))
        later = engine.await_orders("trades", after["orders"]["trades"] + 3)
        assert later["orders"]["sent"] > after["orders"]["sent"] and later["halted"] is False
        assert feed_counters(later)["connects"] == 1
        assert not [name for name in engine.segments() if f".e{before['epoch']}." in name]
        report = finish(engine)
        assert report["restarts"] == 1
        for epoch in engine.instance.sessions():
            assert engine.ctl_json("replay", epoch)["equal"] is True, epoch


def test_killed_market_process_restarts_with_the_positions_from_the_journals(tmp_path):
    with live_engine(tmp_path, paper(quick)) as engine:
        before = start(engine)
        os.kill(engine.pid_of("market"), signal.SIGKILL)
        after = await_restart(engine, 1)
        later = engine.await_orders("trades", after["orders"]["trades"] + 1)
        assert all(now >= then for now, then in zip(fills(later), fills(before), strict=True))
        wait_until(lambda: engine.status()["venues"][0]["books_valid"] == 2, 20, "both books are valid again")
        report = finish(engine)
        assert report["restarts"] == 1


@pytest.mark.parametrize("process", ["trade", "market"])
def test_a_frozen_process_is_killed_and_replaced(tmp_path, process):
    def change(sections):
        quick(sections)
        sections["engine"]["heartbeat_timeout_ms"] = 500

    with live_engine(tmp_path, paper(change)) as engine:
        start(engine)
        frozen = engine.pid_of(process)
        os.kill(frozen, signal.SIGSTOP)
        after = await_restart(engine, 1)
        assert engine.pid_of(process) != frozen
        assert frozen not in engine.processes()
        engine.await_orders("trades", after["orders"]["trades"] + 1)
        assert engine.logged("process hung")
        finish(engine)


def test_reports_that_a_frozen_portfolio_had_not_read_are_not_lost_in_a_restart(tmp_path):
    def change(sections):
        quick(sections)
        sections["engine"]["heartbeat_timeout_ms"] = 20_000
        processes = sections["placement"]["processes"]
        processes["market"]["stages"] = ["feed.binance"]
        processes["books"] = {"stages": ["portfolio"], "idle": "sleeping"}

    with live_engine(tmp_path, paper(change)) as engine:
        start(engine)
        books, seen = engine.pid_of("books"), fills(engine.status())
        os.kill(books, signal.SIGSTOP)
        engine.await_orders("trades", engine.status()["orders"]["trades"] + 5)
        assert fills(engine.status()) == seen
        os.kill(engine.pid_of("trade"), signal.SIGKILL)
        wait_until(lambda: engine.engine()["restarts"] == 1, 20, "the restart begins")
        os.kill(books, signal.SIGCONT)
        await_restart(engine, 1)
        assert engine.pid_of("books") == books
        finish(engine)


def test_positions_survive_restart_upon_restart(tmp_path):
    with live_engine(tmp_path, paper(quick)) as engine:
        start(engine)
        for count in (1, 2, 3):
            os.kill(engine.pid_of("trade"), signal.SIGKILL)
            after = await_restart(engine, count)
            engine.await_orders("trades", after["orders"]["trades"] + 2)
        assert len(engine.instance.sessions()) == 4
        finish(engine)


def test_two_processes_that_die_at_once_restart_together(tmp_path):
    with live_engine(tmp_path, paper(quick)) as engine:
        start(engine)
        pids = engine.pid_of("market"), engine.pid_of("trade")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        after = wait_until(lambda: _on_other_pids(engine, pids), 30, f"both run again (see {engine.log_text()})")
        engine.await_orders("trades", after["orders"]["trades"] + 2)
        finish(engine)


def _on_other_pids(engine: LiveEngine, pids: tuple[int, ...]) -> dict[str, Any] | None:
    assert engine.process is not None and engine.process.poll() is None, engine.log_text()
    status = engine.status()
    return status if status["state"] == "RUNNING" and not {stage["pid"] for stage in status["stages"]} & set(pids) else None


def test_a_process_that_hangs_while_another_restarts_is_replaced_too(tmp_path):
    def change(sections):
        quick(sections)
        sections["engine"]["heartbeat_timeout_ms"] = 1000

    with live_engine(tmp_path, paper(change)) as engine:
        start(engine)
        pids = engine.pid_of("market"), engine.pid_of("trade")
        os.kill(pids[0], signal.SIGSTOP)
        os.kill(pids[1], signal.SIGKILL)
        after = wait_until(lambda: _on_other_pids(engine, pids), 30, f"both run again (see {engine.log_text()})")
        assert after["restarts"] == 2
        engine.await_orders("trades", after["orders"]["trades"] + 2)
        finish(engine)


def test_a_kill_holds_over_a_restart(tmp_path):
    with live_engine(tmp_path, paper(quick)) as engine:
        start(engine)
        engine.ctl_json("kill", "--strategy", "mm")
        wait_until(lambda: engine.status()["orders"]["working"] == 0, 10, "no order works")
        os.kill(engine.pid_of("trade"), signal.SIGKILL)
        after = await_restart(engine, 1)
        assert after["kill_latched"] is True
        engine.await_frames(300)
        assert engine.status()["orders"]["sent"] == after["orders"]["sent"]
        finish(engine)
