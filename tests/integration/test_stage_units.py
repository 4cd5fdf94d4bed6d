"""Stages as processes of their own, started from outside as systemd's units are: `hftctl stage NAME`."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import pytest

from support.journals import assert_positions_follow_from_fills
from support.live_engine import START_S, LiveEngine, live_engine, paper
from support.waiting import wait_until

STAGES = ("feed.binance", "strategy.mm", "risk", "execution.binance", "portfolio")


def one_stage_a_process(sections: dict[str, Any]) -> None:
    sections["placement"] = {
        "spawner": "units",
        "processes": {stage.partition(".")[0]: {"stages": [stage], "idle": "backoff"} for stage in STAGES},
    }


class Units:
    """What systemd does with the units: start each stage, and start it again whenever it ends but for a stop."""

    def __init__(self, engine: LiveEngine) -> None:
        self.engine = engine
        self.children: dict[str, subprocess.Popen[bytes]] = {}

    def tend(self) -> bool:
        """Start what does not run; True while the engine runs with every stage RUNNING."""
        for stage in STAGES:
            child = self.children.get(stage)
            if child is None or child.poll() is not None:
                self.children[stage] = self.engine.spawn("stage", stage, "--config", self.engine.config, out=f"{stage}.out")
        if self.engine.engine()["state"] != "RUNNING":
            return False
        return all(stage["state"] == "RUNNING" for stage in self.engine.status()["stages"])

    def end(self) -> None:
        for child in self.children.values():
            if child.poll() is None:
                child.kill()
            child.wait()


@pytest.fixture
def started(tmp_path):
    """An engine that waits for its units, and the units."""
    with live_engine(tmp_path, paper(one_stage_a_process)) as engine:
        units = Units(engine)
        try:
            engine.start()
            wait_until(lambda: engine.instance.read_engine() and engine.segments(), START_S, "the engine waits for its stages")
            yield engine, units
        finally:
            units.end()


def test_an_engine_of_units_trades_restarts_and_stops(started):
    engine, units = started
    wait_until(units.tend, START_S, f"every unit runs (see {engine.log_text()})")
    engine.await_orders("acked", 2)
    assert len({stage["pid"] for stage in engine.status()["stages"]}) == 5
    feed = units.children["feed.binance"].pid

    os.kill(units.children["strategy.mm"].pid, signal.SIGKILL)
    wait_until(lambda: units.tend() and engine.engine()["restarts"] == 1, START_S, f"a restart (see {engine.log_text()})")
    assert units.children["feed.binance"].pid == feed
    status = engine.status()
    assert {stage["epoch"] for stage in status["stages"]} == {engine.engine()["epoch"]}
    engine.await_orders("acked", status["orders"]["acked"] + 1)

    assert engine.stop() == 0, engine.log_text()
    assert [child.wait(10) for child in units.children.values()] == [0] * 5
    report = engine.report()
    assert report["orders"]["unknown"] == 0
    assert_positions_follow_from_fills(engine, report)


def test_an_engine_whose_units_never_come_can_be_stopped(started):
    engine, _ = started
    assert engine.engine()["state"] == "STARTING"
    assert engine.stop() == 1
    assert "SIGTERM while starting" in engine.log_text()


def test_a_unit_without_an_engine_ends_and_says_so(tmp_path):
    with live_engine(tmp_path, paper(one_stage_a_process)) as engine:
        done = engine.ctl("stage", "risk", "--config", engine.config)
        assert done.returncode == 3 and engine.name in done.stderr
