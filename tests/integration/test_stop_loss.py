"""A stop-loss that trips in a real engine: the position is closed, nothing more is quoted there, it outlives the engine, and it replays."""

from __future__ import annotations

from support.journals import assert_positions_follow_from_fills
from support.live_engine import live_engine, paper
from support.waiting import wait_until

INSTRUMENT = "BTC-USDT.BINANCE"
SCOPE, REASON = f"instrument.{INSTRUMENT}", "R076 STOP_LOSS"


def one_basis_point(sections):
    sections["limits"][INSTRUMENT]["stop_loss_bp"] = 1


def firm(engine, instrument):
    return next(row for row in engine.status()["positions"] if row["owner"] == "firm" and row["instrument"] == instrument)


def test_a_position_that_lost_too_much_is_closed_and_its_instrument_rests_until_it_is_armed(tmp_path):
    with live_engine(tmp_path, paper(one_basis_point)) as engine:
        engine.start()
        engine.await_running()
        wait_until(lambda: SCOPE in engine.status()["kills"], 90, "the stop-loss has tripped and is latched")
        wait_until(lambda: abs(float(firm(engine, INSTRUMENT)["position"])) < 0.0001, 20, "what is left is below the venue's minimum")
        status = engine.status()
        assert status["kill_reasons"] == {SCOPE: REASON}
        fills = firm(engine, INSTRUMENT)["fills"]
        others = firm(engine, "ETH-USDT.BINANCE")["fills"]
        wait_until(lambda: firm(engine, "ETH-USDT.BINANCE")["fills"] > others + 2, 60, "the other instrument is traded on")
        assert firm(engine, INSTRUMENT)["fills"] == fills
        assert engine.stop() == 0, engine.log_text()
        assert_positions_follow_from_fills(engine, engine.report())
        assert engine.ctl_json("replay")["equal"] is True

        engine.start()
        assert engine.await_running()["kill_reasons"] == {SCOPE: REASON}
        assert engine.ctl_json("arm", "--reason", "understood")["cleared"] == [SCOPE]
        wait_until(lambda: firm(engine, INSTRUMENT)["fills"] > 0, 90, "it is traded again")
        assert engine.stop() == 0, engine.log_text()
