"""A stop-loss that trips in a real engine: the position is closed, nothing more is quoted there, it outlives the engine, and it replays."""

from __future__ import annotations

import os

import pytest

from support.journals import assert_positions_follow_from_fills
from support.live_engine import ROOT, live_engine, paper
from support.waiting import wait_until

INSTRUMENT, OTHER = "BTC-USDT.BINANCE", "ETH-USDT.BINANCE"
SCOPE, REASON = f"instrument.{INSTRUMENT}", "R076 STOP_LOSS"


def buyer(sections):
    """It buys at the best bid until it may not hold more, and a basis point is too much to lose."""
    sections["strategies"]["mm"] |= {"code": "support.recording_strategy", "params": {"orders": 1, "cancels": 1}}
    sections["limits"][INSTRUMENT] |= {"stop_loss_bp": 1, "open_orders_max": 3}


def firm(engine, instrument):
    return next(row for row in engine.status()["positions"] if row["owner"] == "firm" and row["instrument"] == instrument)


@pytest.fixture(autouse=True)
def strategy_of_the_tests(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{ROOT / 'tests'}")


def test_a_position_that_lost_too_much_is_closed_and_its_instrument_rests_until_it_is_armed(tmp_path):
    with live_engine(tmp_path, paper(buyer)) as engine:
        engine.start()
        engine.await_running()
        wait_until(lambda: SCOPE in engine.status()["kills"], 240, "the stop-loss has tripped and is latched")
        wait_until(lambda: float(firm(engine, INSTRUMENT)["position"]) < 0.0001, 60, "what is left is below the venue's minimum")
        status = engine.status()
        assert status["kill_reasons"] == {SCOPE: REASON}
        engine.await_frames(50, 60)  # the last closing order may be filled in parts
        closed = firm(engine, INSTRUMENT)
        engine.await_frames(150, 60)
        rests = firm(engine, INSTRUMENT)
        assert (rests["fills"], rests["position"]) == (closed["fills"], closed["position"])
        assert float(rests["position"]) < 0.0001
        assert float(firm(engine, OTHER)["position"]) > 0, "the other instrument is left alone"
        assert engine.stop() == 0, engine.log_text()
        assert_positions_follow_from_fills(engine, engine.report())
        assert engine.ctl_json("replay")["equal"] is True

        engine.start()
        assert engine.await_running()["kill_reasons"] == {SCOPE: REASON}
        assert engine.ctl_json("arm", "--reason", "understood")["cleared"] == [SCOPE]
        wait_until(lambda: firm(engine, INSTRUMENT)["fills"] > 0, 120, "it is traded again")
        assert engine.stop() == 0, engine.log_text()
