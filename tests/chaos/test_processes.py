"""Whatever process dies, however often: nothing trades unwatched, nothing is left behind, and a new start works."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from shm.segment import reclaim
from support.journals import assert_positions_follow_from_fills
from support.live_engine import LiveEngine, live_engine, paper
from support.waiting import wait_until

#: Longer than a stage process needs to notice that its supervisor is gone.
ORPHANS_END_S = 10


def running(engine: LiveEngine) -> LiveEngine:
    engine.start()
    engine.await_running()
    engine.await_orders("acked", 1)
    return engine


def pid_running(engine: LiveEngine, words: str) -> int:
    """The process of this engine whose command line has `words`."""
    found = [pid for pid in engine.processes() if words in " ".join(psutil.Process(pid).cmdline())]
    assert found, f"no {words} among {engine.processes()}"
    return min(found)


def test_a_crash_loop_ends_the_engine_with_a_failure_and_frees_everything(tmp_path):
    with live_engine(tmp_path) as engine:
        running(engine)
        assert engine.process is not None
        for _ in range(5):
            restarts = engine.engine()["restarts"]
            os.kill(engine.pid_of("trade"), signal.SIGKILL)
            wait_until(lambda known=restarts: _moved_on(engine, known), 40, "a restart or the end")
            if engine.process.poll() is not None:
                break
        assert engine.process.wait(60) == 1
        assert "crash loop" in engine.log_text()
        assert engine.engine()["failure"] and engine.engine()["state"] == "STOPPED"
        assert engine.segments() == [] and engine.processes() == []
        running(engine)


def _moved_on(engine: LiveEngine, restarts: int) -> bool:
    assert engine.process is not None
    found = engine.engine()
    return engine.process.poll() is not None or (found["state"] == "RUNNING" and found["restarts"] > restarts)


def test_nothing_outlives_a_supervisor_that_dies_and_a_new_start_reclaims_what_it_left_and_goes_on_with_its_session(tmp_path):
    with live_engine(tmp_path) as engine:
        running(engine)
        engine.await_orders("trades", 2)
        assert engine.process is not None
        engine.process.kill()
        engine.process.wait(10)
        wait_until(lambda: not engine.processes(), ORPHANS_END_S, f"nothing runs without its supervisor ({engine.processes()})")
        left = engine.segments()
        assert left, "segments of a killed supervisor stay until somebody reclaims them"
        first = engine.engine()["epoch"]
        assert engine.ctl("status").returncode == 3
        running(engine)
        assert engine.engine()["epoch"] > first == engine.engine()["session"]
        assert len(engine.logged("segment reclaimed")) == len(left)
        assert engine.stop() == 0, engine.log_text()
        assert assert_positions_follow_from_fills(engine, engine.report()) >= 2


def test_a_frozen_supervisor_leaves_nothing_trading(tmp_path):
    with live_engine(tmp_path) as engine:
        running(engine)
        assert engine.process is not None
        stages = {engine.pid_of("market"), engine.pid_of("trade")}
        engine.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: not stages & set(_alive(stages)), ORPHANS_END_S, "the stages have left")
        engine.process.send_signal(signal.SIGCONT)
        wait_until(lambda: engine.engine()["restarts"] == 1 and engine.engine()["state"] == "RUNNING", 40, "it trades again")
        engine.await_orders("sent", engine.status()["orders"]["sent"] + 1)


def _alive(pids: set[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(("words", "said"), [("processes.zygote", "zygote"), ("venue-sim", "simulator")])
def test_the_engine_ends_with_a_failure_when_a_helper_process_dies(tmp_path, words, said):
    with live_engine(tmp_path) as engine:
        running(engine)
        assert engine.process is not None
        os.kill(pid_running(engine, words), signal.SIGKILL)
        assert engine.process.wait(60) == 1
        assert said in engine.log_text()
        assert engine.segments() == []
        assert engine.engine()["state"] == "STOPPED"


def test_two_engines_on_one_host_do_not_touch_each_other(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    def unpinned(sections):
        for process in sections["placement"]["processes"].values():
            del process["core"]

    with live_engine(tmp_path / "a", paper(unpinned)) as one, live_engine(tmp_path / "b", paper(unpinned)) as other:
        running(one)
        running(other)
        assert one.process is not None
        one.process.kill()
        one.process.wait(10)
        wait_until(lambda: not one.processes(), ORPHANS_END_S, "nothing of the first is left running")
        status = other.status()
        assert status["restarts"] == 0
        other.await_orders("sent", status["orders"]["sent"] + 2)
        assert other.stop() == 0, other.log_text()
        left = one.segments()
        assert left, "the other engine's end touched the first one's segments"
        assert sorted(found.name for found in reclaim(one.instance.prefix)) == left


def test_stop_while_starting_ends_it_and_leaves_nothing(tmp_path):
    with live_engine(tmp_path) as engine:
        engine.start()
        assert engine.process is not None
        wait_until(lambda: "processes.zygote" in _command_lines(engine), 20, "the zygote is there")
        engine.process.send_signal(signal.SIGTERM)
        assert engine.process.wait(30) == 1
        assert "SIGTERM while starting" in engine.log_text()


def _command_lines(engine: LiveEngine) -> str:
    lines = []
    for pid in engine.processes():
        try:
            lines.append(" ".join(psutil.Process(pid).cmdline()))
        except psutil.NoSuchProcess:
            continue
    return "\n".join(lines)
