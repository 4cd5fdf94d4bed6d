"""Orders outlive every process of the engine: adopted at the next start, canceled by their strategy, and nothing is sent twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from processes.chaos.sections import write_config
from support.live_engine import ROOT, LiveEngine, live_engine
from support.standing_venue import Venue, differences, venue_at
from support.waiting import wait_until


def kill_everything(engine: LiveEngine) -> None:
    """SIGKILL to each process of the engine, the supervisor first."""
    assert engine.process is not None
    engine.process.kill()
    engine.process.wait()
    for pid in engine.processes():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not engine.processes(), 30, "all are gone")


def start_with(engine: LiveEngine, venue: Venue, **params: int) -> None:
    """Start it with a strategy that rests one order, or cancels what it finds."""
    sections = venue.sections()
    del sections["guardian"]  # It would end the orders of an engine that is gone.
    sections["strategies"]["mm"] |= {"code": "support.resting_strategy", "instruments": ["BTC-USDT.BINANCE"], "params": params}
    sections["execution"]["binance"] |= {"open_orders_at_start": "adopt"}
    engine.config = write_config(engine.config, sections)
    engine.start()
    engine.await_running()


def test_an_order_outlives_the_engine_twice_and_is_canceled_by_its_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
    with venue_at("binance", tmp_path) as venue, live_engine(tmp_path, venue.sections()) as engine:
        start_with(engine, venue, rests=1)
        engine.await_orders("acked", 1)
        (order,) = venue.account()["open_orders"]

        kill_everything(engine)
        start_with(engine, venue, rests=1)
        wait_until(lambda: engine.status()["orders"]["acked"] == 1, 60, f"it is adopted (see {engine.log_text()})")
        status = engine.status()
        assert (status["orders"]["working"], status["orders"]["sent"], status["orders"]["unknown"]) == (1, 0, 0)
        assert [one["client_id"] for one in venue.account()["open_orders"]] == [order["client_id"]], "none is sent beside it"
        assert status["differences"] == [] and not differences(engine, venue)

        kill_everything(engine)
        start_with(engine, venue, rests=0, cancels=1)
        wait_until(lambda: not venue.open_orders(), 60, f"its strategy cancels it (see {engine.log_text()})")
        wait_until(lambda: engine.status()["orders"]["canceled"] == 1, 30, "and hears of that")
        assert engine.status()["orders"]["working"] == 0 and not differences(engine, venue)
        assert engine.stop() == 0, engine.log_text()
