"""A breaker that trips in a real engine: orders end, nothing more is sent, it outlives the engine, and the session replays."""

from __future__ import annotations

from support.journals import assert_positions_follow_from_fills
from support.live_engine import live_engine, paper
from support.waiting import wait_until

SCOPE, REASON = "strategy.mm", "R053 REPEATED_EXECUTION"


def three_fills(sections):
    sections["firm"]["fills_max"], sections["firm"]["fills_window_ms"] = 3, 3_600_000


def test_a_strategy_with_too_many_fills_is_killed_and_stays_so_until_it_is_armed(tmp_path):
    with live_engine(tmp_path, paper(three_fills)) as engine:
        engine.start()
        engine.await_running()
        wait_until(lambda: engine.status()["kills"] == [SCOPE], 60, "the breaker has tripped and is latched")
        wait_until(lambda: engine.status()["orders"]["working"] == 0, 10, "no order works any more")
        status = engine.status()
        assert status["kill_reasons"] == {SCOPE: REASON}
        assert REASON in engine.ctl("status").stdout
        assert [entry["control"] for entry in engine.logged("breaker tripped")] == ["REPEATED_EXECUTION"]
        engine.await_frames(150)
        assert engine.status()["orders"]["sent"] == status["orders"]["sent"]
        assert engine.stop() == 0, engine.log_text()
        assert_positions_follow_from_fills(engine, engine.report())
        assert engine.ctl_json("replay")["equal"] is True

        engine.start()
        assert engine.await_running()["kill_reasons"] == {SCOPE: REASON}
        assert engine.ctl_json("arm", "--reason", "understood")["cleared"] == [SCOPE]
        engine.await_orders("sent", 2)
        assert engine.stop() == 0, engine.log_text()
