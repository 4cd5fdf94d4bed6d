"""The guardian over real sockets, in real processes: orders end at the venue with the engine frozen, and with it dead."""

from __future__ import annotations

import json
import os
import signal
import tomllib
from pathlib import Path

import pytest

from processes.chaos.sections import only
from processes.guardian_report import read_report
from processes.simulated_keys import CUSTOMERS
from support.live_engine import ROOT, LiveEngine, live_engine
from support.standing_venue import Venue, differences, venue_at
from support.waiting import wait_until


def trading(engine: LiveEngine, venue: Venue) -> None:
    """Start it, and wait until its orders rest at the venue."""
    engine.start()
    engine.await_running()
    engine.await_orders("acked", 5)
    wait_until(venue.open_orders, 30, "orders rest at the venue")


@pytest.mark.parametrize("name", list(CUSTOMERS))
def test_kill_keeps_recording_fills_and_ends_every_order_with_execution_frozen(tmp_path: Path, name: str) -> None:
    """I9: what filled before the cancel is booked, although the kill came between."""
    with venue_at(name, tmp_path) as venue:
        sections = venue.sections(heartbeat_max_ms=600_000)
        sections["engine"]["heartbeat_timeout_ms"] = 300_000  # Nobody helps a frozen process.
        with live_engine(tmp_path, sections) as engine:
            trading(engine, venue)
            trade = engine.pid_of("trade")
            os.kill(trade, signal.SIGSTOP)
            try:
                assert venue.open_orders(), "they rest, and nobody looks after them"
                report = engine.ctl_json("kill", "--verify", "--reason", "frozen")
                assert venue.open_orders() == 0
                (verdict,) = report["venues"]
                assert (report["verdict"], verdict["open_orders"]) == ("NO OPEN ORDERS", 0)
                print(f"{name}: cancels answered {verdict['cancelled_after_ms']} ms after the guardian saw the kill")
                assert "NO OPEN ORDERS" in engine.ctl("status").stdout
            finally:
                os.kill(trade, signal.SIGCONT)
            sent = engine.status()["orders"]["sent"]
            wait_until(lambda: engine.status()["orders"]["working"] == 0, 30, "the engine has learnt of it")
            wait_until(lambda: not differences(engine, venue), 30, f"positions are the venue's (see {engine.log_text()})")
            assert engine.status()["orders"]["sent"] == sent and venue.open_orders() == 0
            assert engine.stop() == 0, engine.log_text()


def test_start_brings_up_the_guardian_of_the_shipped_config_which_proves_a_kill(tmp_path: Path) -> None:
    """configs/paper-orders.toml at one venue, with the simulator and the guardian that it names itself."""
    shipped = tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text())
    sections = only(shipped, "binance") | {"guardian": shipped["guardian"]}
    with live_engine(tmp_path, sections) as engine:
        engine.start()
        engine.await_running()
        engine.await_orders("acked", 5)
        report = read_report(engine.instance)
        assert report is not None and report["alive"] and [venue["name"] for venue in report["venues"]] == ["binance"]
        assert engine.ctl_json("kill", "--verify", "--reason", "drill")["verdict"] == "NO OPEN ORDERS"
        assert engine.stop() == 0, engine.log_text()


def test_a_supervisor_that_is_killed_is_answered_by_the_guardian_and_the_latch_outlives_it(tmp_path: Path) -> None:
    with venue_at("binance", tmp_path) as venue, live_engine(tmp_path, venue.sections(heartbeat_max_ms=2500)) as engine:
        trading(engine, venue)
        assert engine.process is not None
        engine.process.kill()
        engine.process.wait()
        wait_until(lambda: engine.instance.read_kill(), 30, "the guardian kills by itself")
        assert engine.instance.read_kill()["firm"]["reason"].startswith("guardian: ")
        wait_until(lambda: not engine.processes(), 60, f"all has ended, the guardian last (see {engine.log_text()})")
        report = read_report(engine.instance)
        assert report is not None and report["state"] == "NO OPEN ORDERS" and venue.open_orders() == 0

        engine.start()
        status = engine.await_running()
        assert status["kills"] == ["firm"] and status["kill_latched"]
        engine.await_frames(100)
        assert engine.status()["orders"]["sent"] == 0
        assert engine.ctl("arm").returncode == 2, "why it is safe must be said"
        assert engine.ctl("arm", "--reason", " ").returncode == 1
        assert engine.ctl("arm", "--reason", "the host is mended").returncode == 0
        engine.await_orders("acked", 1)
        assert engine.stop() == 0, engine.log_text()


def test_flat_only_when_venue_confirms(tmp_path: Path) -> None:
    """I10: a venue that says nothing is not flat, and is once it has said so."""
    with venue_at("binance", tmp_path) as venue, live_engine(tmp_path, venue.sections(confirm_ms=1000)) as engine:
        trading(engine, venue)
        venue.process.send_signal(signal.SIGSTOP)
        try:
            done = engine.ctl("kill", "--verify", "--json")
        finally:
            venue.process.send_signal(signal.SIGCONT)
        report = json.loads(done.stdout)
        assert done.returncode == 1 and report["verdict"] == "NOT CONFIRMED" and report["venues"][0]["open_orders"] is None
        wait_until(lambda: (read_report(engine.instance) or {})["state"] == "NO OPEN ORDERS", 60, "it goes on trying")
        assert venue.open_orders() == 0
        assert engine.stop() == 0, engine.log_text()


def test_kill_without_a_guardian_says_that_nothing_is_confirmed(tmp_path: Path) -> None:
    with live_engine(tmp_path) as engine:
        done = engine.ctl("kill", "--verify")
        assert done.returncode == 1 and "NOT CONFIRMED: no guardian runs" in done.stderr
        assert engine.instance.read_kill()
