"""Operating a real engine: status, stop, kill and arm as processes of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hft import control
from processes.attach import attach_control
from support.journals import assert_positions_follow_from_fills
from support.live_engine import ROOT, LiveEngine, hftctl, live_engine, paper, write_config
from support.waiting import wait_until

MAIN_THAT_LISTS_MODULES = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
from processes.cli import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    with live_engine(tmp_path_factory.mktemp("operate")) as engine:
        engine.start()
        engine.await_running()
        yield engine
        assert engine.stop() == 0, engine.log_text()
        assert_positions_follow_from_fills(engine, engine.report())


def imported_by(*arguments: str) -> tuple[int, set[str]]:
    """Exit code of an hftctl command, and every module that it had imported in the end."""
    command = [sys.executable, "-c", MAIN_THAT_LISTS_MODULES, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, set(json.loads(done.stderr.splitlines()[-1]))


def assert_sends_nothing(engine: LiveEngine) -> None:
    """From now on no order is sent, while the strategy is still being fed."""
    before = engine.status()
    engine.await_frames(150)
    assert engine.status()["orders"]["sent"] == before["orders"]["sent"]


def assert_goes_on_sending(engine: LiveEngine) -> None:
    engine.await_orders("sent", engine.status()["orders"]["sent"] + 2)


@pytest.mark.parametrize("command", [("status",), ("kill", "--reason", "test"), ("arm", "--reason", "test")])
def test_commands_on_a_running_engine_do_without_numba(engine, command):
    code, modules = imported_by(*command, "--json", *engine.where)
    assert code == 0
    assert "numpy" in modules
    assert not {name for name in modules if name.split(".")[0] in ("numba", "llvmlite")}


def test_stop_does_without_numba(tmp_path):
    code, modules = imported_by("stop", "--instance", "nosuch", "--state-dir", str(tmp_path))
    assert code == 3
    assert not {name for name in modules if name.split(".")[0] in ("numba", "llvmlite")}


@pytest.mark.parametrize("command", ["status", "stop", "latency", "top"])
def test_commands_exit_3_when_nothing_runs(command, tmp_path):
    done = hftctl(command, "--instance", "nosuch", "--state-dir", tmp_path)
    assert done.returncode == 3
    assert "nosuch" in done.stderr and len(done.stderr.splitlines()) == 1


def test_status_prints_one_document_and_a_table(engine):
    document = engine.ctl_json("status")
    assert document["state"] == "RUNNING"
    assert {"mode", "kill_latched", "stages", "venues", "orders", "positions", "pnl"} <= document.keys()
    table = engine.ctl("status")
    assert table.returncode == 0
    assert "feed.binance" in table.stdout and "P&L" in table.stdout


def test_a_second_start_of_the_same_instance_is_refused(engine):
    sent = engine.status()["orders"]["sent"]
    second = hftctl("start", "--config", engine.config, *engine.where)
    assert second.returncode == 1
    assert engine.name in second.stderr and "already running" in second.stderr
    detached = hftctl("start", "--config", engine.config, "--detach", *engine.where)
    assert detached.returncode == 1 and "already running" in detached.stderr
    assert engine.status()["state"] == "RUNNING"
    engine.await_orders("sent", sent + 1)


@pytest.mark.parametrize("scope", [("--all",), ("--venue", "binance"), ("--strategy", "mm")])
def test_kill_ends_all_orders_of_its_scope_until_arm(engine, scope):
    assert_goes_on_sending(engine)
    document = engine.ctl_json("kill", *scope, "--reason", "drill")
    assert (document["latched"], document["running"]) == (True, True)
    wait_until(lambda: engine.status()["orders"]["working"] == 0, 10, "no order works after a kill")
    assert_sends_nothing(engine)
    status = engine.status()
    assert status["kill_latched"] is True and status["kills"] == [document["scope"]]
    assert engine.ctl_json("arm", "--reason", "drill over")["cleared"] == [document["scope"]]
    assert engine.status()["kill_latched"] is False
    assert_goes_on_sending(engine)


def test_kill_refuses_names_that_do_not_exist(engine):
    for scope, name in (("--venue", "nasdaq"), ("--strategy", "nobody")):
        done = engine.ctl("kill", scope, name)
        assert done.returncode == 1 and name in done.stderr
    assert engine.ctl("kill", "--all", "--venue", "binance").returncode == 2
    assert engine.status()["kill_latched"] is False


def test_arm_needs_a_reason(engine):
    assert engine.ctl("arm").returncode == 2
    assert engine.ctl("arm", "--reason", "  ").returncode == 1


def test_stage_refuses_to_join_an_engine_that_it_does_not_belong_to(engine, tmp_path):
    def slower(sections):
        sections["strategies"]["mm"]["timer_ms"] = 200

    other = write_config(tmp_path / "other.toml", paper(slower))
    done = engine.ctl("stage", "risk", "--config", other)
    assert done.returncode == 1 and "other.toml" in done.stderr
    fused = engine.ctl("stage", "risk", "--config", engine.config)
    assert fused.returncode == 1 and "risk" in fused.stderr


def test_a_latch_survives_stop_and_start(tmp_path):
    with live_engine(tmp_path) as engine:
        killed = engine.ctl_json("kill", "--all", "--reason", "before the first start")
        assert (killed["latched"], killed["running"]) == (True, False)
        engine.start("--for", 3)
        engine.await_running()
        assert engine.process is not None
        assert engine.process.wait(60) == 0
        report = engine.report()
        assert (report["orders"]["sent"], report["kill_latched"], report["kills"]) == (0, True, ["firm"])
        engine.start()
        assert engine.await_running()["kill_latched"] is True
        wait_until(lambda: engine.status()["venues"][0]["books_valid"] == 2, 40, "books valid")
        assert_sends_nothing(engine)
        assert engine.status()["orders"]["sent"] == 0
        assert engine.ctl_json("arm", "--reason", "test")["cleared"] == ["firm"]
        assert_goes_on_sending(engine)


def test_arm_leaves_alone_what_marks_a_consumer_as_behind(engine):
    unused_ring = control.BEHIND_RING + 150
    with attach_control(engine.instance) as words:
        words[unused_ring] = 1
        engine.ctl_json("arm", "--reason", "test")
        marked, words[unused_ring] = int(words[unused_ring]), 0
    assert marked == 1
